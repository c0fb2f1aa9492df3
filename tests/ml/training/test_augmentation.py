"""Mixup and random erasing against plain loops, and against the laws by which they draw."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ml.training.augmentation import AREA, RATIO, TRIES, erase, mixup


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 12, side: int = 40, channels_last: bool = True) -> Tensor:
    made = torch.randn(count, 3, side, side + 8, generator=generator(9))
    return made.contiguous(memory_format=torch.channels_last) if channels_last else made


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "mixup": lambda batch, drawing: mixup(batch, drawing, 0.4)[0],
    "erase": lambda batch, drawing: erase(batch, drawing, 0.6),
}


@pytest.mark.parametrize("kind", AUGMENTATIONS)
@pytest.mark.parametrize("channels_last", [True, False])
def test_what_is_given_stays_and_what_comes_lies_as_it_lay(kind: str, channels_last: bool) -> None:
    batch = pictures(channels_last=channels_last)
    before = batch.clone()
    made = AUGMENTATIONS[kind](batch, generator())
    assert torch.equal(batch, before) and not torch.equal(made, batch)
    assert made.stride() == batch.stride() and made.dtype == batch.dtype


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_the_generator_alone_decides(kind: str) -> None:
    state = torch.get_rng_state()
    one, same, other = (AUGMENTATIONS[kind](pictures(), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_mixup_is_the_formula() -> None:
    batch = pictures()
    mixed, partner, share = mixup(batch, generator(), 0.4)
    assert sorted(partner.tolist()) == list(range(len(batch))) and partner.tolist() != sorted(partner.tolist())
    assert share.shape == () and 0.01 < share < 0.99
    for number in range(len(batch)):
        expected = share * batch[number] + (1 - share) * batch[int(partner[number])]
        torch.testing.assert_close(mixed[number], expected)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.4, 1.0, 3.0])
def test_the_share_is_drawn_from_beta(alpha: float) -> None:
    batch, drawing = torch.zeros(2, 1, 1, 1), generator()
    shares = np.array([mixup(batch, drawing, alpha)[2].item() for _ in range(3000)])
    # Beta(0.01, 0.01) lies on 0 and 1 as far as floats can tell, so there only the sides are compared.
    law = stats.beta(alpha, alpha)
    if alpha < 0.1:
        assert np.isfinite(shares).all() and abs((shares > 0.5).mean() - 0.5) < 0.05
        assert ((shares > 0.01) & (shares < 0.99)).mean() == pytest.approx(law.cdf(0.99) - law.cdf(0.01), abs=0.02)
    else:
        assert stats.kstest(shares, law.cdf).pvalue > 0.01


def test_mixing_nothing_draws_nothing() -> None:
    batch, drawing = pictures(), generator()
    mixed, partner, share = mixup(batch, drawing, 0.0)
    assert mixed is batch and partner.tolist() == list(range(len(batch))) and share == 1
    assert erase(batch, drawing, 0.0) is batch
    assert torch.equal(drawing.get_state(), generator().get_state())


def erased_by_hand(batch: Tensor, drawing: torch.Generator, probability: float) -> Tensor:
    """One picture after the other, one try after the other."""
    count, _, height, width = batch.shape
    drawn = torch.rand((5, count, TRIES), generator=drawing)
    made = batch.clone()
    for number in range(count):
        if not drawn[4, number, 0] < probability:
            continue
        for attempt in range(TRIES):
            area = (AREA[0] + (AREA[1] - AREA[0]) * drawn[0, number, attempt].item()) * height * width
            spread = math.log(RATIO[1]) - math.log(RATIO[0])
            ratio = math.exp(math.log(RATIO[0]) + spread * drawn[1, number, attempt].item())
            tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if tall < height and wide < width:
                top = math.floor(drawn[2, number, attempt].item() * (height - tall + 1))
                left = math.floor(drawn[3, number, attempt].item() * (width - wide + 1))
                made[number, :, top : top + tall, left : left + wide] = 0.0
                break
    return made


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_erasing_is_the_plain_loop(probability: float) -> None:
    batch = pictures(count=200)
    made = erase(batch, generator(), probability)
    assert torch.equal(made, erased_by_hand(batch, generator(), probability))
    untouched = [torch.equal(one, other) for one, other in zip(made, batch, strict=True)]
    assert abs(sum(untouched) / len(batch) - (1 - probability)) < 0.1


def test_where_no_box_fits_at_first_another_is_tried() -> None:
    """On a picture of one row nearly every box is too tall, so that the order of the tries shows."""
    batch = torch.ones(300, 3, 4, 30)
    made = erase(batch, generator(), 1.0)
    assert torch.equal(made, erased_by_hand(batch, generator(), 1.0))
    assert (made == 0).any()


def test_boxes_have_the_sizes_of_the_paper_and_lie_everywhere() -> None:
    made = erase(torch.ones(2000, 1, 100, 100), generator(), 1.0)[:, 0] == 0
    share = made.float().mean(dim=(1, 2)).numpy()
    assert share.min() > AREA[0] - 0.01 and share.max() < AREA[1] + 0.02
    assert share.mean() == pytest.approx(sum(AREA) / 2, abs=0.01)
    tall, wide = (made.any(dim=dim).sum(dim=1).numpy() for dim in (2, 1))
    assert np.median(tall / wide) == pytest.approx(1.0, abs=0.05), "as many upright boxes as lying ones"
    assert (made.sum(dim=(1, 2)).numpy() == tall * wide).all(), "whole boxes"
    top = made.any(dim=2).int().argmax(dim=1).numpy()
    place = top / (100 - tall)
    assert place.mean() == pytest.approx(0.5, abs=0.02) and place.min() == 0 and place.max() == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_on_a_gpu_nothing_waits_for_it(kind: str) -> None:
    batch, drawing = pictures().cuda(), torch.Generator("cuda").manual_seed(1)
    AUGMENTATIONS[kind](batch, drawing)
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = AUGMENTATIONS[kind](batch, drawing)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.stride() == batch.stride() and not torch.equal(made, batch)
