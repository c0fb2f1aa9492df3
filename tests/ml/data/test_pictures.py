"""Every verdict on a single picture, in which words, and what is read of it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data import verdict
from ml.data.pictures import PICTURE_SUFFIXES, UPRIGHT, PictureLimits, examine_picture, read_picture
from ml.data.verdict import FileFacts
from tests.ml.data.drawn import draw, tiles
from tests.ml.data.sounds import growing, halve, ordinary_user, write

KINDS = ("png", "jpg", "jpeg", "bmp", "webp")


def look(path: Path, limits: PictureLimits = PictureLimits()) -> FileFacts:
    return examine_picture(path, limits)


def png(header: bytes, data: bytes = b"") -> bytes:
    """A PNG written out by hand: chunks with their lengths and checksums."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_accepted_and_named(tmp_path: Path, kind: str) -> None:
    path = draw(tmp_path / f"!a ż.{kind}", tiles(64, 48))
    facts = look(path)
    assert (facts.state, facts.problem) == ("ok", "")
    assert facts.format == f"{kind.replace('jpg', 'jpeg')}/rgb 64x48"
    assert (facts.seconds, facts.rate, facts.channels, facts.peak) == (0.0, 0, 3, 0.0)
    assert facts.bytes == path.stat().st_size and facts.modified_ns == path.stat().st_mtime_ns
    assert len(facts.content_hash) == len(facts.sound_hash) == 64
    assert read_picture(path, 32).shape == (32, 32, 3) and f".{kind}" in PICTURE_SUFFIXES


@pytest.mark.parametrize(
    ("mode", "kind", "said", "bands"),
    [
        ("L", "png", "png/grey", 1),
        ("L", "jpg", "jpeg/grey", 1),
        ("1", "png", "png/black and white", 1),
        ("P", "png", "png/palette", 1),
        ("P", "bmp", "bmp/palette", 1),
        ("LA", "png", "png/grey with alpha", 2),
        ("RGBA", "png", "png/rgba", 4),
    ],
)
def test_every_kind_of_colour_is_read_as_rgb(tmp_path: Path, mode: str, kind: str, said: str, bands: int) -> None:
    picture = tiles(48, 48).convert(mode)
    facts = look(draw(tmp_path / f"a.{kind}", picture))
    assert (facts.state, facts.problem, facts.channels) == ("ok", "", bands)
    assert facts.format == f"{said} 48x48"
    read = read_picture(tmp_path / f"a.{kind}", 48)
    assert read.dtype == np.uint8 and read.shape == (48, 48, 3)
    assert np.abs(read.astype(int) - np.asarray(picture.convert("RGB"))).mean() < (8 if kind == "jpg" else 0.01)


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65_535, 64 * 64).astype(np.uint16).reshape(64, 64)
    path = draw(tmp_path / "a.png", Image.fromarray(ramp))
    assert look(path).format == "png/grey 16 bit 64x64"
    np.testing.assert_allclose(read_picture(path, 64)[..., 0], ramp / 257, atol=1)

    colour = np.stack([ramp, ramp.T, np.full_like(ramp, 40_000)], axis=-1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    path = tmp_path / "b.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0), rows))
    assert look(path).format == "png/rgb 16 bit 64x64"
    np.testing.assert_allclose(read_picture(path, 64), colour / 257, atol=1)


def test_transparent_parts_are_white_and_it_is_said(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (20, 0, 40, 40))  # black, and not to be seen
    path = draw(tmp_path / "a.png", picture)
    facts = look(path)
    assert facts.state == "warned" and facts.problem == "transparent in places: they are taken as white"
    read = read_picture(path, 40)
    assert (read[:, :18] == (200, 0, 0)).all() and (read[:, 22:] == 255).all()
    palette = draw(tmp_path / "b.png", tiles().convert("P"), transparency=0)
    assert look(palette).state in ("ok", "warned") and read_picture(palette, 8).shape == (8, 8, 3)


def test_the_colours_of_print_are_read_and_said(tmp_path: Path) -> None:
    picture = tiles(48, 48)
    path = draw(tmp_path / "a.jpg", picture.convert("CMYK"), quality=95)
    facts = look(path)
    assert facts.state == "warned" and "CMYK" in facts.problem and facts.channels == 4
    assert np.abs(read_picture(path, 48).astype(int) - np.asarray(picture)).mean() < 10


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_of_an_animation_the_first_picture_is_used(tmp_path: Path, kind: str) -> None:
    first, second = tiles(seed=1), tiles(seed=2)
    path = draw(tmp_path / f"a.{kind}", first, save_all=True, append_images=[second], lossless=True)
    facts = look(path)
    assert facts.state == "warned" and facts.problem == "animated: the first of its 2 pictures is used"
    still = draw(tmp_path / f"b.{kind}", first, lossless=True)
    assert facts.sound_hash == look(still).sound_hash
    np.testing.assert_array_equal(read_picture(path, 24), read_picture(still, 24))


@pytest.mark.parametrize("orientation", [1, *UPRIGHT])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_pictures_stand_as_the_camera_was_held(tmp_path: Path, orientation: int, kind: str) -> None:
    """Stored turned and marked so, it is the picture that was seen: same pixels in training, same hash."""
    seen = tiles(48, 36)
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = seen.transpose(Image.Transpose[UPRIGHT[undo]]) if orientation != 1 else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 100, "subsampling": 0} if kind == "jpg" else {"lossless": True} if kind == "webp" else {}
    turned = draw(tmp_path / f"turned.{kind}", stored, exif=exif, **how)
    plain = draw(tmp_path / f"plain.{kind}", seen, **how)
    difference = np.abs(read_picture(turned, 24).astype(int) - read_picture(plain, 24))
    assert difference.max() <= (12 if kind == "jpg" else 1)
    if kind != "jpg":
        assert look(turned).sound_hash == look(plain).sound_hash


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("note", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_a_broken_note_on_a_picture_leaves_the_picture(tmp_path: Path, note: bytes) -> None:
    path = draw(tmp_path / "a.jpg", exif=note)
    assert look(path).state == "ok" and read_picture(path, 16).shape == (16, 16, 3)


def test_the_same_picture_has_the_same_hash_in_every_lossless_coat(tmp_path: Path) -> None:
    picture = tiles()
    looks = [look(draw(tmp_path / f"a.{kind}", picture, **how)) for kind, how in COATS]
    assert len({facts.sound_hash for facts in looks}) == 1 and len({facts.content_hash for facts in looks}) == 3
    longer = look(draw(tmp_path / "b.png", Image.fromarray(np.asarray(picture).reshape(18, 96, 3))))
    assert longer.sound_hash != looks[0].sound_hash, "the same pixels in other rows are another picture"
    assert look(draw(tmp_path / "c.png", tiles(seed=1))).sound_hash != looks[0].sound_hash


COATS = (("png", {}), ("bmp", {}), ("webp", {"lossless": True}))


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "PNG"), ("a.png", "JPEG"), ("a.webp", "BMP"), ("a.bmp", "WEBP")])
def test_a_wrong_ending_is_read_by_content_and_warned_about(tmp_path: Path, name: str, kind: str) -> None:
    path = draw(tmp_path / name, format=kind)
    facts = look(path)
    assert facts.state == "warned" and facts.problem == f"its name ends in {name[1:]}, it is {kind.lower()}"
    assert read_picture(path, 8).shape == (8, 8, 3)


