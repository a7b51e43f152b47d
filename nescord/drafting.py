"""From the bytes of a file to a note ready to be stored: decode, parse, cut into chunks. Pure: no disk, no database."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from nescord import own_key
from nescord.catalog.notes import ChunkDiff, DraftNote, IndexedChunk, StoredChunk
from nescord.chunking import chunk
from nescord.decoding import decode
from nescord.frontmatter import created as front_created
from nescord.frontmatter import tags as front_tags
from nescord.frontmatter import updated as front_updated
from nescord.language import detect
from nescord.markdown import MAX_TITLE, front_links, parse
from nescord.notes import Chunk, Link, Note, ParsedNote
from nescord.settings import Settings
from nescord.sources.entries import SourceNote
from nescord.sources.vault import Content, FoundFile
from nescord.times import utc_text

# Part of a source's `shape`: a higher number makes the next ingest cut every note anew (equal text keeps its id).
PARSER_VERSION = 1

_PERSON = re.compile(r"(?:user|guild):[0-9]+")
_BARE_URL = re.compile(r"\s*https?://\S+\s*")


@dataclass(frozen=True, slots=True)
class Drafting:
    """How notes are drafted: the settings that decide what a note's rows look like."""

    target: int
    maximum: int
    max_bytes: int
    timezone: tzinfo

    @classmethod
    def from_settings(cls, settings: Settings) -> Drafting:
        return cls(settings.chunk_target, settings.chunk_max, settings.max_note_bytes, ZoneInfo(settings.timezone))

    @property
    def shape(self) -> str:
        """Two runs with the same shape cut the same text into the same chunks."""
        return f"{PARSER_VERSION}/{self.target}/{self.maximum}"

    def vault_note(
        self, file: FoundFile, content: Content, *, source: int, space: str, created_before: str = ""
    ) -> tuple[DraftNote, tuple[str, ...]]:
        """The draft of a vault file and the warnings about it.

        `created_before` is the creation time that is already known: it stays unless the front matter names another.

        Raises:
            DecodeError: the bytes are not text.
        """
        text = decode(content.data).text
        stem = posixpath.splitext(posixpath.basename(file.path))[0]
        parsed = parse(text, stem)
        claims = self.claims(parsed)
        modified = datetime.fromtimestamp(content.fingerprint[1] / 1e9, UTC)
        raw = file.raw.encode("utf-8", "surrogateescape")
        draft = self._draft(
            parsed,
            source=source,
            path=file.path,
            raw_path=None if raw == file.path.encode("utf-8", "surrogatepass") else raw,
            content=content,
            space=space,
            kind="permanent",
            owner="source",
            author=claims.author or "",
            origin="",
            created_at=claims.created or created_before or utc_text(modified),
            updated_at=claims.updated or utc_text(modified),
        )
        return draft, parsed.warnings

    def claims(self, parsed: ParsedNote) -> own_key.Said:
        """Author and dates (UTC) that the front matter of a file names; ours, of an export, before its own."""
        ours = own_key.said(parsed.front_matter, parsed.body)
        return own_key.Said(
            _text(parsed.front_matter.get("author")) if ours.author is None else ours.author,
            self._moment(ours.created) or self._utc(parsed.created),
            self._moment(ours.updated) or self._utc(parsed.updated),
        )

    def capture(
        self,
        text: str,
        *,
        source: int,
        path: str,
        content: Content,
        space: str,
        author: str,
        origin: str,
        when: str,
        title: str = "",
        tags: Sequence[str] = (),
    ) -> DraftNote:
        """The draft of a note that was written through us. `title` wins over what the text says; `tags` come on top."""
        parsed = parse(text, "")
        # Below the front matter, whose first line says nothing that a person would call the note by.
        first = given_title(_first_line(parsed.body) or _first_line(text))
        return self._draft(
            replace(
                parsed,
                title=given_title(title) or parsed.title or first,
                tags=tuple(dict.fromkeys((*given_tags(tags), *parsed.tags))),
            ),
            source=source,
            path=path,
            raw_path=None,
            content=content,
            space=space,
            kind=_kind(text),
            owner="us",
            author=author,
            origin=origin,
            created_at=when,
            updated_at=when,
        )

    def imported(
        self,
        note: SourceNote,
        *,
        source: int,
        path: str,
        content: Content,
        space: str,
        owner: Literal["source", "us"],
        created_before: str = "",
    ) -> tuple[DraftNote, tuple[str, ...]]:
        """The draft of a note of an export or another program, and the warnings about it. What `note` says of it wins
        over its text; `created_before` is the creation time that is already known."""
        text = content.data.decode("utf-8")
        # Below an empty front matter a body stays what it is, whatever it begins with.
        parsed = parse(text if note.front_matter is None else f"---\n---\n{text}", "")
        author = note.author
        if note.front_matter is not None:
            values = note.front_matter
            parsed = replace(parsed, body_offset=0, front_matter=values)
            parsed = replace(parsed, links=tuple(dict.fromkeys((*front_links(dict(values)), *parsed.links))))
        else:
            values = parsed.front_matter
            author = author or (_text(values.get("author")) if owner == "source" else "")
        first = given_title(_first_line(parsed.body) or _first_line(text))
        created = self._moment(note.created_at) or self._moment(front_created(values)) or created_before
        updated = self._moment(note.updated_at) or self._moment(front_updated(values)) or created
        now = utc_text(datetime.now(UTC))
        draft = self._draft(
            replace(
                parsed,
                title=given_title(note.title) or parsed.title or first or _without_suffix(posixpath.basename(path)),
                tags=tuple(dict.fromkeys((*given_tags(note.tags), *parsed.tags))),
                aliases=tuple(dict.fromkeys((*note.aliases, *parsed.aliases))),
            ),
            source=source,
            path=path,
            raw_path=None,
            content=content,
            space=space,
            kind=note.kind or ("permanent" if owner == "source" else _kind(text)),
            owner=owner,
            author=author,
            origin=note.origin,
            created_at=created or now,
            updated_at=updated or now,
        )
        return draft, parsed.warnings

    def edited(
        self, note: Note, *, source: int, text: str | None, title: str | None, tags: Sequence[str] | None, when: str
    ) -> DraftNote:
        """A note of ours with another text below its front matter, title or tags; None: as it is.

        A title that came from the text follows it. Tags in the text count whatever is given.
        """
        before = _parse_body(note.body)
        parsed = before if text is None else _parse_body(text)
        kept_title = "" if note.title == before.title else note.title
        if tags is None:
            in_front = set(front_tags(note.front_matter))
            own = [tag for tag in note.tags if tag in in_front or tag not in before.tags]
        else:
            own = given_tags(tags)
        return self._draft(
            replace(
                parsed,
                title=(kept_title if title is None else given_title(title)) or parsed.title,
                front_matter=note.front_matter,
                tags=tuple(dict.fromkeys((*own, *parsed.tags))),
                aliases=note.aliases,
                links=tuple(dict.fromkeys((*front_links(dict(note.front_matter)), *parsed.links))),
            ),
            source=source,
            path=note.path,
            raw_path=None,
            content=content_of(parsed.body),
            space=note.space,
            kind=_kind(parsed.body) if note.kind != "permanent" else note.kind,
            owner="us",
            author=note.author,
            origin="",
            created_at=note.created_at,
            updated_at=when,
        )

    def restored(self, note: Note, *, source: int, path: str) -> DraftNote:
        """A trashed note as one of ours: same text and dates, no file behind it."""
        parsed = _parse_body(note.body)
        # The front matter of a file may claim to be of somebody: a note of ours is theirs who wrote it.
        is_claimed = note.owner == "source" and _PERSON.fullmatch(note.author)
        draft = self._draft(
            parsed,
            source=source,
            path=path,
            raw_path=None,
            content=content_of(parsed.body),
            space=note.space,
            kind=note.kind,
            owner="us",
            author="" if is_claimed else note.author,
            origin="",
            created_at=note.created_at,
            updated_at=note.updated_at,
        )
        return replace(
            draft,
            title=note.title,
            front_matter=json.dumps(note.front_matter, ensure_ascii=False),
            aliases=json.dumps(note.aliases, ensure_ascii=False),
            tags=note.tags,
            names=note_names(path, note.aliases),
        )

    def _draft(
        self,
        parsed: ParsedNote,
        *,
        source: int,
        path: str,
        raw_path: bytes | None,
        content: Content,
        space: str,
        kind: Literal["fleeting", "permanent", "link"],
        owner: Literal["source", "us"],
        author: str,
        origin: str,
        created_at: str,
        updated_at: str,
    ) -> DraftNote:
        return DraftNote(
            source=source,
            path=path,
            raw_path=raw_path,
            fingerprint=content.fingerprint,
            content_hash=content.digest,
            title=parsed.title,
            lang=detect(parsed.body),
            author=author,
            space=space,
            kind=kind,
            owner=owner,
            origin=origin,
            created_at=created_at,
            updated_at=updated_at,
            body=parsed.body,
            body_offset=parsed.body_offset,
            front_matter=json.dumps(parsed.front_matter, ensure_ascii=False) if parsed.front_matter else "{}",
            aliases=json.dumps(parsed.aliases, ensure_ascii=False) if parsed.aliases else "[]",
            tags=parsed.tags,
            links=[(link.kind, link.target, link.anchor, link.text, link_name(link, path)) for link in parsed.links],
            names=note_names(path, parsed.aliases),
            chunks=chunk(parsed, target=self.target, maximum=self.maximum),
        )

    def _moment(self, iso: str) -> str:
        """A moment that another program has written; "" where it is none."""
        try:
            return self._utc(iso)
        except ValueError:
            return ""

    def _utc(self, iso: str) -> str:
        if not iso:
            return ""
        moment = datetime.fromisoformat(iso)
        return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=self.timezone))


