"""What pictures cost: memory and time of preparing many, and of their batches. python -m tests.benchmarks.pictures

From the repository root; exit code 1 when a bound is missed. The files are made first: small JPEG and PNG pictures, no
two of them alike. Every file has been written a moment before, so no disk is waited for.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.features import Report, content_hash, spent_on, watched_memory

Files = list[tuple[str, Path, float]]

SIDES = (48, 96, 128, 224, 320, 480)
"""Of the pictures in pixels: from the smallest collections of faces to what a web camera gives."""
BATCH, BATCHES = 128, 12
SAMPLE = 400
"""Pictures on which the usual way is measured."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--workers", type=int, default=0, help="child processes; 0 = as many as the product takes")
    asked = parser.parse_args(arguments)
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        files = written(Path(scratch), asked.pictures)
        store = Path(scratch) / "store"
        preparing(store, files, asked.side, asked.workers, report)  # first: torch is not loaded yet
        batches(store, files, report)
    return report.exit_code


def written(folder: Path, count: int) -> Files:
    """So many pictures of a hundred kinds; their number behind the picture's end makes each file another."""
    kinds = [encoded(number) for number in range(min(count, 120))]
    files = []
    for number in range(count):
        suffix, content = kinds[number % len(kinds)]
        path = folder / f"{number // 1000:03}" / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + str(number).encode())
        files.append((content_hash(path), path, 0.0))
    return files


def encoded(number: int) -> tuple[str, bytes]:
    """Smooth colours, an ellipse and some noise: (suffix, file)."""
    import numpy as np
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(number)
    height, width = rng.choice(SIDES, 2)
    few = Image.fromarray(rng.integers(40, 220, (6, 6, 3), dtype=np.uint8))
    picture = few.resize((int(width), int(height)), Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), outline="black")
    noisy = np.asarray(picture, np.int16) + rng.integers(-6, 7, (height, width, 3))
    packed = io.BytesIO()
    suffix = ("jpg", "jpg", "png")[number % 3]
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(packed, {"jpg": "JPEG", "png": "PNG"}[suffix])
    return suffix, packed.getvalue()


def preparing(store: Path, files: Files, side: int, workers: int, report: Report) -> None:
    from ml.data.audio import read_mono
    from ml.data.children import map_in_children
    from ml.data.pictures import read_picture
    from ml.features.pictures import MOST_CHILDREN, PictureConfig, build_pictures
    from ml.training.machine import processors

    store.mkdir()
    workers = min(workers or processors(), MOST_CHILDREN)
    stamps = {key: (path.stat().st_size, path.stat().st_mtime_ns) for key, path, _ in files}
    work = partial(
        build_pictures,
        store,
        files,
        PictureConfig(side=side),
        read_picture=read_picture,
        read_sound=read_mono,
        run=map_in_children,
        workers=workers,
        stamps=stamps,
    )
    begun = time.perf_counter()
    with watched_memory() as most:
        spent = spent_on(work)
    seconds = time.perf_counter() - begun
    everything, children = most()
    megabytes = sum(path.stat().st_size for _, path, _ in files) / 1e6
    print(f"  {len(files)} pictures of {min(SIDES)} to {max(SIDES)} pixels a side, {megabytes:.0f} MB of JPEG and PNG.")
    what = f"peak memory of preparing {len(files)} pictures at {side}x{side}, children included"
    report.line(what, everything / 2**30, "GiB", most=1.0)
    report.line(f"  its {workers} child processes alone", children / 2**30, "GiB")
    report.line(f"  pictures per second with {workers} processes", len(files) / seconds, "/s")
    report.line("  processor time per picture, all processes together", 1000 * spent / len(files), "ms")
    report.line("  the prepared pictures on disk", (store / "pictures.u8").stat().st_size / 2**30, "GiB")


def batches(store: Path, files: Files, report: Report) -> None:
    """A batch of prepared pictures against opening, resizing and normalising every picture again in each epoch."""
    import numpy as np
    import torch

    from ml.features.pictures import PictureBatches, open_pictures

    prepared = open_pictures(store)
    side = prepared.config.side
    ours = PictureBatches(prepared.pictures)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    orders = [rng.integers(0, len(files), min(BATCH, len(files))) for _ in range(BATCHES)]
    gathering = best([partial(ours.batch, rows) for rows in orders]) / len(orders[0])
    sample = [files[number * len(files) // SAMPLE][1] for number in range(SAMPLE)]
    usual = best([partial(opened, path, side) for path in sample], by="mean")
    what = "a prepared picture in a batch against opening and normalising its file, one thread"
    report.line(what, usual / gathering, "x", least=5)
    report.line("  ours per picture", 1000 * gathering, "ms")
    report.line("  the file opened, resized and normalised", 1000 * usual, "ms")


def best(works: list[Callable[[], Any]], by: str = "median") -> float:
    """Seconds of one of `works`, each done once: the middle one, or their mean."""
    import numpy as np

    works[0]()
    taken = []
    for work in works:
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken) if by == "median" else np.mean(taken))


def opened(path: Path, side: int) -> Any:
    """What a data set of torchvision does with each picture, written with what it is made of."""
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    tensor = torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous().float().div_(255)
    return tensor.sub_(torch.tensor(MEAN).view(3, 1, 1)).div_(torch.tensor(DEVIATION).view(3, 1, 1))


if __name__ == "__main__":
    sys.exit(main())
