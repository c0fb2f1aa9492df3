"""Pictures out of picture files: a verdict on each, and its pixels as a small square for training.

Pillow alone decodes, and only the formats named here. A file says its size before a pixel of it is unpacked, so that a
decompression bomb is refused by what it promises.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ml.data.verdict import FileFacts, Rejected, hash_large, judge

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "BMP": (".bmp",), "WEBP": (".webp",)}
"""What is read: Pillow's name of each format, and the endings that its files have. Everything else is refused."""
PICTURE_SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

OTHERS = {
    b"GIF8": "a GIF",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"fLaC": "sound",
    b"OggS": "sound",
    b"ID3": "sound",
}
"""What is often found under the name of a picture, by its first bytes."""
BRANDS = {b"avif": "an AVIF", b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIC"}
"""What follows `ftyp` in the files of telephones."""

UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""How a picture is turned so that it stands as its camera was held (EXIF orientation)."""
ORIENTATION = 0x0112
SMALL_SIDE = 16
"""Pixels below which a picture probably shows nothing that can be learnt."""
STRIP_PIXELS = 1 << 20
"""Pixels that are hashed at a time."""


@dataclass(frozen=True)
class PictureLimits:
    """What a picture may be: 64 million pixels take up to 0.6 GB while they are looked at."""

    max_pixels: int = 64_000_000
    max_bytes: int = 512 * 1024**2


def examine_picture(path: Path, limits: PictureLimits) -> FileFacts:
    """A verdict on one picture after reading and decoding all of it; its `seconds` are 0.

    Never waits on a pipe or a device, and holds no more than one picture within the limits in memory. Call it in a
    child, as `examine`. Errors of the drive itself are raised as OSError.
    """
    return judge(path, partial(_look, path, limits))


def read_picture(path: Path, side: int) -> np.ndarray:
    """The whole picture as uint8 (side, side, 3): upright, in RGB, transparent parts white, squeezed into the square.

    Made smaller with an antialiasing filter; what is much larger than `side` is already decoded smaller.
    """
    from PIL.Image import Resampling

    with path.open("rb") as file:
        picture = _opened(file)
        picture.draft(None, (2 * side, 2 * side))
        small = _coloured(picture).resize((side, side), Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(_upright(small, _orientation(picture)))


def _look(
    path: Path, limits: PictureLimits, file: io.BufferedIOBase, found: dict[str, Any], warnings: list[str]
) -> None:
    if found["bytes"] > limits.max_bytes:
        raise Rejected(
            f"too large: {found['bytes'] / 1e6:,.0f} MB, a picture file may have {limits.max_bytes / 1e6:,.0f}"
        )
    picture = _tried(lambda: _opened(file), limits)
    kind = _kind(picture)
    found |= {"channels": len(picture.getbands()), "format": f"{kind}/{_colours(picture)} {_size(picture)}"}
    if picture.width * picture.height > limits.max_pixels:
        raise Rejected(_too_large(f"{_size(picture)} are {picture.width * picture.height / 1e6:,.0f}", limits))
    if path.suffix.lower() not in FORMATS[kind.upper()]:
        warnings.append(f"its name ends in {path.suffix}, it is {kind}")
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        warnings.append(f"animated: the first of its {picture.n_frames} pictures is used")
    if picture.mode == "CMYK":
        warnings.append("in the four colours of print (CMYK): the colours are near the printed ones only")
    hash_large(file, found)
    if kind == "png":  # Pillow passes over the checksums of the pixels unless it is asked
        _tried(picture.verify, limits)
        picture = _tried(lambda: _opened(file), limits)

    def decode() -> Image.Image:
        picture.load()
        if picture.has_transparency_data and _see_through(picture):
            warnings.append("transparent in places: they are taken as white")
        return _upright(_coloured(picture), _orientation(picture))

    shown = _tried(decode, limits)
    found["sound_hash"] = _pixels_hash(shown)
    if all(low == high for low, high in shown.getextrema()):
        raise Rejected("one single colour from edge to edge: there is nothing to learn from it")
    if min(shown.size) < SMALL_SIDE:
        warnings.append(f"very small: {_size(shown)} pixels")


def _opened(file: IO[bytes] | io.BufferedIOBase) -> ImageFile.ImageFile:
    """The picture, its header read and no pixel yet.

    As `Image.open`, which refuses by a limit of its own that holds for the whole process and does not say the size.
    """
    from PIL import Image, WebPImagePlugin

    assert WebPImagePlugin.SUPPORTED, "this Pillow was built without WebP"
    Image.preinit()
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    for name in FORMATS:
        opener, accept = Image.OPEN[name]
        if accept is None or accept(head):
            return opener(file, "")  # type: ignore[arg-type]
    raise Rejected(f"not a picture that can be read: {_guess(head, file)}")


def _guess(head: bytes, file: IO[bytes] | io.BufferedIOBase) -> str:
    """What lies under the name of a picture, so far as its first bytes tell."""
    other = next((name for begin, name in OTHERS.items() if head.startswith(begin)), None)
    if head[4:8] == b"ftyp":
        other = BRANDS.get(head[8:12], "a video")
    if head[:4] in (b"RIFF", b"FORM"):
        other = "sound or video"
    if other is not None:
        return f"it is {other}" + ("" if other.startswith(("sound", "a video")) else "; convert it to PNG or JPEG")
    text = file.read(512)
    if text.strip(b"\0") == b"":
        return "it begins with nothing but zeros"
    if all(byte in b"\t\n\r\f" or byte >= 32 for byte in text) and b"\x7f" not in text and _is_utf8(text):
        return "it is text"
    return f"it is neither {', '.join(list(FORMATS)[:-1])} nor {list(FORMATS)[-1]}"


def _is_utf8(text: bytes) -> bool:
    try:
        text[:-4].decode("utf-8")
    except UnicodeDecodeError as problem:
        return problem.end == len(text[:-4])  # cut in the middle of a character
    return True


def _tried(step: Callable[[], Any], limits: PictureLimits) -> Any:
    """What `step` answers; whatever a decoder raises over damaged bytes, as a sentence."""
    from PIL.Image import DecompressionBombError

    try:
        return step()
    except (Rejected, MemoryError):
        raise
    except DecompressionBombError as problem:
        pixels = re.search(r"\d+", str(problem))
        raise Rejected(_too_large(f"{int(pixels[0]) / 1e6:,.0f}" if pixels else "more", limits)) from None
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise  # the drive, not the bytes
        reason = f"{problem}".strip().rstrip(".") or type(problem).__name__
        raise Rejected(f"damaged or cut off: {reason}; copy it again") from None


def _too_large(pixels: str, limits: PictureLimits) -> str:
    return f"too large: {pixels} million pixels, a picture may have {limits.max_pixels / 1e6:,.3g}; make it smaller"


def _kind(picture: ImageFile.ImageFile) -> str:
    return "jpeg" if picture.format == "MPO" else str(picture.format).lower()  # MPO: a JPEG with a second one behind


def _size(picture: Image.Image) -> str:
    return f"{picture.width}x{picture.height}"


def _colours(picture: ImageFile.ImageFile) -> str:
    """The colours in a word: grey, palette, rgb, rgba, cmyk, and how deep they are where that is more than usual."""
    names = {"1": "black and white", "L": "grey", "P": "palette", "LA": "grey with alpha", "PA": "palette with alpha"}
    stored = picture.tile[0].args if picture.tile else ""
    raw = stored if isinstance(stored, str) else str(stored[0]) if stored else ""
    if picture.mode.startswith("I"):
        return "grey 16 bit"
    return names.get(picture.mode, picture.mode.lower()) + (" 16 bit" if ";16" in raw else "")


def _coloured(picture: Image.Image) -> Image.Image:
    """The picture in RGB: 16 bits scaled to 8, transparent parts laid over white."""
    from PIL import Image

    if picture.mode.startswith("I"):  # Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        over = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", over.size, "white")
        white.paste(over, mask=over)
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")  # a copy of a large picture is large


def _see_through(picture: Image.Image) -> bool:
    over = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    return bool(np.asarray(over.getchannel("A")).min() < 255)


def _orientation(picture: Image.Image) -> int:
    """How the camera was held, 1 where nobody says (or says it so that it cannot be read)."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever is wrong with the note on a picture, the picture stands
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    return picture.transpose(Transpose[UPRIGHT[orientation]]) if orientation in UPRIGHT else picture


def _pixels_hash(picture: Image.Image) -> str:
    """Of the upright picture in RGB, strip by strip."""
    digest = hashlib.sha256(f"{_size(picture)} pixels\n".encode())
    rows = max(1, STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(picture.height, top + rows)))
        digest.update(strip.tobytes())
    return digest.hexdigest()
