"""The YAML at the top of a note: found, read safely, and turned into plain JSON values.

Written on libyaml's events rather than on `yaml.load`: PyYAML composes nodes by recursion in C, so 20,000 `[` in a row
end the process, aliases and merge keys grow without bound, and YAML 1.1 turns `no` into False and `12:30` into 750.
Here depth and size are counted while reading, and a value that would not read back as it was written stays text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias

import yaml
from yaml import events

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"

MAX_CHARACTERS = 64 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_TAG = 100

_OPEN = re.compile(r"---[ \t]*\r?\n")
_CLOSE = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_BLANK_LINE = re.compile(r"[ \t]*\r?\n")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?")
_DATE = re.compile(
    r"(\d{4})(?:[-/.]|年)(\d{1,2})(?:[-/.]|月)(\d{1,2})日?"
    r"(?:[Tt \u3000]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?\s*(Z|z|[+-]\d{2}:?\d{2})?)?"
)
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_JOINED = {ord(sign): None for sign in "-_ "}
_CREATED = ("created", "createdat", "datecreated", "creationdate", "date", "作成日", "作成日時", "日付")
_UPDATED = (
    *("updated", "updatedat", "dateupdated", "modified", "modifiedat", "datemodified"),
    *("lastmodified", "lastmod", "lastupdated", "更新日", "更新日時"),
)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands between the two `---`: the first `end` characters of the text (0: there is none).

    With a `problem`, a sentence for a person, nothing of it could be used and `values` is empty.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    end: int = 0
    problem: str = ""
    warnings: tuple[str, ...] = ()


def read(text: str) -> FrontMatter:
    """Read the front matter that begins at the very first character; an unclosed `---` is a rule, not front matter."""
    opening = _OPEN.match(text)
    closing = _CLOSE.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return FrontMatter()
    inner = text[opening.end() : closing.start()]
    end = closing.end()
    if len(inner) > MAX_CHARACTERS:
        return FrontMatter(end=end, problem=_problem(1, f"it is longer than {MAX_CHARACTERS // 1024} KiB"))
    warnings: list[str] = []
    try:
        values = _Builder(inner, warnings).build()
    except _RefusedError as refused:
        problem = _problem(refused.line + 2, str(refused))
    except yaml.MarkedYAMLError as error:
        # A bracket or quote that is never closed is noticed at the end, and to be mended where it opens.
        unclosed = "flow" in (error.context or "") or "quoted" in (error.context or "")
        mark = (unclosed and error.context_mark) or error.problem_mark
        problem = _problem(mark.line + 2 if mark else 2, str(error.problem or error.context))
    except yaml.YAMLError as error:  # a character that YAML forbids: carries a position, not a line
        position = getattr(error, "position", 0)
        problem = _problem(inner.count("\n", 0, position) + 2, f"character {_shown(error)} is not allowed in YAML")
    else:
        return FrontMatter(values, end, "", tuple(warnings))
    # A text between two rules with air around it is a text (pandoc's reading), not somebody's broken front matter.
    return FrontMatter() if _BLANK_LINE.match(inner) else FrontMatter(end=end, problem=problem)


def _problem(line: int, what: str) -> str:
    return (
        f"front matter, line {line}: {what} (mend that line: often a value that holds ':' or begins with [ {{ @ % * & "
        "needs quotes); until then it is kept as plain text of the note"
    )


def _shown(error: yaml.YAMLError) -> str:
    character = getattr(error, "character", None)
    return f"U+{character:04X}" if isinstance(character, int) else str(character)


class _RefusedError(Exception):
    """This front matter is YAML, but not one to be taken in."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


