"""The values that flow through: what is parsed, stored, found and reported.

Plain frozen dataclasses without behaviour beyond what they say about themselves, so that every room can speak of a
note, a chunk or a hit without knowing how another room works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nescord.asked import Asked
    from nescord.costs import EmbeddingCost

BlockKind = Literal["heading", "paragraph", "list", "code", "table", "quote", "html", "rule"]
LinkKind = Literal["wiki", "markdown", "embed"]
NoteKind = Literal["fleeting", "permanent", "link"]


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level block of a note: characters `start:end` of its body. `level` is 1..6 for a heading, else 0."""

    kind: BlockKind
    start: int
    end: int
    level: int = 0
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link as written: `[[target#anchor|text]]`, `[text](target#anchor)` or `![[target]]`."""

    kind: LinkKind
    target: str
    anchor: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class ParsedNote:
    """A Markdown text taken apart.

    `body` is the text after the front matter; `body_offset` is where it begins in the decoded source, in characters,
    so `source[body_offset + start : body_offset + end] == body[start:end]`. Dates are ISO 8601 text or "".
    `warnings` are things a person should mend although the note was stored.
    """

    title: str
    body: str
    body_offset: int
    blocks: tuple[Block, ...]
    front_matter: Mapping[str, Any]
    tags: tuple[str, ...]
    aliases: tuple[str, ...]
    links: tuple[Link, ...]
    created: str = ""
    updated: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Characters `start:end` of a note's body: what is found and, later, embedded.

    `headings` is the path of headings at its first character, outermost first, joined with " > ".
    """

    ordinal: int
    headings: str
    text: str
    start: int
    end: int
    text_hash: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """Which spaces a caller may see. `spaces=None` is the owner's view: every space."""

    spaces: frozenset[str] | None = None

    def allows(self, space: str) -> bool:
        return self.spaces is None or space in self.spaces


@dataclass(frozen=True, slots=True)
class Note:
    """A stored note. Times are ISO 8601 in UTC; `trashed_at` is "" for a living note."""

    id: str
    source: str
    path: str
    title: str
    body: str
    front_matter: Mapping[str, Any]
    lang: str
    author: str
    space: str
    kind: NoteKind
    owner: Literal["source", "us"]
    created_at: str
    updated_at: str
    trashed_at: str
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: tuple[ResolvedLink, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedLink:
    """A link of a stored note; `note_id` is "" while its target does not exist (a dangling link)."""

    target: str
    anchor: str
    text: str
    kind: LinkKind
    note_id: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to be kept with a note. `size` is in bytes; `content` is None where it could not be had, and `reason` says
    why in words for a person."""

    name: str
    media_type: str
    content: bytes | None
    size: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """A file of a stored note, its `ordinal` counted from 0. Where its bytes are not stored, `reason` says why."""

    ordinal: int
    name: str
    media_type: str
    size: int
    is_stored: bool
    reason: str


@dataclass(frozen=True, slots=True)
class NoteVersion:
    """What a note said until `replaced_at`. `number` tells it from all other versions, of whatever note."""

    number: int
    replaced_at: str
    title: str
    body: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteTitle:
    """What a list shows of a note."""

    note_id: str
    title: str
    path: str
    updated_at: str
    space: str
    owner: str


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One note that answers a query, with the best of its chunks.

    `snippet` marks matched words with `‹` and `›`-free offsets: `marks` holds (start, end) pairs into `snippet`,
    in characters. `score` is higher for better and comparable within one answer only; `keyword_score` (bm25) and
    `vector_score` (cosine) are its parts. A `weak` hit is the nearest there is and yet hardly an answer. `link` opens
    the note.
    """

    note_id: str
    chunk_id: int
    source: str
    path: str
    title: str
    heading: str
    snippet: str
    marks: tuple[tuple[int, int], ...]
    score: float
    link: str
    lang: str
    created_at: str
    updated_at: str
    keyword_score: float = 0.0
    vector_score: float = 0.0
    weak: bool = False


class SearchHits(list[SearchHit]):
    """Hits, best first, with how they were found: `mode`, `index_kind` ("": no vectors were asked), and in `degraded`
    what could not be asked and why. `asked` is the query as vectors, for who compares more with it."""

    def __init__(
        self,
        hits: Iterable[SearchHit] = (),
        *,
        mode: str = "keyword",
        index_kind: str = "",
        degraded: Sequence[str] = (),
        asked: Asked | None = None,
    ) -> None:
        super().__init__(hits)
        self.asked = asked
        self.mode = mode
        self.index_kind = index_kind
        self.degraded = tuple(degraded)


@dataclass(frozen=True, slots=True)
class TrashedNote:
    """A note in the trash, which `nescord note restore` brings back."""

    note_id: str
    source: str
    path: str
    title: str
    trashed_at: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that is not as it should be: `stored` tells whether its text is searchable all the same."""

    source: str
    path: str
    reason: str
    stored: bool
    first_seen: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a report: what happened to which path (`was` is the old path of a rename)."""

    what: Literal["added", "changed", "renamed", "deleted", "revived", "failed", "withheld"]
    path: str
    was: str = ""
    reason: str = ""


@dataclass(slots=True)
class WritebackReport:
    """What was written back to the vault in git: notes whose files were `written` and `removed`, in how many `commits`.

    `behind` of them wait, as an ingest has to look at their files first. `paths` are those of the files.
    """

    written: int = 0
    removed: int = 0
    behind: int = 0
    commits: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    paths: list[str] = field(default_factory=list)

    @property
    def is_to_be_taken_in(self) -> bool:
        """Whether an ingest has something to see now."""
        return bool(self.commits or self.behind)


@dataclass(slots=True)
class IngestReport:
    """What one ingest of one vault did. Counts are notes; `seconds` is wall time.

    `embedded` texts got a vector, `pending` chunks still wait for one, `indexed` rows were added to Chroma; `degraded`
    says what could not be done and why. `cost` is what embedding will cost, in a dry run, with a model elsewhere.
    """

    source: str = ""
    added: int = 0
    changed: int = 0
    renamed: int = 0
    deleted: int = 0
    revived: int = 0
    unchanged: int = 0
    failed: int = 0
    warned: int = 0
    withheld: int = 0
    chunks_added: int = 0
    chunks_deleted: int = 0
    embedded: int = 0
    refused: int = 0
    pending: int = 0
    indexed: int = 0
    files_read: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    interrupted: bool = False
    cost: EmbeddingCost | None = None
    messages: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