def content_of(text: str) -> Content:
    """A text that is in no file, as if it had been read from one."""
    data = text.encode("utf-8", "surrogatepass")
    return Content(data, (len(data), 0, 0, 0), hashlib.blake2b(data, digest_size=20).digest())


def given_title(title: str) -> str:
    """A title that a person has typed, in the form of those that texts have."""
    return " ".join(title.split())[:MAX_TITLE].rstrip()


def given_tags(tags: Sequence[str]) -> list[str]:
    """Tags that a person has typed, in the form in which tags are stored; a comma separates some."""
    return list(dict.fromkeys(front_tags({"tags": list(tags)})))


def note_names(path: str, aliases: Sequence[str]) -> list[str]:
    """The names by which links may call the note at `path`: each tail of its path and its aliases, case folded."""
    parts = _without_suffix(path).casefold().split("/")
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return list(dict.fromkeys([*tails, *(unicodedata.normalize("NFC", alias).casefold() for alias in aliases)]))


def link_name(link: Link, path: str) -> str:
    """What a link calls its target, in the form of `note_names`. Markdown links are relative to their note's folder."""
    target = link.target
    if link.kind == "markdown" or target.startswith(("./", "../")):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return unicodedata.normalize("NFC", _without_suffix(target).strip("/")).casefold()


