"""The notes of the bot that came before NescordBot, from its SQLite database.

The file is copied and only the copy is opened: it is another program's, which may be running. A row that cannot be read
is one note less and stops nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import apsw

from nescord.catalog.migrations import APPLICATION_ID
from nescord.errors import UsageError
from nescord.identifiers import uuid7_of
from nescord.language import detect
from nescord.sources.entries import Entry, FormerText, SourceNote, UnreadableError, digest_of
from nescord.sources.nescordbot_rows import folded, id_of, is_name, moment_of, names_in, shown, tags_of, text_of

ROOT = "nescordbot"
_HEADER = b"SQLite format 3\x00"
_KEPT = 5
_OPTIONAL = (
    "title",
    "tags",
    "source_type",
    "source_id",
    "user_id",
    "channel_id",
    "guild_id",
    "created_at",
    "updated_at",
)
# What was said before an edit, under each of the names that it has had, the first that is there.
_FORMER = {
    "text": ("content_before", "old_content", "content"),
    "title": ("title_before", "old_title", "title"),
    "tags": ("tags_before", "old_tags", "tags"),
    "when": ("timestamp", "created_at", "edited_at", "changed_at", "updated_at"),
}
_LINKED = {"ja": "関連ノート:"}


@dataclass(frozen=True, slots=True)
class Reading:
    """How the old notes are to be read. `guild_space` is where those go that were written in a guild: to the
    "author", as the old bot showed them, to the "guild", or to a space; `zone` is the clock of the machine that it
    ran on."""

    guild_space: str = "author"
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class _Known:
    """What links need of a note."""

    note_id: str
    path: str
    title: str
    created_at: str


@dataclass(slots=True)
class NescordbotDatabase:
    """The notes of an old database; a source, see `nescord.sources.entries`. `remarks` say what it does not have."""

    connection: apsw.Connection
    file: str
    reading: Reading
    name: str = ROOT
    root: str = ROOT
    remarks: list[str] = field(default_factory=list)
    _columns: str = ""
    _rows: Sequence[int] = ()
    _known: dict[str, _Known] = field(default_factory=dict)
    _titles: Counter[str] = field(default_factory=Counter)
    _called: set[str] = field(default_factory=set)
    _links: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _history: dict[str, list[int]] = field(default_factory=dict)
    _former: str = ""
    _read: tuple[str, SourceNote | UnreadableError] = ("", UnreadableError(""))

    def scan(self) -> Iterator[Entry]:
        """Every row, in the order in which they were written. UsageError where the file is damaged beyond its rows."""
        self._look()
        for row in self._rows:
            path, made = self._note(row)
            self._read = (path, made)
            yield Entry(path, digest_of(str(made) if isinstance(made, UnreadableError) else json.dumps(asdict(made))))

    def read(self, entry: Entry) -> SourceNote:
        path, made = self._read
        if path != entry.path:
            raise UnreadableError("it was not the last one that was scanned")
        if isinstance(made, UnreadableError):
            raise made
        return made

    def _look(self) -> None:
        """What there is, and what links need to know of all notes."""
        self.remarks.clear()
        there = self._columns_of("knowledge_notes")
        if not there:
            raise UsageError(
                f"{self.file} has no table knowledge_notes: it is not the database of the bot that came before"
            )
        if needed := {"id", "content"} - there:
            raise UsageError(f"{self.file}: the table knowledge_notes has no column {', '.join(sorted(needed))}")
        if missing := [name for name in _OPTIONAL if name not in there]:
            self.remarks.append(f"the notes have no {', '.join(missing)}")
        self._columns = ", ".join(
            name if name in there else f"NULL AS {name}" for name in ("id", "content", *_OPTIONAL)
        )
        self._rows = [row for (row,) in self._all("SELECT rowid FROM knowledge_notes ORDER BY rowid")]
        self._know()
        self._look_at_links()
        self._look_at_history()

    def _know(self) -> None:
        self._known, self._titles, self._called = {}, Counter(), set()
        for row in self._rows:
            try:
                old_id, content, title, *_, created, updated = self._row(row)
                known = self._place(text_of(old_id), text_of(title), created, updated)
                text = text_of(content)
            except UnreadableError:
                continue
            self._known.setdefault(text_of(old_id), known)
            self._titles[folded(known.title)] += 1
            if "[[" in text:
                self._called |= names_in(text)

    def _look_at_links(self) -> None:
        self._links = {}
        there = self._columns_of("note_links")
        if not {"from_note_id", "to_note_id"} <= there:
            self.remarks.append("there are no links between notes in it (table note_links)")
            return
        kind = _raw("link_type") if "link_type" in there else "NULL"
        links = f"SELECT {_raw('from_note_id')}, {_raw('to_note_id')}, {kind} FROM note_links ORDER BY rowid"
        astray = 0
        for source, target, what in self._all(links):
            try:
                link = text_of(source), text_of(target), text_of(what)
            except UnreadableError:
                astray += 1
                continue
            if link[0] in self._known and link[1] in self._known:
                if link[0] != link[1]:
                    self._links.setdefault(link[0], []).append(link[1:])
            else:
                astray += 1
        if astray:
            self.remarks.append(f"{astray:,} links are left out: they lead from or to notes that are not there")
        for target in (self._known[target] for targets in self._links.values() for target, _ in targets):
            if self._is_unique(target.title):
                self._called.add(folded(target.title))

    def _look_at_history(self) -> None:
        self._history = {}
        there = self._columns_of("note_history")
        chosen = {what: next((name for name in names if name in there), "NULL") for what, names in _FORMER.items()}
        if "note_id" not in there or chosen["text"] == "NULL":
            self.remarks.append("there are no former texts of notes in it (table note_history)")
            return
        self._former = (
            f"SELECT {chosen['text']}, {chosen['title']}, {chosen['tags']}, {chosen['when']} FROM note_history"
        )
        for row, note in self._all(f"SELECT rowid, note_id FROM note_history ORDER BY {chosen['when']}, rowid"):
            try:
                kept = self._history.setdefault(text_of(note), [])
            except UnreadableError:
                continue
            kept.append(row)
            del kept[:-_KEPT]

    def _note(self, row: int) -> tuple[str, SourceNote | UnreadableError]:
        path = f"row {row}"
        try:
            old_id, content, title, tags, kind, said, user, channel, guild, created, updated = self._row(row)
            key = text_of(old_id)
            if not key.strip():
                raise UnreadableError("it has no id")
            known = self._place(key, text_of(title), created, updated)
            path = known.path
            text = text_of(content)
            note = SourceNote(
                self._linked(key, text, known.title),
                title=known.title,
                tags=tags_of(tags),
                author=f"user:{id_of(user)}" if id_of(user) else "",
                origin=_origin(said, channel, guild),
                created_at=known.created_at,
                updated_at=moment_of(updated, self.reading.zone) or known.created_at,
                note_id=known.note_id,
                space=self._space(id_of(user), id_of(guild)),
                kind="permanent" if text_of(kind) == "merged" else "",
                aliases=(known.title,) if self._is_called(known.title) else (),
                history=tuple(self._former_texts(key)),
            )
        except UnreadableError as error:
            return path, error
        return path, note

    def _place(self, key: str, title: str, created: object, updated: object) -> _Known:
        """Where a note goes, and its id: both from its old id and the moment it was made, so that they never change."""
        made = moment_of(created, self.reading.zone)
        moment = datetime.fromisoformat(made) if made else datetime.fromtimestamp(0, UTC)
        note_id = str(uuid7_of(moment, f"{ROOT}\n{key}".encode("utf-8", "surrogatepass")))
        when = made or moment_of(updated, self.reading.zone)
        return _Known(note_id, f"{made[:10] or 'undated'}/{note_id}.md", " ".join(title.split()), when)

    def _space(self, user: str, guild: str) -> str:
        chosen = self.reading.guild_space
        if guild and chosen not in ("guild", "author"):
            return chosen
        if guild and (chosen == "guild" or not user):
            return f"guild:{guild}"
        return f"user:{user}" if user else "personal"

    def _linked(self, key: str, text: str, title: str) -> str:
        """The text, and below it the links that were kept beside it; those that it has are found by title (_called)."""
        named = names_in(text)
        lines = []
        for target, kind in dict.fromkeys(self._links.get(key, ())):
            known = self._known[target]
            if self._is_unique(known.title):
                if folded(known.title) in named:
                    continue
                link = f"[[{known.title}]]"
            else:
                link = f"[[{known.path.removesuffix('.md')}|{shown(known.title)}]]"
            lines.append(f"- {link}" + (f" ({shown(kind)})" if kind not in ("", "reference") else ""))
        if not lines:
            return text
        label = _LINKED.get(detect(text or title), "Linked notes:")
        return "\n\n".join(filter(None, (text.rstrip(), f"{label}\n\n" + "\n".join(lines)))) + "\n"

    def _is_unique(self, title: str) -> bool:
        return is_name(title) and self._titles[folded(title)] == 1

    def _is_called(self, title: str) -> bool:
        """Whether a text calls a note by this title, which is no name of its own otherwise."""
        return is_name(title) and folded(title) in self._called

    def _former_texts(self, key: str) -> Iterator[FormerText]:
        for row in self._history.get(key, ()):
            try:
                text, title, tags, when = self._one(f"{self._former} WHERE rowid = ?", row)
                if text is not None:
                    yield FormerText(text_of(title), text_of(text), tags_of(tags), moment_of(when, self.reading.zone))
            except UnreadableError:
                continue

    def _row(self, row: int) -> tuple[object, ...]:
        return self._one(f"SELECT {self._columns} FROM knowledge_notes WHERE rowid = ?", row)

    def _one(self, query: str, row: int) -> tuple[object, ...]:
        try:
            found: tuple[object, ...] | None = self.connection.execute(query, (row,)).fetchone()
        except apsw.Error as error:
            raise UnreadableError(f"the database is damaged here ({error})") from None
        if found is None:
            raise UnreadableError("it cannot be found again in the database, which is damaged")
        return found

    def _all(self, query: str) -> Iterator[tuple]:  # type: ignore[type-arg]  # SQL rows
        try:
            yield from self.connection.execute(query)
        except apsw.Error as error:
            raise UsageError(f"{self.file} is damaged or not what it should be ({error}): use a backup of it") from None

    def _columns_of(self, table: str) -> set[str]:
        return {text_of(name) for (name,) in self._all(f"SELECT {_raw('name')} FROM pragma_table_info('{table}')")}


@contextmanager
def opened(path: Path, reading: Reading | None = None, *, live: Path | None = None) -> Iterator[NescordbotDatabase]:
    """The notes of the database at `path`. `live` is the database of the knowledge base that they are for.

    Raises:
        UsageError: it is none, is one of ours, or somebody writes to it right now.
    """
    # Before the file is opened: closing it again would drop the locks that we hold on our own.
    if live is not None and live.exists() and path.exists() and live.samefile(path):
        raise _ours(path)
    with tempfile.TemporaryDirectory(prefix="nescord-import-") as folder:
        copy = _copied(path, Path(folder))
        try:
            connection = apsw.Connection(str(copy))
        except apsw.Error as error:
            raise UsageError(f"{path} cannot be opened: {error}") from None
        with closing(connection):
            try:
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA query_only = ON")
                # What another program has left in a journal is settled now, in the copy.
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except apsw.Error as error:
                raise UsageError(f"{path} is no database, or a damaged one ({error})") from None
            yield NescordbotDatabase(connection, str(path), reading or Reading())


def _copied(path: Path, folder: Path) -> Path:
    """A copy of the database with what is still in its journals, all of one moment."""
    copy = folder / "copy.db"
    for _ in range(3):
        try:
            before = _state(path)
            with path.open("rb") as file:
                header = file.read(100)
            if header[: len(_HEADER)] != _HEADER:
                raise UsageError(f"{path} is no SQLite database")
            if int.from_bytes(header[68:72], "big") == APPLICATION_ID:
                raise _ours(path)
            for suffix in ("", "-wal", "-journal"):
                part = path.with_name(path.name + suffix)
                target = folder / f"copy.db{suffix}"
                target.unlink(missing_ok=True)
                if part.exists():
                    shutil.copyfile(part, target)
            if before == _state(path):
                return copy
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    raise UsageError(f"{path} is being written to: stop the bot that uses it, then import again")


def _state(path: Path) -> list[tuple[int, int]]:
    files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))]
    stats = [file.stat() if file == path or file.exists() else None for file in files]
    return [(stat.st_size, stat.st_mtime_ns) if stat else (-1, 0) for stat in stats]


def _ours(path: Path) -> UsageError:
    return UsageError(
        f"{path} is the database of a knowledge base like this one: nescord export --format jsonl writes its notes, "
        "and nescord import-from jsonl takes them in"
    )


def _raw(column: str) -> str:
    """A column with text as its bytes: they may be of any encoding."""
    return f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"


def _origin(said: object, channel: object, guild: object) -> str:
    """Where a note was said: the address of a message, if it was kept or can be told."""
    try:
        text = text_of(said).strip()
    except UnreadableError:
        return ""
    if text.startswith("https://discord.com/channels/"):
        return text
    message = id_of(said)
    # Ids of messages have 17 digits and more; shorter numbers count something of the bot's own.
    if id_of(channel) and len(message) >= 17:
        return f"https://discord.com/channels/{id_of(guild) or '@me'}/{id_of(channel)}/{message}"
    return ""
