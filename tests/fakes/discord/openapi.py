"""Discord's own description of its API, when it lies beside the repository: every recorded body is held against it.

It is not ours to copy. It is looked for in OPENAPI_OF_DISCORD, then in ../shared/; without it nothing is checked.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.fakes.discord.recording import Recorded

JsonObject = dict[str, Any]

_ROOT = Path(__file__).resolve().parents[3]
# discord.py and others write snowflakes as numbers, which Discord takes.
_SNOWFLAKES = frozenset({"recipient_id", "message_id", "channel_id", "guild_id", "id", "target_id"})


@functools.cache
def description() -> JsonObject | None:
    """The document, or None."""
    for path in (os.environ.get("OPENAPI_OF_DISCORD"), _ROOT.parent / "shared/discord-openapi-slim.json"):
        if path and Path(path).is_file():
            document: JsonObject = json.loads(Path(path).read_text(encoding="utf-8"))
            return document
    return None


@functools.cache
def _registry() -> Registry[Any]:
    return Registry().with_resource("discord:", DRAFT202012.create_resource(description() or {}))


@functools.cache
def _routes() -> dict[tuple[str, str], str]:
    """Method and template without the names of its parameters, to the path in the document."""
    paths = (description() or {"paths": {}})["paths"]
    return {
        (method.upper(), _nameless(path)): f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}"
        for path, operations in paths.items()
        for method in operations
    }


@functools.cache
def _validator(pointer: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"discord:#{pointer}"}, registry=_registry())


def is_known(record: Recorded) -> bool:
    """Whether the document describes the route (always, without the document)."""
    return description() is None or (record.method, _nameless(record.template)) in _routes()


@functools.lru_cache(maxsize=4096)
def _complaint(pointer: str, body: str) -> str:
    error = jsonschema.exceptions.best_match(_validator(pointer).iter_errors(json.loads(body)))
    if error is None:
        return ""
    return f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message[:300]}"


def complaint(record: Recorded) -> str:
    """What the description has against a request's body; "" for nothing."""
    place = _routes().get((record.method, _nameless(record.template)))
    if place is None:
        return ""
    contents = _at(place).get("requestBody", {}).get("content", {})
    if not contents:
        return ""
    kind = "multipart/form-data" if record.is_multipart and "multipart/form-data" in contents else "application/json"
    pointer = f"{place}/requestBody/content/{kind.replace('/', '~1')}/schema"
    return _complaint(pointer, json.dumps(_with_snowflakes(record.body), sort_keys=True))


def complaint_of_answer(record: Recorded) -> str:
    """What the description has against the fake's own answer; "" for nothing."""
    place = _routes().get((record.method, _nameless(record.template)))
    responses = _at(place)["responses"] if place else {}
    content = responses.get(str(record.status), {}).get("content", {})
    if record.answer is None or "application/json" not in content:
        return ""
    pointer = f"{place}/responses/{record.status}/content/application~1json/schema"
    return _complaint(pointer, json.dumps(record.answer, sort_keys=True))


def _at(pointer: str) -> JsonObject:
    place: Any = description()
    for step in pointer.split("/")[1:]:
        place = place[step.replace("~1", "/").replace("~0", "~")]
    found: JsonObject = place
    return found


def _nameless(template: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", template)


def _with_snowflakes(body: Any) -> Any:
    if isinstance(body, list):
        return [_with_snowflakes(each) for each in body]
    if not isinstance(body, dict):
        return body
    is_component = "type" in body  # whose id is a number indeed
    return {
        key: str(value)
        if key in _SNOWFLAKES and type(value) is int and not (key == "id" and is_component)
        else _with_snowflakes(value)
        for key, value in body.items()
    }
