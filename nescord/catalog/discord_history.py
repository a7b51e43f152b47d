"""SQL of Discord's history while it is imported: the messages of an export beside those that are stored.

They are laid out in a database of their own, which SQLite keeps in a temporary file without a name: a history of any
length takes no more memory than its cache, and nothing is left behind, however a run ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import apsw

from nescord.errors import DiskError
from nescord.sources.discord_messages import DiscordChannel, Piece, with_reply

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8192;
CREATE TABLE channel (id INTEGER PRIMARY KEY, described TEXT NOT NULL, is_last_word INTEGER NOT NULL);
CREATE TABLE message (
    channel INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, edited INTEGER NOT NULL, head TEXT NOT NULL,
    tail TEXT NOT NULL, author TEXT NOT NULL, author_id TEXT NOT NULL, reply_to INTEGER NOT NULL,
    PRIMARY KEY (channel, id)
) WITHOUT ROWID;
CREATE TABLE anchor (channel INTEGER NOT NULL, id INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (channel, id));
CREATE TABLE planned (
    path TEXT PRIMARY KEY, channel INTEGER NOT NULL, first_at INTEGER NOT NULL, first_id INTEGER NOT NULL,
    last_at INTEGER NOT NULL, last_id INTEGER NOT NULL, digest BLOB NOT NULL, is_stored INTEGER NOT NULL
);
"""
_COLUMNS = "channel, id, at, edited, head, tail, author, author_id, reply_to"
_SET = ", ".join(f"{name} = excluded.{name}" for name in ("at", "edited", "head", "tail", "reply_to"))
# The later edit counts, in whatever order exports come. A data package tells of no edits: what it says counts.
_ADD = (
    f"INSERT INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_SET} "
    "WHERE excluded.edited > edited OR (?10 AND excluded.tail <> tail)"
)
# What is stored comes last and stays as it is, whatever people are called by now, unless it was edited since.
_ADD_STORED = (
    f"INSERT INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_SET} "
    "WHERE (NOT ?10 AND excluded.edited >= edited) OR excluded.tail = tail"
)


class Planned(NamedTuple):
    """A note to be: the messages of a channel from the first to the last."""

    path: str
    channel: int
    first_at: int
    first_id: int
    last_at: int
    last_id: int
    digest: bytes
    is_stored: bool


@dataclass(frozen=True, slots=True)
class SpooledMessage:
    """What grouping and writing need of a message. `path` is that of the stored note that begins with it ("": none)."""

    id: int
    at: int
    edited: int
    head: str
    tail: str
    author_id: str
    path: str

    @property
    def text(self) -> str:
        return f"{self.head}\n{self.tail}" if self.tail else self.head

    @property
    def size(self) -> int:
        return len(self.head) + len(self.tail) + 1

    @property
    def begins(self) -> bool:
        return bool(self.path)


