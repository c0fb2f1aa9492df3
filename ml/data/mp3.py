"""How long an MP3 is, told from its frames: a variable bit rate without a length tag misleads the decoder.

libsndfile guesses the length of such a file from its first frames and stops there: 9 of 20 seconds were read of one,
without an error. The chain of frame headers knows better.
"""

from __future__ import annotations

import os
from io import BufferedIOBase

TAGS = (b"Xing", b"Info", b"VBRI")
"""What the first frame holds when the encoder wrote the number of frames there."""

_KBIT_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBIT_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz, by the version bits: MPEG 1, 2 and 2.5 (ISO 11172-3, 13818-3)."""


def says_its_length(file: BufferedIOBase) -> bool:
    """Whether the first frame carries the tag with the number of frames; without it, the length is a guess."""
    file.seek(_first_frame(file))
    head = file.read(4096)
    return any(tag in head for tag in TAGS)


def walk_frames(file: BufferedIOBase) -> tuple[int, bool]:
    """Samples per channel in the unbroken chain of frames, and whether the last frame is all there."""
    size = file.seek(0, os.SEEK_END)
    position, samples = _first_frame(file), 0
    while position + 4 <= size:
        file.seek(position)
        length, held = _frame(file.read(4))
        if not length:
            break  # a tag at the end, or damage: what comes after is not counted
        if position + length > size:
            return samples, False
        position += length
        samples += held
    return samples, True


def _first_frame(file: BufferedIOBase) -> int:
    """Where the sound begins: after the ID3v2 tag, whose length is written in four times seven bits."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


def _frame(header: bytes) -> tuple[int, int]:
    """Bytes and samples of the layer III frame that begins with `header`; (0, 0) when none does."""
    version, layer, rate = header[1] >> 3 & 3, header[1] >> 1 & 3, header[2] >> 2 & 3
    if header[0] != 0xFF or header[1] < 0xE0 or version == 1 or layer != 1 or rate == 3:
        return 0, 0
    place, padding = header[2] >> 4, header[2] >> 1 & 1
    if not 0 < place < 15:
        return 0, 0
    bits = 1000 * (_KBIT_1 if version == 3 else _KBIT_2)[place]
    held = 1152 if version == 3 else 576
    return held // 8 * bits // _RATES[version][rate] + padding, held
