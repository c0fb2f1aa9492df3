"""Windows against a plain loop, weights against their formula, draws against their promises."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from ml.data.windows import WindowConfig, Windows, class_weights, cut_windows, draw, shuffled

PARTS = ("train", "validation", "test")


def cut(lengths: list[int], config: WindowConfig, rate: float = 100.0) -> Windows:
    recordings = pd.DataFrame(
        [
            (f"h{number}", "AB"[number % 2], f"g{number}", f"p{number}", PARTS[number % 3])
            for number in range(len(lengths))
        ],
        columns=["content_hash", "label", "group", "path", "part"],
        index=range(7, 7 + len(lengths)),
    )
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = {f"h{number}": (int(starts[number]), length) for number, length in enumerate(lengths)}
    return cut_windows(recordings, rows, config, rate, ["A", "B"])


@pytest.mark.parametrize("hop", [None, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_windows_are_those_of_a_plain_loop(hop: float | None, keep: float, seed: int) -> None:
    lengths = [int(value) for value in np.random.default_rng(seed).integers(0, 400, 30)] + [0, 1, 49, 50, 51, 100]
    windows = cut(lengths, WindowConfig(seconds=0.5, hop_seconds=hop, keep_partial=keep))
    step = 50 if hop is None else round(hop * 100)
    expected = []
    begin = 0
    for recording, length in enumerate(lengths):
        offset = 0
        while offset < length:
            valid = min(50, length - offset)
            if valid == 50 or offset == 0 or valid >= keep * 50:
                expected.append((begin + offset, valid, recording, recording % 2, recording % 3, offset / 100))
            if valid < 50:
                break
            offset += step
        begin += length
    found = list(
        zip(
            windows.start,
            windows.valid,
            windows.recording,
            windows.label,
            windows.part,
            windows.start_seconds.round(4).astype(float).round(4),
            strict=True,
        )
    )
    assert [tuple(np.round(row, 4)) for row in found] == [tuple(np.round(row, 4)) for row in expected]


def test_types_and_names() -> None:
    windows = cut([1000, 20], WindowConfig())
    assert windows.frames == 297 and len(windows) == 4
    assert [getattr(windows, name).dtype for name in ("start", "valid", "label", "recording", "part")] == [
        np.int64,
        np.int32,
        np.int64,
        np.int64,
        np.int8,
    ]
    assert windows.start_seconds.dtype == np.float32
    assert list(windows.recordings.columns) == ["path", "group", "label", "part"]
    assert list(windows.recordings.index) == [0, 1]
    assert windows.valid[-1] == 20


def test_a_hundred_thousand_windows_cost_no_time() -> None:
    import time

    began = time.perf_counter()
    windows = cut([10_000] * 3_000, WindowConfig())
    assert len(windows) > 99_000
    assert time.perf_counter() - began < 2


def test_what_is_missing_is_named() -> None:
    recordings = pd.DataFrame(
        [("h", "A", "g", "p.wav", "train")], columns=["content_hash", "label", "group", "path", "part"]
    )
    with pytest.raises(ValueError, match=r"no frames.*'p.wav'"):
        cut_windows(recordings, {}, WindowConfig(), 100, ["A"])
    with pytest.raises(ValueError, match="no such class: A; the classes are B"):
        cut_windows(recordings, {"h": (0, 10)}, WindowConfig(), 100, ["B"])


def test_weights_follow_the_formula() -> None:
    counts = np.array([100, 300, 600])
    np.testing.assert_allclose(class_weights(counts, 0.0), [1, 1, 1])
    np.testing.assert_allclose(class_weights(counts, 1.0) * counts, [1000 / 3] * 3)
    np.testing.assert_allclose(class_weights(counts, 0.5), (1000 / (3 * counts)) ** 0.5)
    with pytest.raises(ValueError, match="class 1 has no windows"):
        class_weights(np.array([3, 0]), 0.5)


def test_a_draw_is_a_function_of_its_arguments() -> None:
    weights = np.linspace(1, 2, 1_000)
    first = draw(weights, 42, 3, 5_000)
    np.testing.assert_array_equal(first, draw(weights, 42, 3, 5_000))
    assert (first != draw(weights, 42, 4, 5_000)).mean() > 0.9
    assert (first != draw(weights, 43, 3, 5_000)).mean() > 0.9
    assert first.dtype == np.int64
    np.testing.assert_array_equal(first[:10], draw(weights, 42, 3, 10))
    digest = hashlib.sha256(draw(np.ones(1 << 16), 42, 1, 1_000).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "82a6125b18d6ad95", "draws have changed: every trained result would change with them"


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_classes_are_drawn_as_their_weights_say(strength: float) -> None:
    counts = np.array([500, 3_000, 6_500])
    label = np.repeat(np.arange(3), counts)
    weights = class_weights(counts, strength)
    drawn = np.bincount(label[draw(weights[label], 1, 1, 100_000)], minlength=3) / 100_000
    np.testing.assert_allclose(drawn, weights * counts / (weights * counts).sum(), atol=0.01)


def test_nothing_of_no_weight_is_drawn() -> None:
    weights = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    assert set(draw(weights, 0, 0, 10_000)) == {1, 3}
    for nothing in (np.zeros(3), np.array([]), np.array([np.nan])):
        with pytest.raises(ValueError, match="no window to draw"):
            draw(nothing, 0, 0, 1)


def test_shuffled_every_number_comes_once_in_an_order_that_the_arguments_decide() -> None:
    first = shuffled(1_000, 42, 3)
    assert first.dtype == np.int64
    np.testing.assert_array_equal(np.sort(first), np.arange(1_000))
    np.testing.assert_array_equal(first, shuffled(1_000, 42, 3))
    for other in (shuffled(1_000, 42, 4), shuffled(1_000, 43, 3), np.arange(1_000)):
        assert (first != other).mean() > 0.9
    assert shuffled(0, 1, 1).tolist() == [] and shuffled(1, 1, 1).tolist() == [0]
    digest = hashlib.sha256(shuffled(1 << 16, 42, 1).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "244dd4e7b380c096", "orders have changed: every trained result would change with them"


def test_shuffled_no_place_prefers_a_number() -> None:
    orders = np.stack([shuffled(6, 7, epoch) for epoch in range(6_000)])
    for place in range(6):
        np.testing.assert_allclose(np.bincount(orders[:, place], minlength=6) / 6_000, 1 / 6, atol=0.02)