class _Builder:
    """Builds JSON values from libyaml's events; every node counts, those that an alias repeats too."""

    def __init__(self, inner: str, warnings: list[str]) -> None:
        self.loader = yaml.CSafeLoader(inner)
        self.warnings = warnings
        self.nodes = 0
        self.anchors: dict[str, tuple[Value, int]] = {}

    def build(self) -> dict[str, Value]:
        try:
            stream = iter(self.loader.get_event, None)
            values: Value = None
            for event in stream:
                if isinstance(event, events.DocumentStartEvent):
                    if self.nodes:
                        raise _RefusedError("a second YAML document begins", _line(event))
                    values = self._document(stream)
        finally:
            self.loader.dispose()
        if values is None:
            return {}
        if not isinstance(values, dict):
            raise _RefusedError('expected lines like "key: value"', 0)
        return values

    def _document(self, stream: Iterator[events.Event]) -> Value:
        root: list[Value] = []
        # The collections that are open: where values go, the key that waits for its value, the anchor, nodes before.
        into: list[Value] | dict[str, Value] = root
        key: str | None = None
        stack: list[tuple[list[Value] | dict[str, Value], str | None, str | None, int]] = []
        for event in stream:
            value: Value
            before = self.nodes
            if isinstance(event, events.ScalarEvent):
                value = _scalar(event)
                self._count(1 + len(event.value) // 100, event)
                if event.anchor:
                    self.anchors[event.anchor] = (value, self.nodes - before)
            elif isinstance(event, events.AliasEvent):
                if event.anchor not in self.anchors:
                    raise _RefusedError(f"*{event.anchor} refers to nothing before it", _line(event))
                value, size = self.anchors[event.anchor]
                self._count(size, event)
            elif isinstance(event, events.SequenceStartEvent | events.MappingStartEvent):
                self._count(1, event)
                if len(stack) >= MAX_DEPTH:
                    raise _RefusedError(f"nested more than {MAX_DEPTH} deep", _line(event))
                if isinstance(into, dict) and key is None:
                    raise _RefusedError("a list or mapping stands where a key is expected", _line(event))
                stack.append((into, key, event.anchor, before))
                into, key = ([] if isinstance(event, events.SequenceStartEvent) else {}), None
                continue
            elif isinstance(event, events.CollectionEndEvent):
                value = into
                into, key, anchor, before = stack.pop()
                if anchor:
                    self.anchors[anchor] = (value, self.nodes - before)
            else:  # the end of the document
                break
            if isinstance(into, list):
                into.append(value)
            elif key is None:
                if isinstance(value, list | dict):
                    raise _RefusedError("a list or mapping stands where a key is expected", _line(event))
                key = event.value if isinstance(event, events.ScalarEvent) else as_text(value)
                if key in into:
                    line = _line(event) + 2
                    self.warnings.append(f'front matter, line {line}: "{key}" is there twice; the last one counts')
            else:
                into[key] = value
                key = None
        return root[0] if root else None

    def _count(self, nodes: int, event: events.Event) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise _RefusedError(f"it unfolds to more than {MAX_NODES:,} values", _line(event))


def _line(event: events.Event) -> int:
    return event.start_mark.line if event.start_mark else 0


def _scalar(event: events.ScalarEvent) -> Value:
    text: str = event.value
    if not event.implicit[0] or len(text) > 40:  # quoted, a block of text, or tagged: as it stands
        return text
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    value = float(text) if number[1] else int(text)
    return value if str(value) == text else text  # 007 and 1.10 are names more often than numbers


def as_text(value: Value) -> str:
    """A scalar as it was written; "" for lists, mappings and nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else ""


def listed(value: Value) -> Iterator[str]:
    """The scalars of a list, or the one that stands there without a list."""
    for one in value if isinstance(value, list) else [value]:
        text = as_text(one).strip()
        if text:
            yield text


def fold_tag(tag: str) -> str:
    """The form under which tags are compared and stored: NFKC, case folded, without `#` and outer slashes."""
    if not tag.isascii():
        tag = unicodedata.normalize("NFKC", tag)
    return "-".join(tag.casefold().strip().lstrip("#").split()).strip("/")


def tags(values: Mapping[str, Value]) -> Iterator[str]:
    """The tags of `tags:` and `tag:`: a list, or one string separated by commas, or else by spaces."""
    for name, value in values.items():
        if name.lower() not in ("tags", "tag"):
            continue
        for text in listed(value):
            if isinstance(value, list) or re.search("[,、，]", text):
                parts = re.split("[,、，]", text)  # a space inside is part of the tag then: "machine learning"
            else:
                parts = text.split()
            yield from (folded for part in parts if (folded := fold_tag(part)) and len(folded) <= MAX_TAG)


def aliases(values: Mapping[str, Value]) -> Iterator[str]:
    """The other names of `aliases:` and `alias:`, NFC; a string may hold several, separated by commas."""
    for name, value in values.items():
        if name.lower() not in ("aliases", "alias"):
            continue
        for text in listed(value):
            parts = [text] if isinstance(value, list) else re.split("[,、，]", text)
            yield from (unicodedata.normalize("NFC", " ".join(part.split())) for part in parts if part.strip())


def created(values: Mapping[str, Value]) -> str:
    """When the note says it was written, as ISO 8601; "" if it does not say so in a way that is a date."""
    return _first_date(values, _CREATED)


def updated(values: Mapping[str, Value]) -> str:
    """When the note says it was last changed, as ISO 8601; "" if it does not say so in a way that is a date."""
    return _first_date(values, _UPDATED)


def _first_date(values: Mapping[str, Value], names: tuple[str, ...]) -> str:
    plain = {name.translate(_JOINED).lower(): value for name, value in values.items()}
    return next((found for name in names if name in plain and (found := _date(as_text(plain[name])))), "")


def _date(text: str) -> str:
    text = text.strip()
    match = _DATE.fullmatch(text) or _COMPACT_DATE.fullmatch(text)
    if match is None:
        return ""
    year, month, day, *clock = match.groups()
    try:
        if not clock or clock[0] is None:
            return date(int(year), int(month), int(day)).isoformat()
        hour, minute, second, fraction, zone = clock
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))
        moment = moment.replace(microsecond=int((fraction or "0").ljust(6, "0")))
        return datetime.fromisoformat(moment.isoformat() + (zone or "").upper()).isoformat()
    except ValueError:  # the 30th of February
        return ""
