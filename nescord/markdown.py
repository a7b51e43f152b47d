"""Markdown text → ParsedNote: title, tags, links and top-level blocks with their place in the text.

One pass over pulldown-cmark's events (pyromark). It is linear and does not recurse, so 5,000-deep lists and 20 MB
lines are as safe as any other note; what it does not report (link definitions) is filled in as paragraphs, so that
the blocks together hold every word of the body.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyromark
from pyromark import Options
from pyromark.event import Range

from nescord import frontmatter
from nescord.notes import Block, BlockKind, Link, LinkKind, ParsedNote

MAX_TITLE = 500
MAX_TARGET = 1_000
# A bracket costs the parser about 80 bytes of memory: beyond this many marks a "note" is a dump, kept as plain text.
MAX_MARKS = 1_000_000

_PARSER = pyromark.Markdown(
    options=Options.ENABLE_TABLES
    | Options.ENABLE_TASKLISTS
    | Options.ENABLE_WIKILINKS
    | Options.ENABLE_FOOTNOTES
    | Options.ENABLE_STRIKETHROUGH
)
_KINDS: dict[str, BlockKind] = {
    "Heading": "heading",
    "List": "list",
    "CodeBlock": "code",
    "Table": "table",
    "BlockQuote": "quote",
    "HtmlBlock": "html",
}
# What may not be in a tag, as in Obsidian, plus the punctuation that ends a Japanese phrase or a full-width word.
_NOT_TAG = (
    r"\s!-,.:-@\[-\^`{-~"  # ASCII but _ - /
    r"\x00-\x1f\x7f-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7\u2000-\u200c\u200e-\u206f\u2190-\u23ff\u2500-\u25ff"
    r"\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d\uff01-\uff0f\uff1a-\uff20\uff3b-\uff3e\uff40\uff5b-\uff64\ufffd"
)
_TAG = re.compile(rf"(?<![^\s(\[{{*_~|>\"'「『（【〈《［｛“‘、。，．・：；！？…])#([^{_NOT_TAG}]+)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_WIKI_LINK = re.compile(r"\[\[([^\[\]|#\n]+)(?:#([^\[\]|\n]*))?(?:\|([^\[\]\n]*))?\]\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?!\s)|//")


def parse(text: str, fallback_title: str) -> ParsedNote:
    """Take a note apart; `fallback_title` (the file's stem) is its title if neither front matter nor an H1 has one."""
    front = frontmatter.read(text)
    # Front matter that cannot be used stays part of the body, as a block of its own, so that no word is lost.
    kept = front.end if front.problem else 0
    body_offset = 0 if front.problem else front.end
    body = text[body_offset:]
    reader = _Reader(body, kept)
    warnings = [front.problem] if front.problem else list(front.warnings)
    if _is_dump(body):
        warnings.append(f"more than {MAX_MARKS:,} Markdown marks: kept as plain text, without headings, tags and links")
    else:
        reader.read()
    reader.fill_gap(len(body))
    values = front.values
    titles = (frontmatter.as_text(values.get("title")), *(b.heading for b in reader.blocks if b.level == 1))
    return ParsedNote(
        title=next((title for one in titles if (title := _title(one))), "") or _title(fallback_title),
        body=body,
        body_offset=body_offset,
        blocks=tuple(reader.blocks),
        front_matter=values,
        tags=tuple(dict.fromkeys((*frontmatter.tags(values), *reader.tags))),
        aliases=tuple(dict.fromkeys(frontmatter.aliases(values))),
        links=tuple(dict.fromkeys((*front_links(values), *reader.links))),
        created=frontmatter.created(values),
        updated=frontmatter.updated(values),
        warnings=tuple(warnings),
    )


def _title(text: str) -> str:
    return " ".join(text.split())[:MAX_TITLE].rstrip()


def _is_dump(body: str) -> bool:
    return len(body) > MAX_MARKS and sum(body.count(mark) for mark in "[]*_`<&\\~!|\n") > MAX_MARKS


# The text inside an open heading or link, which of them it is, and the details of its event.
Span = tuple[list[str], str, Mapping[str, Any]]


class _Reader:
    """What one pass over the events has found so far."""

    __slots__ = ("at_byte", "at_char", "blocks", "covered", "data", "links", "same", "tags", "text")

    def __init__(self, body: str, start: int) -> None:
        self.text = body
        self.data = (body[start:] if start else body).encode()
        self.same = len(self.data) == len(body)  # ASCII: bytes are characters
        self.at_byte = 0
        self.at_char = start
        self.covered = start
        self.blocks: list[Block] = [Block("code", 0, start)] if start else []
        self.tags: list[str] = []
        self.links: list[Link] = []

    def read(self) -> None:
        depth = 0
        begin = 0
        level = 0
        code = False
        kind: BlockKind = "paragraph"
        heading = ""
        # Headings and links that are open: the text inside, and what a link's event says of it.
        spans: list[Span] = []
        # 200 events a note: this loop is most of what parsing costs, so it asks for the commonest things first.
        for event, where in _PARSER.events_with_range(self.text[self.covered :], merge_text=True):
            if isinstance(event, str):
                if event == "Rule":
                    if not depth:
                        self.add("rule", where["start"], where["end"])
                elif spans:
                    spans[-1][0].append(" ")
                continue
            ((what, value),) = event.items()
            if what == "Text":
                if spans:
                    spans[-1][0].append(str(value))
                elif not code and "#" in str(value):
                    self.find_tags(where)
            elif what == "Start":
                name = value
                if isinstance(value, dict):
                    ((name, details),) = value.items()
                    if name == "Link" or name == "Image":
                        spans.append(([], name, details))
                    elif name == "Heading":
                        spans.append(([], "Heading", {}))
                        level = level if depth else int(details["level"][1])  # H2
                    elif name == "CodeBlock":
                        code = True
                if not depth:
                    kind, begin = _KINDS.get(str(name), "paragraph"), where["start"]
                depth += 1
            elif what == "End":
                depth -= 1
                code = False
                if spans and (value == "Link" or value == "Image" or isinstance(value, dict)):
                    heading = self.close(spans)
                if not depth:
                    self.add(kind, begin, where["end"], level, heading if level else "")
                    level = 0
            elif what == "Code" and spans:
                spans[-1][0].append(str(value))

    def close(self, spans: list[Span]) -> str:
        """End the innermost heading or link; its text belongs to the one around it too."""
        pieces, name, details = spans.pop()
        inside = _title("".join(pieces))
        if name != "Heading" and (link := _link("embed" if name == "Image" else "markdown", details, inside)):
            self.links.append(link)
        if spans:
            spans[-1][0].append(inside)
        return inside

    def add(self, kind: BlockKind, start_byte: int, end_byte: int, level: int = 0, heading: str = "") -> None:
        start = max(self.character(start_byte), self.covered)
        end = self.character(end_byte)
        if start > self.covered and not self.text[self.covered : start].isspace():
            self.fill_gap(start)
        if end > start:
            self.blocks.append(Block(kind, start, end, level, heading))
            self.covered = end

    def fill_gap(self, end: int) -> None:
        """What the parser has no event for, such as link definitions, is a paragraph."""
        gap = self.text[self.covered : end]
        if inner := gap.strip():
            start = self.covered + len(gap) - len(gap.lstrip())
            self.blocks.append(Block("paragraph", start, start + len(inner)))
        self.covered = max(self.covered, end)

    def character(self, byte: int) -> int:
        """The character at a byte; bytes come in rising order, so every one is decoded once."""
        if self.same:
            return byte
        if byte > self.at_byte:
            self.at_char += len(self.data[self.at_byte : byte].decode())
            self.at_byte = byte
        return self.at_char

    def find_tags(self, where: Range) -> None:
        """Looks at the source, where `\\#` and `&#35;` are not yet `#`, with the character before it."""
        start = where["start"]
        before = self.data[max(0, start - 4) : start].decode(errors="ignore")[-1:]
        source = before + self.data[start : where["end"]].decode()
        if "://" in source:
            source = _URL.sub("/", source)
        for match in _TAG.finditer(source):
            tag = frontmatter.fold_tag(match[1])
            if tag and len(tag) <= frontmatter.MAX_TAG and not tag.isdecimal() and any(map(_is_sign, tag)):
                self.tags.append(tag)


def _is_sign(character: str) -> bool:
    """A letter, digit, mark or emoji: something to call a tag by, unlike - _ and /."""
    return character not in "-_/"


class Target(NamedTuple):
    """A link to a note or file of ours, as `Link` has it, and the bytes of the text that it stands in."""

    kind: LinkKind
    target: str
    is_wiki: bool
    start: int
    end: int


def link_targets(body: str) -> Iterator[Target]:
    """The links in a text, in order, one in the text of another after that one. `start` and `end` count in UTF-8."""
    if _is_dump(body):
        return
    for event, where in _PARSER.events_with_range(body, merge_text=True):
        opened = event.get("Start") if isinstance(event, dict) else None
        if not isinstance(opened, dict):
            continue
        ((name, details),) = opened.items()
        if name in ("Link", "Image") and (link := _link("embed" if name == "Image" else "markdown", details, "")):
            is_wiki = isinstance(details["link_type"], dict)
            yield Target(link.kind, link.target, is_wiki, where["start"], where["end"])


def _link(kind: LinkKind, details: Mapping[str, Any], inside: str) -> Link | None:
    """The link if it leads to a note or file of ours, not to the web or a place in the same note."""
    link_type = details["link_type"]
    destination = str(details["dest_url"])
    if isinstance(link_type, dict):
        if "://" in destination:
            return None
        labelled = bool(link_type["WikiLink"]["has_pothole"])
        if labelled:
            destination = destination.rstrip("\\")  # [[A\|b]]: how a table needs it written
        return _internal("wiki" if kind == "markdown" else kind, destination, inside if labelled else "")
    if link_type in ("Autolink", "Email") or _SCHEME.match(destination):
        return None
    return _internal(kind, destination, inside, encoded="%" in destination)


def _internal(kind: LinkKind, destination: str, text: str, *, encoded: bool = False) -> Link | None:
    target, _, anchor = destination.partition("#")
    if encoded:
        target, anchor = _decoded(target), _decoded(anchor)
    target = _plain(target)
    return Link(kind, target, _plain(anchor), text) if 0 < len(target) <= MAX_TARGET else None


def _decoded(part: str) -> str:
    decoded = unquote(part)
    return part if "\ufffd" in decoded else decoded  # percent signs that were no UTF-8 are left as they are


def _plain(name: str) -> str:
    name = " ".join(name.split())
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def front_links(value: frontmatter.Value | object) -> Iterator[Link]:
    """[[links]] in front matter values, which Obsidian follows like those in the text."""
    if isinstance(value, str):
        if "[[" in value:
            for target, anchor, text in _WIKI_LINK.findall(value):
                link = _internal("wiki", f"{target}#{anchor}", _title(text))
                if link is not None:
                    yield link
    elif isinstance(value, list):
        for one in value:
            yield from front_links(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from front_links(one)
