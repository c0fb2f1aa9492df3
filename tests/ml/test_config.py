"""Settings: strict, frozen, and refused with the file, the key and what is allowed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from ml.config import Config, ConfigError, differences, fingerprint, merge, read_config, read_yaml


class Inner(Config):
    rate: float = Field(default=1e-3, gt=0)
    """A rate."""
    names: tuple[str, ...] = ("a",)
    """Names."""


class Outer(Config):
    inner: Inner = Inner()
    """Below."""
    count: int = 3
    """A count."""


def _file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_number_in_scientific_notation_is_a_number(tmp_path):
    read = read_yaml(_file(tmp_path, "a: 1e-4\nb: 3E5\nc: 1.5e-3\nd: 12\ne: '1e-4'\nf: v1e\n"))
    assert read == {"a": 1e-4, "b": 3e5, "c": 1.5e-3, "d": 12, "e": "1e-4", "f": "v1e"}


def test_what_a_file_says_is_laid_over_the_defaults():
    read = read_config(Outer, {"inner": {"rate": 1, "names": ["x", "y"]}}, "here")
    assert read.inner.names == ("x", "y")
    assert read.inner.rate == 1.0
    assert read.count == 3
    with pytest.raises(ValidationError):
        read.count = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"cuont": 1}, ["file.yaml", "`cuont`", "count, inner"]),
        ({"inner": {"rat": 1}}, ["`inner.rat`", "names, rate"]),
        ({"count": "three"}, ["`count`", "'three'", "integer"]),
        ({"count": 2.5}, ["`count`", "2.5"]),
        ({"inner": {"rate": 0}}, ["`inner.rate`", "greater than 0"]),
        ({"inner": 7}, ["`inner`", "7"]),
    ],
)
def test_what_does_not_fit_is_refused_with_place_value_and_remedy(said, words):
    with pytest.raises(ConfigError) as refused:
        read_config(Outer, said, "file.yaml")
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch canary']",
        "a: &x [1, 2]\nb: *x",
        "- just\n- a list",
        "a: [1, 2",
        "{" * 5000,
        "a: " + "[" * 100_000,
        "- " * 100_000,
        "? " * 100_000,
    ],
)
def test_yaml_that_is_unsafe_or_broken_is_refused_at_once(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    since = time.process_time()
    with pytest.raises(ConfigError, match=r"settings\.yaml"):
        read_yaml(_file(tmp_path, text))
    assert time.process_time() - since < 1
    assert not (tmp_path / "canary").exists()


def test_an_endless_file_is_no_settings_file(tmp_path):
    with pytest.raises(ConfigError, match="KiB"):
        read_yaml(_file(tmp_path, "a: 1\n" * 100_000))


def test_an_empty_file_says_nothing(tmp_path):
    assert read_yaml(_file(tmp_path, "# only a comment\n")) == {}


def test_merge_replaces_lists_and_joins_mappings():
    assert merge({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [9]}}) == {"a": {"b": 1, "c": [9]}, "d": 2}


def test_differences_are_dotted():
    other = Outer(inner=Inner(rate=0.5), count=4)
    assert differences(Outer(), other) == {"inner.rate": (1e-3, 0.5), "count": (3, 4)}


def test_a_fingerprint_tells_apart_what_is_different_and_nothing_else():
    assert fingerprint(Outer()) == fingerprint(Outer(inner=Inner(rate=1e-3)))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(0.1 + 0.2) != fingerprint(0.3)
    assert fingerprint("1") != fingerprint(1)
    assert fingerprint(["a", "b"]) != fingerprint(["ab"])
    assert len(fingerprint(None)) == 32
    with pytest.raises(TypeError):
        fingerprint(object())