class Spool:
    """The messages of one import; a context manager."""

    def __init__(self) -> None:
        self._db = apsw.Connection("")
        self._db.execute(_SCHEMA).fetchall()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """One transaction. There is no way back from an error, and no use for one: all of this is thrown away then."""
        try:
            self._db.execute("BEGIN")
            yield
            self._db.execute("COMMIT")
        except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
            raise DiskError(
                "the messages of the import find no room in the folder for temporary files: make some, or name another "
                "folder (SQLITE_TMPDIR)"
            ) from error

    def add_channel(self, channel: DiscordChannel, *, is_last_word: bool) -> None:
        """Remember a channel. `is_last_word`: what is said of its messages counts, though it tells of no edits."""
        self._db.execute(
            "INSERT OR REPLACE INTO channel VALUES (?, ?, ?)",
            (channel.id, json.dumps(asdict(channel), ensure_ascii=False), is_last_word),
        )

    def add(self, channel: int, pieces: Iterable[Piece], *, is_last_word: bool) -> int:
        """Add messages; of one that is there the later edit stays. How many there were."""
        count = 0

        def rows() -> Iterator[tuple[object, ...]]:
            nonlocal count
            for one in pieces:
                count += 1
                yield (*_row(channel, one), is_last_word)

        with self._at_once():
            self._db.executemany(_ADD, rows())
        return count

    def channels(self) -> list[DiscordChannel]:
        """All channels, in the order of their making."""
        rows = self._db.execute("SELECT described FROM channel ORDER BY id")
        return [DiscordChannel(**json.loads(str(row[0]))) for row in rows]

    def leave_out(self, messages: Iterable[int], people: Mapping[int, int]) -> int:
        """Drop messages by their ids, and of people (by theirs) what they said before a moment; how many there were."""
        before = self._db.total_changes()
        with self._at_once():
            self._db.executemany("DELETE FROM message WHERE id = ?", ((number,) for number in messages))
            self._db.executemany(
                "DELETE FROM message WHERE author_id = ? AND at < ?",
                ((str(person), moment) for person, moment in people.items()),
            )
        return self._db.total_changes() - before

    def add_stored(self, channel: int, path: str, pieces: Iterable[Piece]) -> None:
        """Add the messages of a stored note, which begins with the first of them now and for ever."""
        is_last_word: int = self._db.execute("SELECT is_last_word FROM channel WHERE id = ?", (channel,)).get
        first = True
        with self._at_once():
            for one in pieces:
                if first:
                    self._db.execute("INSERT OR REPLACE INTO anchor VALUES (?, ?, ?)", (channel, one.id, path))
                    first = False
                self._db.execute(_ADD_STORED, (*_row(channel, one), is_last_word))

    def order(self) -> None:
        """Make ready for reading in the order in which things were said."""
        self._db.execute("CREATE INDEX IF NOT EXISTS message_by_time ON message (channel, at, id)")

    def messages(self, channel: DiscordChannel, *, planned: Planned | None = None) -> Iterator[SpooledMessage]:
        """The messages of a channel, or of one planned note, oldest first."""
        bounds, given = "", {"channel": channel.id}
        if planned:
            bounds = "AND (m.at, m.id) >= (:first_at, :first_id) AND (m.at, m.id) <= (:last_at, :last_id) "
            given |= {key: getattr(planned, key) for key in ("first_at", "first_id", "last_at", "last_id")}
        rows = self._db.execute(
            "SELECT m.id, m.at, m.edited, m.head, m.tail, m.author_id, m.reply_to, coalesce(answered.author, ''), "
            "coalesce(anchor.path, '') FROM message AS m "
            "LEFT JOIN message AS answered ON answered.channel = m.channel AND answered.id = m.reply_to "
            "LEFT JOIN anchor ON anchor.channel = m.channel AND anchor.id = m.id "
            f"WHERE m.channel = :channel {bounds}ORDER BY m.at, m.id",
            given,
        )
        for number, at, edited, head, tail, author_id, reply_to, answered, path in rows:
            line = with_reply(head, channel, reply_to, answered)
            yield SpooledMessage(number, at, edited, line, tail, author_id, path)

    def plan(self, notes: Iterable[Planned]) -> None:
        """Keep what is to become notes."""
        with self._at_once():
            self._db.executemany("INSERT OR REPLACE INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?)", notes)

    def count_planned(self) -> int:
        """How many notes there are to be."""
        count: int = self._db.execute("SELECT count(*) FROM planned").get
        return count

    def planned(self) -> Iterator[Planned]:
        """What is to become notes, first those that are new: a message that moves from a stored note into a new one is
        there before it is taken out here."""
        for row in self._db.execute("SELECT * FROM planned ORDER BY is_stored, channel, first_at, first_id"):
            yield Planned(*row)

    def is_first(self, planned: Planned) -> bool:
        """Whether nothing was said in the channel before that note."""
        before = "SELECT count(*) FROM planned WHERE channel = ? AND (first_at, first_id) < (?, ?)"
        return not self._db.execute(before, (planned.channel, planned.first_at, planned.first_id)).get

    def find_planned(self, path: str) -> Planned:
        """The planned note at `path`."""
        (row,) = self._db.execute("SELECT * FROM planned WHERE path = ?", (path,))
        return Planned(*row)


def stored_notes(connection: apsw.Connection, root: str, channel: int) -> Iterator[tuple[str, str, str]]:
    """Path, text and author of the living notes that were imported from a channel into the source of that root."""
    rows = connection.execute(
        "SELECT note.path, body, note.author FROM note JOIN source ON source.id = note.source "
        "JOIN note_text ON note_text.note = note.key WHERE source.root = ? AND source.kind <> 'capture' "
        "AND note.trashed_at IS NULL AND note.path >= ? AND note.path < ? ORDER BY note.path",
        (root, f"{channel}/", f"{channel}0"),  # "0" comes after "/"
    )
    for path, body, author in rows:
        yield str(path), str(body), str(author)


def _row(channel: int, one: Piece) -> tuple[object, ...]:
    return (channel, one.id, one.at, one.edited, one.head, one.tail, one.author, one.author_id, one.reply_to)
