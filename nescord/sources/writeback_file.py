"""A note of ours as a file of a vault, and back.

What is written is read as it was meant: front matter by a YAML library, the note's text below it byte for byte. The
same note gives the same bytes. Of a file that somebody has changed, its text, title, tags, aliases, creation time and
whatever else its front matter says become the note's; id, author and origin are what they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import yaml

from nescord import frontmatter
from nescord.catalog.notes import DraftNote
from nescord.decoding import DecodeError, decode
from nescord.drafting import Drafting
from nescord.markdown import parse
from nescord.notes import Note
from nescord.sources.vault import UnreadableError
from nescord.times import utc_text

# Keys that tell what the columns of a note hold. Any other key is the note's own.
_OURS = ("id", "title", "tags", "tag", "aliases", "alias", "created", "updated", "origin", "author")


@dataclass(frozen=True, slots=True)
class NoteFile:
    """The bytes of a file, and `note_hash` of what the note said."""

    data: bytes
    content_hash: bytes
    note_hash: bytes


def written(note: Note, origin: str) -> NoteFile:
    """The file of a note."""
    in_text = set(parse(f"\n{note.body}", "").tags)
    front: dict[str, Any] = {"id": note.id, "title": note.title}
    if tags := [tag for tag in sorted(note.tags) if tag not in in_text]:
        front["tags"] = tags
    if note.aliases:
        front["aliases"] = list(note.aliases)
    front |= {"created": note.created_at, "updated": note.updated_at}
    front |= {name: value for name, value in (("origin", origin), ("author", note.author)) if value}
    front |= _own(note.front_matter)
    # The pure one: libyaml writes an emoji as an escape in some versions.
    text = yaml.dump(front, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=2**31)
    end = "" if note.body.endswith("\n") or not note.body else "\n"
    data = f"---\n{text}---\n{note.body}{end}".encode("utf-8", "replace")
    return NoteFile(data, digest(data), note_hash(note))


class _Dumper(yaml.SafeDumper):
    """The same list twice is written twice: nobody who reads notes wants anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def note_hash(note: Note | DraftNote) -> bytes:
    """What tells whether a note says the same. When it was changed does not count, nor how its text ends."""
    aliases = json.loads(note.aliases) if isinstance(note, DraftNote) else list(note.aliases)
    said = [note.title, note.body.rstrip("\r\n"), sorted(note.tags), aliases, own_front_matter(note)]
    return digest(json.dumps(said, ensure_ascii=True, sort_keys=True).encode())


def digest(data: bytes) -> bytes:
    """As `vault.read` has it."""
    return hashlib.blake2b(data, digest_size=20).digest()


def blob_id(data: bytes, like: str) -> str:
    """What git calls a file of that content, in a repository that has the id `like`."""
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    made.update(b"blob %d\0" % len(data))
    made.update(data)
    return made.hexdigest()


def claimed_id(data: bytes) -> str:
    """Which note a file says it is; "" where it says nothing. Nobody has to believe it."""
    return _claimed(data, "id")


def claimed_time(data: bytes) -> str:
    """When its note was changed last, as a file says."""
    return _claimed(data, "updated")


def _claimed(data: bytes, name: str) -> str:
    try:
        return frontmatter.as_text(frontmatter.read(decode(data).text).values.get(name))
    except DecodeError:
        return ""


def edited(drafting: Drafting, note: Note, data: bytes, *, source: int, path: str, when: str) -> DraftNote:
    """The note with what its file says now.

    Raises:
        DecodeError: the bytes are not text. UnreadableError: its front matter cannot be read.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0]
    parsed = parse(decode(data).text, "")
    front = frontmatter.read(decode(data).text)
    if front.problem:
        raise UnreadableError(f"{front.problem}; the note keeps what it said before")
    values = parsed.front_matter
    named = " ".join(frontmatter.as_text(values.get("title")).split())
    created = _moment(drafting, frontmatter.created({"created": values.get("created")}))
    before = replace(
        note,
        path=path,
        front_matter=_own(values),
        aliases=parsed.aliases,
        created_at=created or note.created_at,
    )
    draft = drafting.edited(
        before,
        source=source,
        text=parsed.body,
        # A title that the note had from its text follows the text, unless somebody has typed another one.
        title=None if named == note.title else named,
        tags=list(frontmatter.tags(values)),
        when=when,
    )
    return draft if draft.title else replace(draft, title=stem)


def own_front_matter(note: Note | DraftNote) -> dict[str, Any]:
    """What the front matter of a note says beyond that which is told of every note."""
    return _own(json.loads(note.front_matter) if isinstance(note, DraftNote) else note.front_matter)


def _own(front_matter: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in front_matter.items() if name.lower() not in _OURS}


def _moment(drafting: Drafting, iso: str) -> str:
    if not iso:
        return ""
    moment = datetime.fromisoformat(iso)
    return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=drafting.timezone))
