"""What a source of notes is that is no folder: an export, or the database of another program.

It is walked and read, never written: `scan` says what there is and whether it has changed, `read` is asked only for
what has. `nescord.importing` takes it in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from nescord.notes import Attachment, NoteKind
from nescord.sources.vault import UnreadableError

__all__ = ["Entry", "FormerText", "NoteSource", "SourceNote", "UnreadableError", "digest_of"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A note of a source before it is read. `path` is its identity there: NFC, ends with `.md`; `digest` is another one
    as soon as its content is."""

    path: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class FormerText:
    """What a note said until `replaced_at`."""

    title: str
    text: str
    tags: tuple[str, ...] = ()
    replaced_at: str = ""


@dataclass(frozen=True, slots=True)
class SourceNote:
    """A note as its source has it. `text` is Markdown and may begin with front matter.

    "" means: the title is that of the text, there is no author or origin (a jump URL), the dates are those of the front
    matter or now, the id is a new one, space and kind are those of the whole import. `history` is what it said before,
    the oldest first. `front_matter`, unless it is None, is what stands in no text of it any more, and `text` has none
    then. `owner` is whose it is, where that is not said of the whole import.
    """

    text: str
    title: str = ""
    tags: tuple[str, ...] = ()
    author: str = ""
    origin: str = ""
    created_at: str = ""
    updated_at: str = ""
    note_id: str = ""
    space: str = ""
    kind: NoteKind | Literal[""] = ""
    owner: Literal["source", "us", ""] = ""
    aliases: tuple[str, ...] = ()
    front_matter: Mapping[str, Any] | None = None
    history: tuple[FormerText, ...] = ()
    attachments: tuple[Attachment, ...] = field(default=(), repr=False)


class NoteSource(Protocol):
    """Where notes come from. `name` is what `nescord source list` shows; `root` is by what it is known again, such as
    `discord:<guild>`: never the path of a folder."""

    @property
    def name(self) -> str: ...

    @property
    def root(self) -> str: ...

    def scan(self) -> Iterator[Entry]:
        """What there is, in any order; UsageError where the whole cannot be read."""
        ...

    def read(self, entry: Entry) -> SourceNote:
        """The note of an entry that `scan` has just given; UnreadableError where it is broken."""
        ...


def digest_of(*parts: bytes | str) -> bytes:
    """A digest of all that a note is made of, in this order: blake2b of 20 bytes, as of files."""
    whole = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.digest()