def diff_chunks(old: Sequence[StoredChunk], draft: DraftNote) -> ChunkDiff:
    """Pair chunks of equal text and language group in order of appearance; what is left over is gone or new."""
    waiting: dict[tuple[bytes, str], list[StoredChunk]] = {}
    for stored in reversed(old):
        waiting.setdefault((stored.text_hash, stored.language_group), []).append(stored)
    kept: list[tuple[StoredChunk, Chunk]] = []
    fresh: list[IndexedChunk] = []
    for candidate in draft.chunks:
        same = waiting.get((candidate.text_hash, draft.language_group))
        if same:
            kept.append((same.pop(), candidate))
        else:
            fresh.append(IndexedChunk.of(candidate))
    return ChunkDiff(kept, fresh, [stored.id for left in waiting.values() for stored in left])


def _without_suffix(path: str) -> str:
    for suffix in (".md", ".markdown"):
        if path[-len(suffix) :].lower() == suffix:
            return path[: -len(suffix)]
    return path


def _parse_body(body: str) -> ParsedNote:
    """What stands below a front matter. A body that begins as one does is none, and must not be taken for it."""
    parsed = parse(body, _first_line(body))
    return parsed if not parsed.body_offset else parse(f"\n{body}", _first_line(body))


def _kind(text: str) -> Literal["fleeting", "link"]:
    return "link" if _BARE_URL.fullmatch(text) else "fleeting"


def _first_line(text: str) -> str:
    return next(_lines(text), "")[:80]


def _lines(text: str) -> Iterator[str]:
    return (stripped for line in text.splitlines() if (stripped := line.strip("#-*> \t")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
