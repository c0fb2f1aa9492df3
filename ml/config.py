"""The base of every configuration, how it is read from YAML, and the fingerprint of what was said.

A configuration is frozen and strict: a misspelled key or a wrong type is refused with the file, the key and what is
allowed. A YAML file says only what differs from the typed defaults.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ml.refusals import complaints, yaml_complaint

MAX_YAML_BYTES = 256 * 1024
"""No configuration of a person is larger; a larger file is a mistake or an attack."""

MAX_BRACKETS = 32
"""No person opens more brackets within brackets; the parser's time grows with the square of them."""


class ConfigError(ValueError):
    """A configuration that cannot be used, in one sentence: where, what, and what is allowed."""


class Config(BaseModel):
    """Frozen, strict settings. Every field carries a sentence (its attribute docstring)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, validate_default=True
    )


ConfigT = TypeVar("ConfigT", bound=Config)


BOOL, TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no alias bombs), where 1e-4 is a number as everyone expects.

    Plain words mean what they do in YAML 1.2: only true and false are truths; `on`, `off`, `yes`, `no` and dates are
    text. In YAML 1.1 a key `on` is no text, and nobody who writes one knows.
    """

    # A table of its own: that of SafeLoader is everybody's.
    yaml_implicit_resolvers = {  # noqa: RUF012 - as yaml declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, TIMESTAMP)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            said = "aliases (*name) are not used in Nocturne's files; write the value out, or put it in quotes"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= MAX_BRACKETS:
            said = f"more than {MAX_BRACKETS} brackets are open within each other: is one not closed?"
            raise yaml.MarkedYAMLError(problem=said, problem_mark=self.get_mark())
        super().fetch_flow_collection_start(token)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        said: dict[Any, Any] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and said.setdefault(key.value, key) is not key:
                first = said[key.value].start_mark.line + 1
                raise yaml.MarkedYAMLError(
                    problem=f"`{key.value}` stands in line {first} already: write what belongs to it in one place",
                    problem_mark=key.start_mark,
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|nan|NaN))$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_YAML_BYTES // 1024} KiB; this is no settings file")
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file in that encoding") from problem
    try:
        loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as problem:  # ValueError: `!!int many`
        raise ConfigError(f"{path}: {yaml_complaint(problem)}") from problem
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(f"{path}: expected lines of `name: value`, found {type(loaded).__name__}")
    return loaded


def read_config(kind: type[ConfigT], values: dict[str, Any], where: str) -> ConfigT:
    """`values` as a `kind`; `where` (a file, usually) begins the sentence when they do not fit."""
    try:
        text = json.dumps(values)
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"{where}: {problem}") from None
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        said = complaints(kind, json.loads(text), problem.errors(include_url=False))
        raise ConfigError(f"{where}: {'; also '.join(said)}") from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` laid over `base`, mapping by mapping; lists are replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def differences(base: Any, other: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """What `other` says differently from `base`: dotted key to (before, after)."""
    if isinstance(base, Config):
        base = base.model_dump(mode="json")
    if isinstance(other, Config):
        other = other.model_dump(mode="json")
    if not (isinstance(base, dict) and isinstance(other, dict)):
        return {} if base == other else {place: (base, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*base, *other]):
        found |= differences(base.get(key), other.get(key), f"{place}.{key}" if place else key)
    return found


def fingerprint(*parts: Any) -> str:
    """32 hexadecimal digits that stand for `parts`: equal parts, equal digits, on every machine.

    Parts are configurations, plain JSON values, or lists and mappings of them. Floats are written with `repr`, so
    that two settings differ exactly when the numbers do.
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"cannot fingerprint a {type(value).__name__}: {value!r}")
