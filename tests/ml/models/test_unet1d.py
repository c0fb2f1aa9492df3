"""The denoiser's network: any length in, the same numbers always, and no sample that reaches farther than it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ml.config import ConfigError, read_config
from ml.models.hub import ModelUnavailable
from ml.models.saved import load_model, save_model, saved_extra
from ml.models.unet1d import UNet1D, build_unet1d
from ml.models.unet1d_config import UNet1DConfig
from ml.training.optimizers import adamw
from ml.training.state import load_state, save_state
from tests.ml.models.unet_written_out import WrittenOut, as_written_out

ROOT = Path(__file__).parents[3]
TINY = UNet1DConfig(channels=(8, 16, 16), kernel=3, fold=4, filters=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What is this small is slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sound(batch: int = 2, samples: int = 500, seed: int = 3) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def lively(config: UNet1DConfig = TINY) -> UNet1D:
    """A network with a last layer that matters and statistics that are not those of a fresh one."""
    model = build_unet1d(config, seed=1).train()
    with torch.no_grad():
        model.together.weight.mul_(10)
        model(sound(4, 4 * config.stride))
    return model.eval()


def saved(folder: Path, model: nn.Module) -> Path:
    folder.mkdir(parents=True)
    save_model(model, folder, {"sample_rate": 44100})
    return folder


def test_by_default_it_is_of_the_promised_size_and_reaches_less_than_60_ms() -> None:
    config = UNet1DConfig()
    assert 1e6 < sum(parameter.numel() for parameter in build_unet1d(config, seed=1).parameters()) < 3e6
    assert (config.stride, config.reach) == (64, 1535)
    assert config.reach < 0.06 * 44_100


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "config", [TINY, UNet1DConfig(channels=(16, 8), kernel=5, fold=1, filters=8)], ids=["folded", "not"]
)
def test_with_the_same_weights_it_says_and_learns_what_the_written_out_network_does(
    config: UNet1DConfig, training: bool
) -> None:
    model = lively(config).train(training)
    reference = WrittenOut(config).train(training)
    reference.load_state_dict(as_written_out(model.state_dict()))
    reference.double()

    said, expected = model(sound()), reference(sound().double())

    torch.testing.assert_close(said.double(), expected, rtol=1e-4, atol=1e-6)
    assert (said - sound()).abs().max() > 0.01, "it does something"
    said.square().mean().backward()
    expected.square().mean().backward()
    gradients = as_written_out({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, parameter in reference.named_parameters():
        assert parameter.grad is not None
        # One unit at the kink of its ReLU makes a hundredth; another layout of weights would make all of it.
        assert (gradients[name] - parameter.grad).norm() < 0.05 * parameter.grad.norm(), name
    statistics = as_written_out(model.state_dict())
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(statistics[name].double(), value.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 1000, 4099])
def test_any_length_comes_back_at_that_length(samples: int) -> None:
    model, given = lively(), sound(3, samples)
    with torch.no_grad():
        said = model(given)
        assert said.shape == given.shape and said.dtype == torch.float32 and said.isfinite().all()
        longer = torch.cat([given, torch.zeros(3, -samples % TINY.stride)], dim=1)
        torch.testing.assert_close(said, model(longer)[:, :samples])


def test_fresh_it_hardly_changes_what_it_hears() -> None:
    model = build_unet1d(UNet1DConfig(), seed=4)
    given = sound(2, 8000)
    with torch.no_grad():
        for changed in (model.train()(given) - given, model.eval()(given) - given):
            assert 0 < changed.square().mean().sqrt() < 0.3 * given.square().mean().sqrt()


def test_a_seed_gives_the_same_numbers_at_every_call() -> None:
    before = torch.get_rng_state()
    one, same, other = (build_unet1d(TINY, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before), "building a model draws from a generator of its own"
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["together.weight"], other["together.weight"])


@pytest.mark.parametrize(
    "config",
    [TINY, UNet1DConfig(channels=(8, 8, 8, 8), kernel=5, fold=2), UNet1DConfig(channels=(8,), kernel=3, fold=8)],
    ids=["three levels", "four levels", "one level"],
)
def test_a_sample_is_changed_by_those_within_reach_and_by_no_other(config: UNet1DConfig) -> None:
    model = build_unet1d(config, seed=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Every unit answers with a mean of what it sees: nothing cancels, nothing is at a kink or an end.
            parameter.abs_()
            if parameter.dim() > 1:
                parameter /= parameter.sum(dim=(1, 2, 3), keepdim=True)
    middle = 2 * (config.reach // config.stride + 2) * config.stride
    farthest = {-1: 0, 1: 0}
    for place in range(middle, middle + config.stride):
        given = torch.rand(1, 2 * middle, generator=torch.Generator().manual_seed(1)).requires_grad_()
        model(given)[0, place].backward()
        assert given.grad is not None
        told = given.grad[0].nonzero()[:, 0] - place
        farthest = {-1: max(farthest[-1], -int(told.min())), 1: max(farthest[1], int(told.max()))}
    assert farthest == {-1: config.reach, 1: config.reach}


def test_a_piece_with_its_surroundings_is_denoised_as_in_the_whole() -> None:
    model, given = lively(), sound(1, 40 * TINY.stride)
    around = -(-TINY.reach // TINY.stride) * TINY.stride
    start, stop = around, around + 5 * TINY.stride
    with torch.no_grad():
        whole, piece = model(given), model(given[:, : stop + around])
    torch.testing.assert_close(piece[:, start:stop], whole[:, start:stop], rtol=1e-5, atol=1e-7)


def test_in_bf16_it_says_nearly_the_same_and_speaks_float32() -> None:
    model, given = lively(), sound(4, 2000)
    with torch.no_grad():
        exact = model(given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(given)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).square().mean() < 1e-4 * (exact - given).square().mean()


@pytest.mark.parametrize("channels", [(8, 8), (8, 24, 40)])
def test_narrow_networks_learn_in_channels_last_and_bf16(channels: tuple[int, ...]) -> None:
    model = build_unet1d(UNet1DConfig(channels=channels, kernel=5), seed=1)
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
    times = torch.arange(1024) / 8000
    clean = 0.3 * torch.sin(2 * torch.pi * torch.tensor([[200.0], [330.0], [410.0]]) * times)
    losses = []
    for step in range(30):
        noisy = clean + sound(3, 1024, seed=step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = (model(noisy) - clean).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("bf16", [False, True])
def test_training_goes_on_from_a_kept_state_as_if_it_had_never_stopped(tmp_path: Path, bf16: bool) -> None:
    def fresh() -> tuple[UNet1D, torch.optim.Optimizer]:
        model = build_unet1d(TINY, seed=1).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        return model, adamw(model, weight_decay=0.01)

    def walk(model: UNet1D, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = (model(sound(8, 1000, seed=step)) - 0.5 * sound(8, 1000, seed=step)).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    whole, first, second = fresh(), fresh(), fresh()
    walk(*whole, range(6))
    walk(*first, range(3))
    save_state(tmp_path, *first)
    load_state(tmp_path, *second)
    walk(*second, range(3, 6))
    assert all(torch.equal(value, second[0].state_dict()[name]) for name, value in whole[0].state_dict().items())


def test_what_can_be_said_of_it() -> None:
    said = {"channels": [16, 32], "kernel": 5, "fold": 4, "filters": 24}
    config = read_config(UNet1DConfig, said, "a file")
    assert config.identity() == said and UNet1DConfig().identity()["kernel"] == 9
    for wrong, sentence in (
        ({"kernel": 8}, "a kernel of 8 has no middle; write an odd number, such as 9"),
        ({"channels": [16, 12]}, "`channels` holds 12"),
        ({"channels": []}, "`channels` is"),
        ({"fold": 0}, "`fold` is 0"),
        ({"depth": 3}, "unknown key `depth`; allowed here: channels, filters, fold, kernel"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            read_config(UNet1DConfig, wrong, "a file")


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    model = lively().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder = saved(tmp_path / "kept", model)

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert saved_extra(folder) == {"sample_rate": 44100}
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert said["model_type"] == "unet1d" and said["channels"] == [8, 16, 16]
    loaded = load_model(folder)
    assert isinstance(loaded, UNet1D) and loaded.config == TINY and not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(loaded(sound()), model(sound()))


def test_what_is_damaged_or_foreign_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "kept", lively())
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, written = weights.read_bytes(), config.read_text(encoding="utf-8")
    tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}

    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="kept holds no UNet1D that can be loaded"):
        load_model(folder)
    save_file({name: tensor for name, tensor in tensors.items() if name != "together.weight"}, weights)
    with pytest.raises(ModelUnavailable, match=r"together\.weight"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors"):
        load_model(folder)

    weights.write_bytes(whole)
    for damaged, sentence in (
        (written.replace("unet1d", "unet9d"), "a network of the kind 'unet9d'; known are .*unet1d"),
        (written.replace('"kernel": 3', '"kernel": 4'), "a kernel of 4 has no middle"),
        (written.replace('"kernel": 3', '"kernel": 5'), "size mismatch"),
        (written[:40], "holds no network that can be loaded"),
        ("[]", "its config.json is no list of settings"),
        ("[" * 100_000, "holds no network that can be loaded"),
    ):
        config.write_text(damaged, encoding="utf-8")
        with pytest.raises(ModelUnavailable, match=sentence):
            load_model(folder)
    config.unlink()
    with pytest.raises(ModelUnavailable, match="holds no network that can be loaded"):
        saved_extra(folder)


def test_loading_it_does_not_wait_for_transformers(tmp_path: Path) -> None:
    folder = saved(tmp_path / "kept", lively())
    said = "import sys; from pathlib import Path; from ml.models.saved import load_model"
    said += f"; load_model(Path({str(folder)!r})); print('transformers' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == "False", ended.stderr


def test_its_settings_are_read_without_torch() -> None:
    said = "import sys, ml.models.unet1d_config; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() == "False", ended.stderr
