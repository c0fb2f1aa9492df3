"""Settings: strict, frozen, and refused with the file, the key and what is allowed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

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


class Switched(Config):
    on: bool = True
    """Whether it is done at all."""
    days: tuple[Literal["mon", "tue"], ...] = Field(default=("mon",), min_length=1)
    """Days."""
    span: tuple[float, float] = (0.0, 1.0)
    """From and to."""
    start: str | list[str] | None = None
    """A command."""
    weights: bool | str = True
    """Weights."""

    @field_validator("weights")
    @classmethod
    def _is_a_path(cls, said: bool | str) -> bool | str:
        if isinstance(said, str) and not said.startswith("/"):
            raise ValueError("no whole path")
        return said

    @model_validator(mode="after")
    def _forwards(self) -> Switched:
        if self.span[0] > self.span[1]:
            raise ValueError("span goes backwards")
        return self


class House(Config):
    night: Switched = Switched()
    """Below."""


ABOUT_SWITCHED = "expected settings below it, such as `night: {on: false}`"


def _file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_number_in_scientific_notation_is_a_number(tmp_path):
    read = read_yaml(_file(tmp_path, "a: 1e-4\nb: 3E5\nc: 1.5e-3\nd: 12\ne: '1e-4'\nf: v1e\n"))
    assert read == {"a": 1e-4, "b": 3e5, "c": 1.5e-3, "d": 12, "e": "1e-4", "f": "v1e"}


def test_on_and_off_yes_and_no_and_dates_are_text_as_keys_and_as_values(tmp_path):
    text = "night: {on: false, off: TRUE}\nyes: no\nOn: [true, False, Yes]\nday: 2026-13-45\nnothing: ~\n"
    assert read_yaml(_file(tmp_path, text)) == {
        "night": {"on": False, "off": True},
        "yes": "no",
        "On": [True, False, "Yes"],
        "day": "2026-13-45",
        "nothing": None,
    }
    assert yaml.safe_load("on: yes") == {True: True}, "other programs in this process read YAML as before"


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
        ({"count": "three"}, ["`count`", "'three'", "expected a whole number"]),
        ({"count": 2.5}, ["`count`", "2.5"]),
        ({"inner": {"rate": 0}}, ["`inner.rate`", "expected more than 0"]),
        ({"inner": 7}, ["`inner` is 7", "settings below it, of names, rate"]),
    ],
)
def test_what_does_not_fit_is_refused_with_place_value_and_remedy(said, words):
    with pytest.raises(ConfigError) as refused:
        read_config(Outer, said, "file.yaml")
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("night: {on: yes}", "`night.on` is 'yes': expected true or false (`yes` is text here; write true)"),
        ("night: {on: Off}", "`night.on` is 'Off': expected true or false (`Off` is text here; write false)"),
        ('night: {on: "false"}', "`night.on` is 'false': expected true or false, without quotes"),
        ("night: off", f"`night` is 'off': {ABOUT_SWITCHED}"),
        ("night: false", f"`night` is false: {ABOUT_SWITCHED}"),
        ("night:", "`night` is empty: expected settings below it, of days, on, span, start, weights"),
        ("night: {days: [monday]}", "`night.days` holds 'monday': expected mon or tue"),
        ("night: {days: []}", "`night.days` is []: expected at least 1 value"),
        ("night: {days: mon}", "`night.days` is 'mon': expected a list in square brackets"),
        ("night: {span: []}", "`night.span` is []: expected 2 values"),
        ("night: {span: [1, 2, 3]}", "`night.span` is [1, 2, 3]: expected 2 values"),
        ("night: {span: [1, '2']}", "`night.span` holds '2': expected a number without quotes"),
        ("night: {span: [2, 1]}", "`night`: span goes backwards"),
        ("night: {start: 5}", "`night.start` is 5: expected text or a list in square brackets"),
        ("night: {start: [5]}", "`night.start` holds 5: expected text, in quotes"),
        ("night: {weights: no}", "`night.weights` is 'no': no whole path (`no` is text here; write false)"),
        ("night: {onn: false}", "unknown key `night.onn`; allowed here: days, on, span, start, weights"),
        (
            "nihgt: 1\nnight: {on: 1}",
            "`night.on` is 1: expected true or false; also unknown key `nihgt`; allowed here: night",
        ),
    ],
)
def test_one_mistake_is_one_complaint_in_plain_words(tmp_path, text, complaint):
    with pytest.raises(ConfigError) as refused:
        read_config(House, read_yaml(_file(tmp_path, text)), "file.yaml")
    assert str(refused.value) == f"file.yaml: {complaint}"


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: [1, 2", "not valid YAML in line 2: what begins in line 2 has no end"),
        ("a: {b: 1\nc: 2}", "not valid YAML in line 2: a comma is missing, or the end of the bracket that line 1"),
        ("a:\n\tb: 1", "not valid YAML in line 2: a tab; indent with spaces"),
        ("a: 1\n b: 2", "not valid YAML in line 2: a `:` too many, or a line that begins further right"),
        ("a: @x", "line 1: a value begins with a sign that has a meaning in YAML; put it in quotes"),
        ("a: 1\nb: *x", "line 2: aliases"),
        ("a: \x00", "character 4 is one that no text has"),
        ("a: !!timestamp 2026-13-45", "not valid YAML: "),
    ],
)
def test_a_broken_file_is_told_with_the_line_and_what_has_probably_happened(tmp_path, text, said):
    with pytest.raises(ConfigError) as refused:
        read_yaml(_file(tmp_path, text))
    assert str(refused.value).startswith(f"{tmp_path / 'settings.yaml'}: ") and said in str(refused.value)
    assert "<unicode string>" not in str(refused.value) and "while " not in str(refused.value)


def test_a_file_in_another_encoding_is_told_with_the_line(tmp_path):
    path = _file(tmp_path, "")
    path.write_bytes("a: 1\nb: żółć".encode("cp1250"))
    with pytest.raises(ConfigError, match="line 2 is not UTF-8; save the file in that encoding"):
        read_yaml(path)


def test_what_stands_twice_is_refused_and_not_taken_from_the_second(tmp_path):
    text = "count: 1\ninner:\n  rate: 2\ninner: {names: []}\n"
    with pytest.raises(ConfigError, match="in line 4: `inner` stands in line 2 already"):
        read_yaml(_file(tmp_path, text))
    assert read_yaml(_file(tmp_path, "a: {x: 1}\nb: {x: 1}\n")) == {"a": {"x": 1}, "b": {"x": 1}}


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
