"""What is wrong with settings, in words for whoever wrote them: where, what stands there, and what is allowed."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

TRUTHS = {"on": "true", "yes": "true", "off": "false", "no": "false"}
"""Words that a person may mean by true and false, and that are text in YAML as it is written today."""

SWITCH = "on"
"""The setting by which a section is turned off as a whole, where it has one."""

LONGEST = 80
"""Characters of a value that are shown."""

_KINDS = {
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list in square brackets",
    "tuple_type": "a list in square brackets",
    "dict_type": "lines of `name: value` below it",
    "finite_number": "a number that is finite",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_YAML = (
    ("<stream end>", "what begins in line {begins} has no end: is a bracket or a quote not closed?"),
    ("unexpected end of stream", "what begins in line {begins} has no end: is a bracket or a quote not closed?"),
    ("expected ',' or", "a comma is missing, or the end of the bracket that line {begins} opens"),
    ("'\\t' that cannot start", "a tab; indent with spaces"),
    ("cannot start any token", "a value begins with a sign that has a meaning in YAML; put it in quotes"),
    (
        "mapping values are not allowed",
        "a `:` too many, or a line that begins further right than the one it belongs to",
    ),
    ("expected <block end>", "it does not go on as the lines above do: do they begin in the same column?"),
    ("could not determine a constructor", "tags (!name) are not used in Nocturne's files"),
    ("unhashable key", "a list or a mapping stands where a name is expected; put text with brackets in quotes"),
)
"""What the parser says, and what has probably happened."""


def complaints(kind: type[BaseModel], values: Any, errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each mistake in `values` (plain JSON), of which pydantic may make several errors."""
    at: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for error in errors:
        at.setdefault(_place(values, error), []).append(error)
    return [
        _sentence(kind, values, place, found)
        for place, found in at.items()
        if not _follows_from_others(place, found, at)
    ]


def yaml_complaint(problem: Exception) -> str:
    """What is wrong with the text of a file that is not valid YAML, and in which line."""
    mark = getattr(problem, "problem_mark", None)
    if isinstance(problem, yaml.MarkedYAMLError) and mark is not None:
        said = str(problem.problem)
        begins = (problem.context_mark or mark).line + 1
        said = next((words.format(begins=begins) for sign, words in _YAML if sign in said), said)
        return f"not valid YAML in line {mark.line + 1}: {said}"
    if isinstance(problem, yaml.reader.ReaderError):
        return f"not valid YAML: character {problem.position + 1} is one that no text has; is it another kind of file?"
    if isinstance(problem, RecursionError):
        return "not valid YAML: too many brackets or lists within each other"
    return f"not valid YAML: {' '.join(str(problem).split())}"


def _place(values: Any, error: Mapping[str, Any]) -> tuple[Any, ...]:
    """The keys that lead to what the error is about, without the names that pydantic gives to the kinds it tried."""
    keys: list[Any] = []
    at = values
    for part in error["loc"]:
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and part in range(len(at))):
            keys.append(part)
            at = at[part]
        elif error["type"] == "missing" and isinstance(at, dict):
            keys.append(part)
    return tuple(keys)


def _follows_from_others(
    place: tuple[Any, ...], errors: Sequence[Mapping[str, Any]], at: Mapping[tuple[Any, ...], Any]
) -> bool:
    """Whether something within is wrong, such as the only item of a list that is said to be empty without it."""
    within = any(len(other) > len(place) and other[: len(place)] == place for other in at)
    return within and not any(error["type"] == "missing" for error in errors)


def _sentence(kind: type[BaseModel], values: Any, place: tuple[Any, ...], errors: Sequence[Mapping[str, Any]]) -> str:
    name = ".".join(str(key) for key in place)
    if errors[0]["type"] == "extra_forbidden":
        owner = _section(_annotation(kind, place[:-1]))
        allowed = ", ".join(sorted(owner.model_fields)) if owner else "see the documentation"
        return f"unknown key `{name}`; allowed here: {allowed}"
    found = values
    for key in place:
        if errors[0]["type"] == "missing" and key not in found:
            return f"`{name}` is missing"
        found = found[key]
    annotation = _annotation(kind, place)
    own = [str(error["ctx"]["error"]) for error in errors if error["type"] in ("value_error", "assertion_error")]
    said = own or [
        f"expected {' or '.join(dict.fromkeys(_expected(error, annotation, place, found) for error in errors))}"
    ]
    return f"{_what(place, found, annotation)}{'; '.join(said)}{_of_truths(annotation, found)}"


