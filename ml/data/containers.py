"""Whether a file is as long as it says: what the decoder does not tell.

libsndfile reads a WAV, AIFF or Ogg file that was cut in half without an error, as if it were a shorter recording. The
containers themselves know better.
"""

from __future__ import annotations

import os
import struct
from io import BufferedIOBase

UNKNOWN_LENGTH = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF)
"""What writers put for the length of their data when they cannot go back and fill it in."""

OGG_PAGE_BYTES = 65_307
"""The largest page there is: the last one must begin within so many bytes of the end."""

Verdict = tuple[str, str]
"""State ("ok", "warned" or "rejected") and the sentence for it."""

WHOLE: Verdict = ("ok", "")


def judge_length(file: BufferedIOBase, format_name: str) -> Verdict:
    """Compare what the container promises with the bytes that are there. `format_name` as libsndfile calls it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if format_name in ("WAV", "WAVEX", "RF64", "AIFF"):
        return _judge_chunks(file, size)
    if format_name == "OGG":
        return _judge_last_page(file, size)
    return WHOLE


def _judge_chunks(file: BufferedIOBase, size: int) -> Verdict:
    head = file.read(12)
    big_endian = head[:4] in (b"RIFX", b"FORM")
    sound_chunk = b"SSND" if head[:4] == b"FORM" else b"data"
    position, long_length = 12, None
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sI" if big_endian else "<4sI", file.read(8))
        if name == b"ds64":  # RF64: lengths beyond 4 GB are written here
            long_length = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
        if name == sound_chunk:
            present = size - position - 8
            if long_length is not None and length == 0xFFFFFFFF:
                length = long_length
            elif length in UNKNOWN_LENGTH and present > 0:
                return "warned", "its header does not say how long it is, so a missing end would not be noticed"
            if present + 1 < length:  # one byte: some writers count padding that they leave out
                return "rejected", (
                    f"cut off: its header promises {length:,} bytes of sound, {present:,} are there; copy it again"
                )
            return WHOLE
        position += 8 + length + length % 2
    return "rejected", "cut off: it holds a header and no sound; copy it again"


def _judge_last_page(file: BufferedIOBase, size: int) -> Verdict:
    begin = max(0, size - 2 * OGG_PAGE_BYTES)
    file.seek(begin)
    tail = file.read()
    place = tail.rfind(b"OggS")
    page = tail[place : place + 27 + 255] if place >= 0 else b""
    segments = page[26] if len(page) > 26 else 0
    length = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < 27 + segments or place + length > len(tail):
        return "rejected", "cut off: it ends in the middle of an Ogg page; copy it again"
    if not page[5] & 4:  # the flag of a stream's last page
        return "warned", "its last Ogg page is not marked as the end; the end of the recording may be missing"
    return WHOLE
