"""Other words that a trial's file may use for a setting, as the document that a study comes from says them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ml.config import ConfigError


def translate(
    values: Mapping[str, Any], synonyms: Mapping[str, str | None], known: Collection[str], where: str
) -> tuple[dict[str, Any], list[str]]:
    """`values` in the study's own words, and the keys in it that are understood and change nothing.

    `known` are the study's own settings and sections. A setting that is said in both words is refused, and so is
    anything else in a section that only the other words have.
    """
    own = _copied(values)
    idle = []
    for word, setting in synonyms.items():
        said, value = _take(own, word.split("."))
        if not said:
            continue
        if setting is None:
            idle.append(word)
        elif _has(own, setting.split(".")):
            raise ConfigError(f"{where}: `{word}` and `{setting}` say the same setting; take one of them out")
        else:
            _put(own, setting.split("."), value)
    for section in sorted({word.partition(".")[0] for word in synonyms if "." in word}.difference(known)):
        rest = own.pop(section, None)
        if rest:
            allowed = ", ".join(sorted(word for word in synonyms if word.startswith(f"{section}.")))
            wrong = f"{section}.{next(iter(rest))}" if isinstance(rest, dict) else section
            raise ConfigError(f"{where}: unknown key `{wrong}`; allowed here: {allowed}")
    return own, idle


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in values.items()}


def _take(values: dict[str, Any], path: list[str]) -> tuple[bool, Any]:
    """Whether something is said there, and what; it is taken out."""
    for key in path[:-1]:
        below = values.get(key)
        if not isinstance(below, dict):
            return False, None
        values = below
    return path[-1] in values, values.pop(path[-1], None)


def _has(values: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Where a section is no section, nothing is put: that it is none will be said of it anyway."""
    for key in path[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            return
    values[path[-1]] = value