def _what(place: tuple[Any, ...], found: Any, annotation: Any) -> str:
    if not place:
        return ""
    if isinstance(place[-1], int):
        return f"`{'.'.join(str(key) for key in place[:-1])}` holds {_shown(found)}: "
    name = ".".join(str(key) for key in place)
    if isinstance(found, dict) and _section(annotation):
        return f"`{name}`: "
    return f"`{name}` is {'empty' if found is None and _section(annotation) else _shown(found)}: "


def _expected(error: Mapping[str, Any], annotation: Any, place: tuple[Any, ...], found: Any) -> str:
    """What is allowed there, so that it goes on after "expected"."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {_number(context[bound])}"
    if kind in ("int_type", "float_type"):
        return f"a {'whole ' if kind == 'int_type' else ''}number{' without quotes' if _is_a_number(found) else ''}"
    if kind == "string_type":
        is_plain = isinstance(found, bool | int | float) and [str] == [
            one for one in _kinds(annotation) if one is not types.NoneType
        ]
        return f"text{', in quotes' if is_plain else ''}"
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind in ("model_type", "model_attributes_type"):
        return _of_a_section(annotation, place, found)
    if kind in ("missing", "too_short", "too_long"):
        items = [one for one in get_args(_kinds(annotation)[0]) if one is not Ellipsis]
        if kind == "missing" or (len(items) > 1 and Ellipsis not in get_args(_kinds(annotation)[0])):
            return f"{len(items)} values"
        few = kind == "too_short"
        return f"at {'least' if few else 'most'} {_values(context['min_length' if few else 'max_length'])}"
    said = str(error["msg"]).removeprefix("Input should be ")
    return said[:1].lower() + said[1:]


def _of_a_section(annotation: Any, place: tuple[Any, ...], found: Any) -> str:
    section = _section(annotation)
    if section is None or not place:
        return "lines of `name: value`"
    truth = _yaml_of(found) if isinstance(found, bool) else TRUTHS.get(str(found).lower())
    if truth and SWITCH in section.model_fields:
        return f"settings below it, such as `{place[-1]}: {{{SWITCH}: {truth}}}`"
    return f"settings below it, of {', '.join(sorted(section.model_fields))}"


def _of_truths(annotation: Any, found: Any) -> str:
    """What to write instead of `yes`, where true and false are allowed."""
    if bool not in _kinds(annotation) or not isinstance(found, str):
        return ""
    if found.lower() in ("true", "false"):
        return ", without quotes"
    truth = TRUTHS.get(found.lower())
    return f" (`{found}` is text here; write {truth})" if truth else ""


# --- what a setting may be ---------------------------------------------------------------------------------------


def _kinds(annotation: Any) -> list[Any]:
    """The types that a setting may have: those of a union, without what only annotates them."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for one in get_args(annotation) for kind in _kinds(one)]
    return [annotation]


def _section(annotation: Any) -> type[BaseModel] | None:
    """The settings that stand below it, where it is a section."""
    for kind in _kinds(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _annotation(kind: type[BaseModel], place: tuple[Any, ...]) -> Any:
    at: Any = kind
    for key in place:
        section = _section(at)
        if section is not None:
            field = section.model_fields.get(key)
            at = field.annotation if field else Any
        else:
            items = [one for each in _kinds(at) for one in get_args(each) if one is not Ellipsis] or [Any]
            at = items[min(key, len(items) - 1)] if isinstance(key, int) else items[-1]
    return at


# --- how it is written -------------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    said = _yaml_of(value)
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} …"


def _yaml_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else repr(value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _is_a_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and float(value) == float(value)
    except ValueError:
        return False


def _values(number: int) -> str:
    return f"{number} value{'' if number == 1 else 's'}"
