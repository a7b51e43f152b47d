"""Parameters of a flow as a person types them (`--param name=value`), checked against the flow's own description.

Prefect takes a parameter of an unknown name, and the run crashes minutes later: here it is refused at once, with the
names that there are. A description is JSON Schema, as Prefect keeps one with each deployment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nescord.errors import UsageError

_YES, _NO = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
Schema = Mapping[str, Any]  # Any: JSON


def parse(given: Iterable[str], schema: Schema, defaults: Mapping[str, object], flow: str) -> dict[str, object]:
    """The values of `name=value` texts.

    Raises:
        UsageError: a name is unknown, a value is not of its type, or one that is needed is missing.
    """
    known: Schema = schema.get("properties") or {}
    parameters: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'--param {text}: write it as "name=value"')
        if name not in known:
            there = ", ".join(known) or "none"
            raise UsageError(f'{flow} has no parameter "{name}"; it has {there}')
        if name in parameters:
            raise UsageError(f'the parameter "{name}" is given twice')
        parameters[name] = _value(name, value, _choices(known[name], schema))
    missing = [name for name in schema.get("required") or () if name not in parameters and name not in defaults]
    if missing:
        raise UsageError(f"{flow} needs {' and '.join(f'--param {name}=…' for name in missing)}")
    return parameters


def _value(name: str, text: str, choices: Sequence[Schema]) -> object:
    """The text as the first of its possible types that it fits; text is the last resort, as it fits always."""
    enums = [value for choice in choices for value in _enum(choice)]
    for value in enums:
        if text == (value if isinstance(value, str) else json.dumps(value)):
            return value
    types = {choice.get("type") for choice in choices if not _enum(choice)}
    if "null" in types and text in ("null", ""):
        return None
    if "boolean" in types and text.casefold() in _YES | _NO:
        return text.casefold() in _YES
    for kind, make in (("integer", int), ("number", float)):
        if kind in types:
            try:
                return make(text)
            except ValueError:
                pass
    if "string" in types:
        return text
    if types & {"array", "object", None}:
        try:
            return json.loads(text)
        except ValueError:
            types.add("JSON")
    words = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "JSON": "JSON"}
    allowed = [*(str(value) for value in enums), *(words[kind] for kind in words if kind in types)]
    raise UsageError(f'the parameter {name} is "{text}": it must be {" or ".join(dict.fromkeys(allowed))}')


def _choices(described: Schema, schema: Schema) -> list[Schema]:
    """What a value may be: the parts of `anyOf`, references followed."""
    if reference := described.get("$ref"):
        name = str(reference).rpartition("/")[2]
        described = (schema.get("definitions") or schema.get("$defs") or {}).get(name) or {}
    parts = described.get("anyOf") or described.get("allOf") or described.get("oneOf")
    if parts:
        return [choice for part in parts for choice in _choices(part, schema)]
    kinds = described.get("type")
    return [{"type": kind} for kind in kinds] if isinstance(kinds, list) else [described]


def _enum(choice: Schema) -> list[object]:
    return [choice["const"]] if "const" in choice else list(choice.get("enum") or ())