def test_capital_endings_are_endings(tmp_path: Path) -> None:
    assert look(draw(tmp_path / "A.JPG")).state == "ok"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_cut_in_half_is_rejected(tmp_path: Path, kind: str, progressive: bool) -> None:
    path = halve(draw(tmp_path / f"a.{kind}", tiles(400, 300), progressive=progressive))
    facts = look(path)
    assert facts.state == "rejected" and "damaged or cut off" in facts.problem and "copy it again" in facts.problem
    assert facts.content_hash and not facts.sound_hash
    assert str(tmp_path) not in facts.problem and "<" not in facts.problem


def test_a_flipped_bit_is_found_by_the_checksums_of_a_png(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", tiles(200, 200))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    assert look(path).state == "rejected" and "damaged" in look(path).problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty: 0 bytes"),
        (bytes(5000), "nothing but zeros"),
        (b"angry, first row, left camera\n" * 40, "it is text"),
        ("zażółć gęślą jaźń ".encode() * 60, "it is text"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "it is text"),
        (b"%PDF-1.7\n" + bytes(200), "it is a PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "it is a HEIC; convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "it is a video"),
        (b"OggS" + bytes(100), "it is sound"),
        (bytes(range(128, 256)) * 9, "neither PNG, JPEG, BMP nor WEBP"),
    ],
)
def test_what_is_no_picture_is_rejected_and_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    facts = look(path)
    assert facts.state == "rejected" and said in facts.problem, facts.problem


