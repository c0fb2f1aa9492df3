"""What a drums training step costs, and its augmentation: python -m tests.benchmarks.drums

A real lesson on made-up sound, step by step as the engine takes it: with hits stretched, tuned and noisy by chance
against hits as they are, for the usual network and for one as narrow as the demo's, of which pictures are a larger
share. Then what a picture costs beside the usual way: librosa, one hit after the other. Processor time, in turns.
Prints a table with bounds and ends with exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ml.data.components import COMPONENTS
from ml.features.hit_config import HitPictureConfig
from ml.features.hits import HitPictures
from ml.features.waveforms import WaveformConfig, WaveformStore
from ml.models.drumcnn_config import DrumCNNConfig
from ml.studies.drums.config import AugmentationConfig, DrumsTrial, TrainingConfig
from ml.studies.drums.lesson import DrumsLesson
from ml.studies.drums.material import Hits
from ml.training.machine import Machine, MachineConfig, resolve_machine
from tests.benchmarks.table import Table, medians

RATE, HITS, BATCH, STEPS = 44_100, 512, 32, 4
MOST = 1.3
"""Times a step without augmentation."""
AUGMENTED = AugmentationConfig(probability=0.5)
USUAL = DrumsTrial()
NARROW = DrumsTrial(model=DrumCNNConfig(channels=(16, 32, 64, 96)), picture=HitPictureConfig(mels=64, columns=64))


def material() -> tuple[WaveformStore, Hits]:
    """A minute of noise, and hits all over it."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 60 * RATE).astype(np.float16)
    store = WaveformStore(samples, {"a": (0, len(samples))}, WaveformConfig(), {"a": 0.1})  # type: ignore[arg-type]
    label = rng.integers(0, len(COMPONENTS), HITS)
    zeros = np.zeros(HITS, dtype=np.int64)
    return store, Hits(
        start=np.sort(rng.integers(RATE, 59 * RATE, HITS)),
        first=zeros,
        last=zeros + len(samples),
        label=label,
        part=zeros.astype(np.int8),
        song=zeros,
        together=np.eye(len(COMPONENTS), dtype=bool)[label],
        companions=np.zeros((HITS, len(COMPONENTS)), dtype=bool),
        paths=["a"] * HITS,
        groups=["a"],
    )


def steps(trial: DrumsTrial, machine: Machine, count: int = STEPS) -> Callable[[], None]:
    """Takes so many training steps at every call."""
    store, hits = material()
    lesson = DrumsLesson(trial.model_copy(update={"training": TrainingConfig(batch_size=BATCH)}), store, hits, machine)
    model = lesson.model().to(device=machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, generator = lesson.optimizer(model), torch.Generator(machine.device)
    order = lesson.order(1)

    def taken() -> None:
        for step in range(count):
            indices = np.resize(order[step * BATCH :], BATCH)
            with machine.autocast():
                loss, _ = lesson.loss(model, indices, generator)
            (loss / BATCH).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if machine.device_type == "cuda":
            torch.cuda.synchronize()

    return taken


def augmented(trial: DrumsTrial) -> DrumsTrial:
    return trial.model_copy(update={"augmentation": AUGMENTED})


def ratio(trial: DrumsTrial, machine: Machine, rounds: int) -> float:
    """A step with augmentation against one without."""
    plain, changed = medians([steps(trial, machine), steps(augmented(trial), machine)], rounds)
    return changed / plain


def ours(machine: Machine) -> Callable[[], None]:
    """Pictures of a batch, each stretched and tuned."""
    store, hits = material()
    of = HitPictures(USUAL.picture, RATE, machine.device, fastest=1.1)
    clips = of.clips(store.samples)
    draws = torch.rand(2, BATCH, generator=torch.Generator().manual_seed(0)).to(machine.device)

    def made() -> None:
        batch = clips.batch(hits.start[:BATCH], hits.first[:BATCH], hits.last[:BATCH])
        of.pictures(batch, stretch=0.9 + 0.2 * draws[0], semitones=4 * draws[1] - 2)

    return made


def librosas() -> Callable[[], None]:
    """The same of four hits, as the document augments: one after the other."""
    import librosa

    store, hits = material()
    rng = np.random.default_rng(0)

    def made() -> None:
        for start in hits.start[:4]:
            sound = store.samples[start - RATE // 40 : start + RATE // 10].astype(np.float32)
            sound = librosa.effects.time_stretch(sound, rate=rng.uniform(0.9, 1.1))
            sound = librosa.effects.pitch_shift(sound, sr=RATE, n_steps=rng.integers(-2, 3))
            librosa.power_to_db(librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=1024, hop_length=43, n_mels=128))

    return made


def measure(machine: Machine, rounds: int) -> int:
    """Prints the table; how many bounds were missed."""
    table = Table()
    print(f"{machine.describe()}, batches of {BATCH}")
    for name, trial in (("usual network, 128 x 128", USUAL), ("narrow network, 64 x 64", NARROW)):
        plain, changed = medians([steps(trial, machine), steps(augmented(trial), machine)], rounds)
        table.row(f"{name}: a step", 1000 * plain / STEPS, "ms", None)
        table.row(f"{name}: with augmentation", 1000 * changed / STEPS, "ms", None)
        table.row(f"{name}: with against without", changed / plain, "times", MOST, at_least=False)
    own, others = medians([ours(machine), librosas()], rounds)
    table.row("an augmented picture, made in a batch", 1000 * own / BATCH, "ms", None)
    table.row("an augmented picture, librosa, one by one", 1000 * others / 4, "ms", None)
    return table.missed


def main(said: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(said)
    machine = resolve_machine(MachineConfig(device=chosen.device, precision=chosen.precision, threads=chosen.threads))
    torch.set_num_threads(machine.threads)
    return 1 if measure(machine, chosen.rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
