"""Raw sound from one pipe to another, denoised on its way."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml.inference.pcm import FORMATS, Samples, arriving, sender

if TYPE_CHECKING:
    from ml.inference.live import Live

AT_ONCE = 2**13
"""Bytes that are read at most before they are answered: what waits is answered bit by bit too."""
TOLD_AFTER_SECONDS = 5.0
"""Of sound, before it is said that the processor is too slow for it: the first blocks are slower."""


def pass_on(source: int, sink: int, samples: Samples, live: Live | None, tell: Callable[[str], None]) -> None:
    """Everything from the pipe `source` into the pipe `sink`; without `live` as it came, byte for byte.

    Raises `BrokenPipeError` when nobody reads any more. `tell` hears what a person should know, once each.
    """
    send, slow, first = sender(sink), False, True
    for said in arriving(source, AT_ONCE):
        if first and said[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM"):
            tell("this begins like a file; its header is heard as a click. Files: nocturne denoise FILE -o DIR")
        first = False
        whole = samples.whole(said)
        send(whole if live is None else samples.bytes_of(live.push(samples.numbers(whole))))
        if live is not None and not slow and TOLD_AFTER_SECONDS < live.sound_seconds < live.computing_seconds:
            slow = True
            tell(
                f"too slow: a second of sound takes {live.computing_seconds / live.sound_seconds:.1f} s to compute, so "
                "it comes later and later; a longer --block costs less, and so does a model with fewer channels"
            )
    if live is not None:
        send(samples.bytes_of(live.finish()))
    if samples.left:
        tell(f"the input ended within a sample: its last {_bytes(len(samples.left))} dropped (is --format right?)")
    if samples.bad:
        tell(f"{samples.bad:,} values were no numbers (NaN or infinite); silence was put in their place")
    if samples.clipped:
        tell(f"{samples.clipped:,} values were beyond full scale and were cut to it")


def _bytes(count: int) -> str:
    return "byte was" if count == 1 else f"{count} bytes were"


def refuse_terminals(source: int, sink: int) -> str | None:
    """Why raw sound cannot come from or go to where these lead; None where it can."""
    example = "rtl_fm ... | nocturne denoise --stream | aplay ..."
    if os.isatty(source):
        return f"--stream reads raw sound ({', '.join(FORMATS)}) from a pipe, not from the keyboard: {example}"
    if os.isatty(sink):
        return f"--stream writes raw sound, which is nothing to read: send it on through a pipe: {example}"
    return None