@pytest.mark.parametrize("kind", ["gif", "tiff", "wav"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    made = write(tmp_path / "b.wav") if kind == "wav" else draw(tmp_path / f"b.{kind}")
    path.write_bytes(made.read_bytes())
    said = {"gif": "it is a GIF; convert", "tiff": "it is a TIFF; convert", "wav": "it is sound or video"}
    assert said[kind] in look(path).problem


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (20_000, 20_000, "20000x20000 are 400 million pixels"),
        (2**31 - 1, 1, "2147483647x1 are 2,147 million"),
        (8_001, 8_000, "8001x8000 are 64 million"),
    ],
)
def test_a_bomb_is_refused_with_its_size_before_it_is_unpacked(
    tmp_path: Path, width: int, height: int, said: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), bytes(1_000_000)))
    began = time.monotonic()
    facts = look(path)
    assert time.monotonic() - began < 1 and facts.sound_hash == ""
    assert facts.state == "rejected" and "too large" in facts.problem and said in facts.problem
    assert "a picture may have 64; make it smaller" in facts.problem


def test_bombs_of_other_formats_are_refused_too(tmp_path: Path) -> None:
    bmp = bytearray(draw(tmp_path / "a.bmp").read_bytes())
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    jpeg = bytearray(draw(tmp_path / "a.jpg").read_bytes())
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    webp = bytearray(draw(tmp_path / "a.webp", lossless=True).read_bytes())
    assert webp[12:16] == b"VP8L"
    webp[21:25] = (16_383 - 1 | (16_383 - 1) << 14).to_bytes(4, "little")
    for kind, content, said in (("bmp", bmp, "30000x30000"), ("jpg", jpeg, "60000x60000"), ("webp", webp, "268 mill")):
        path = tmp_path / f"bomb.{kind}"
        path.write_bytes(content)
        facts = look(path)
        assert facts.state == "rejected" and "too large" in facts.problem and said in facts.problem, facts


def test_a_limit_is_a_limit(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", tiles(40, 30))
    assert look(path, PictureLimits(max_pixels=1_200)).state == "ok"
    assert "40x30 are" in look(path, PictureLimits(max_pixels=1_199)).problem
    assert "MB, a picture file may have" in look(path, PictureLimits(max_bytes=100)).problem


@pytest.mark.parametrize("colour", ["black", "white", (12, 200, 3)])
def test_one_colour_teaches_nothing(tmp_path: Path, colour: object) -> None:
    facts = look(draw(tmp_path / "a.png", Image.new("RGB", (48, 48), colour)))  # type: ignore[arg-type]
    assert facts.state == "rejected" and "one single colour" in facts.problem and "nothing to learn" in facts.problem


def test_a_tiny_picture_is_warned_about(tmp_path: Path) -> None:
    facts = look(draw(tmp_path / "a.png", tiles(40, 9)))
    assert facts.state == "warned" and facts.problem == "very small: 40x9 pixels"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    began = time.monotonic()
    assert "not a regular file" in look(tmp_path / "a.png").problem
    assert time.monotonic() - began < 1


@pytest.mark.skipif(os.name == "nt", reason="permissions are others on this system")
def test_no_permission(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    path.chmod(0)
    with ordinary_user():
        facts = look(path)
    assert facts.state == "rejected" and "permission denied" in facts.problem and facts.content_hash == ""


@pytest.mark.parametrize("kind", KINDS)
def test_large_files_are_judged_as_small_ones(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path / f"a.{kind}", tiles(200, 100))
    small = look(path)
    monkeypatch.setattr(verdict, "SMALL_BYTES", 0)
    assert look(path) == small and small.state == "ok"
    assert look(halve(path)).state == "rejected"


def test_a_picture_that_changes_while_it_is_read_is_looked_at_again_later(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", tiles(3000, 2000))
    with growing(path):
        facts = look(path)
    assert facts.state == "rejected" and "changed while it was read" in facts.problem and facts.content_hash == ""


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("size", [(48, 48), (640, 480), (1500, 900)])
def test_pictures_are_made_smaller_without_aliases(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    """Against the plain way: decode all of it, then one antialiased resize over all of it."""
    coarse = tiles(size[0] // 4, size[1] // 4).resize(size, Image.Resampling.BICUBIC)
    path = draw(tmp_path / f"a.{kind}", coarse)
    with Image.open(path) as picture:
        plain = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(read_picture(path, 64) - plain).mean() < 3

    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    fine = draw(tmp_path / f"fine.{kind}", Image.fromarray(stripes))
    assert np.abs(read_picture(fine, 64).astype(int) - 128).max() <= 8, "fine stripes are an even grey, no pattern"


def test_children_need_not_import_much() -> None:
    code = (
        "import sys, ml.data.pictures; print([m for m in ('pandas', 'torch', 'PIL', 'pydantic') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
