"""What must still be there after a kill, a broken disk or a power cut.

`stored` reads a database by plain SQL, past the code under test, and judges its wholeness on the way; `Promises` keeps
what was reported as committed and holds what is stored against it.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from benchmarks import vault as vaults
from nescord import Settings

SOAK = os.environ.get("NESCORD_SOAK") == "1"
DATABASE = "nescordbot.db"


def new_rng(name: str) -> random.Random:
    """Random numbers whose seed is printed, and can be given back as NESCORD_SEED."""
    seed = os.environ.get("NESCORD_SEED") or str(random.randrange(1 << 32))
    print(f"{name}: NESCORD_SEED={seed}")
    return random.Random(f"{seed}/{name}")


def settings(data: Path, **more: object) -> Settings:
    return Settings(data_dir=data, **more)


@dataclass(frozen=True, slots=True)
class StoredNote:
    """What a reader gets of a note; two notes with the same are the same, however they came to be."""

    digest: bytes
    title: str
    body: str
    lang: str
    tags: tuple[str, ...]
    links: tuple[str, ...]
    names: tuple[str, ...]
    chunks: tuple[tuple[str, str, int], ...]


@dataclass(slots=True)
class Stored:
    """The living notes of vaults and of captures by path, and the paths in the trash."""

    notes: dict[str, StoredNote] = field(default_factory=dict)
    captures: dict[str, StoredNote] = field(default_factory=dict)
    trashed: set[str] = field(default_factory=set)


def stored(database: Path) -> Stored:
    """Everything in a database, after it has passed every check of wholeness that there is."""
    connection = apsw.Connection(str(database))
    try:
        _assert_whole(connection)
        return _read(connection)
    finally:
        connection.close()


def index_words(database: Path) -> dict[str, int]:
    """Of each living note's chunk (path and ordinal): a hash over the words and positions in the full-text index."""
    connection = apsw.Connection(str(database))
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'chunk_fts', 'instance')")
        rows = connection.execute(
            "SELECT note.path || '#' || ordinal, group_concat(term || '/' || col || '/' || offset) FROM "
            "(SELECT doc, term, col, offset FROM temp.words ORDER BY doc, term, col, offset) AS word "
            "JOIN chunk ON chunk.id = word.doc JOIN note ON note.key = chunk.note GROUP BY chunk.id"
        )
        return {str(chunk): hash(words) for chunk, words in rows}
    finally:
        connection.close()


def _assert_whole(connection: apsw.Connection) -> None:
    assert connection.pragma("integrity_check") == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    if not connection.pragma("user_version"):
        assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 0, "tables without a version"
        return
    connection.execute("INSERT INTO chunk_fts (chunk_fts) VALUES ('integrity-check')")
    chunks = [key for (key,) in connection.execute("SELECT id FROM chunk ORDER BY id")]
    # FTS5's own check does not compare a contentless index with what it is an index of.
    assert [key for (key,) in connection.execute("SELECT id FROM chunk_fts_docsize ORDER BY id")] == chunks
    assert connection.execute(
        "SELECT path FROM note WHERE trashed_at IS NULL GROUP BY source, path HAVING count(*) > 1"
    ).fetchall() == []  # fmt: skip
    assert connection.execute("SELECT note FROM chunk GROUP BY note, ordinal HAVING count(*) > 1").fetchall() == []
    assert connection.execute("SELECT key FROM note WHERE key NOT IN (SELECT note FROM note_text)").fetchall() == []
    assert connection.execute(
        "SELECT note FROM chunk JOIN note ON key = note WHERE trashed_at IS NOT NULL"
    ).fetchall() == []  # fmt: skip


def _read(connection: apsw.Connection) -> Stored:
    found = Stored()
    if not connection.pragma("user_version"):
        return found
    lists: dict[str, dict[int, list[str]]] = {}
    for table, column in (("tag", "name"), ("link", "target"), ("note_name", "name")):
        of_note = lists[table] = {}
        for key, value in connection.execute(f"SELECT note, {column} FROM {table} ORDER BY note, {column}"):
            of_note.setdefault(key, []).append(value)
    chunks: dict[int, list[tuple[str, str, int]]] = {}
    for key, headings, text, start in connection.execute(
        "SELECT note, headings, text, start FROM chunk ORDER BY note, ordinal"
    ):
        chunks.setdefault(key, []).append((headings, text, start))
    for key, path, owner, trashed_at, digest, title, body, lang in connection.execute(
        "SELECT key, path, owner, trashed_at, content_hash, title, body, lang FROM note JOIN note_text ON note = key"
    ):
        if trashed_at is not None:
            found.trashed.add(path)
            continue
        assert all(body[start : start + len(text)] == text for _, text, start in chunks.get(key, ()))
        (found.notes if owner == "source" else found.captures)[path] = StoredNote(
            digest,
            title,
            body,
            lang,
            tags=tuple(lists["tag"].get(key, ())),
            links=tuple(lists["link"].get(key, ())),
            names=tuple(lists["note_name"].get(key, ())),
            chunks=tuple(chunks.get(key, ())),
        )
    return found


def digests(vault: Path) -> dict[str, bytes]:
    """The content hash of every note file of a vault, by its path."""
    return {
        path.relative_to(vault).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=20).digest()
        for path in vault.rglob("*.md")
    }


@dataclass(slots=True)
class Promises:
    """What was reported: a path's content as last committed, captures with a word of their text, paths that are gone.

    `moved` is no promise: it says what files were renamed to.
    """

    notes: dict[str, bytes] = field(default_factory=dict)
    captures: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)

    def finished(self, vault: Mapping[str, bytes]) -> None:
        """A run has reported its end: what the vault does not have any more is gone."""
        self.gone |= self.notes.keys() - vault.keys()
        self.notes = dict(vault)

    def copy(self) -> Promises:
        return Promises(dict(self.notes), dict(self.captures), set(self.gone), self.moved)

    def lost(self, found: Stored, vault: Mapping[str, bytes]) -> list[str]:
        """What was promised and is not there, neither as promised nor as the vault has it by now."""
        lost = []
        for path, digest in self.notes.items():
            note = found.notes.get(path)
            if note is not None:
                if note.digest not in (digest, vault.get(path)):
                    lost.append(f"{path} has a content that it never had")
            elif path in vault:
                lost.append(f"{path} is gone")
            elif not any(name in found.notes or name in found.trashed for name in self._names(path)):
                lost.append(f"{path} is gone, and is not under a later name or in the trash")
        lost += [
            f"capture {path} is gone"
            for path, word in self.captures.items()
            if path not in found.captures or word not in found.captures[path].body
        ]
        lost += [f"{path} is back" for path in self.gone & found.notes.keys()]
        return lost

    def _names(self, path: str) -> Iterator[str]:
        yield path
        while path in self.moved:
            path = self.moved[path]
            yield path


@contextmanager
def untouched(*folders: Path) -> Iterator[None]:
    """Nothing in these folders changes meanwhile: no name, byte, size, time of change or permission."""
    before = [_facts(folder) for folder in folders]
    try:
        yield
    finally:
        for folder, facts in zip(folders, before, strict=True):
            now = _facts(folder)
            changed = {path for path in facts.keys() | now.keys() if facts.get(path) != now.get(path)}
            assert not changed, f"the vault {folder} was written: {sorted(changed)}"


def _facts(folder: Path) -> dict[str, tuple[object, ...]]:
    facts: dict[str, tuple[object, ...]] = {}
    for path in (folder, *folder.rglob("*")):
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
        facts[str(path)] = (info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, content)
    return facts


@dataclass(frozen=True, slots=True)
class Sample:
    """A small vault on two days: in between, notes were edited, renamed, renamed and edited, deleted and added."""

    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    moved: Mapping[str, str]

    @classmethod
    def grown(cls, scratch: Path, notes: int, seed: int) -> Sample:
        """One made from a seed, its notes cut to a size at which a sweep over every write can be paid."""
        vaults.generate(scratch, notes, seed)
        for path in scratch.rglob("*.md"):
            text = path.read_text("utf-8")
            path.write_text(text[: text.find("\n\n", 500) + 2 or None], "utf-8")
        before = _files(scratch)
        moved = dict(vaults.rename(scratch, 3, seed))
        vaults.edit(scratch, 0.3, seed)
        staying = sorted(before.keys() - {old.as_posix() for old in moved})
        for name in staying[:2]:
            (scratch / name).unlink()
        (scratch / staying[2]).with_name("a new note.md").write_text("# A new note\n\n新しいノート。\n", "utf-8")
        return cls(before, _files(scratch), {old.as_posix(): new.as_posix() for old, new in moved.items()})

    @staticmethod
    def put(vault: Path, files: Mapping[str, bytes]) -> None:
        """Make the vault hold exactly these files; those that it holds already are left alone."""
        for path in vault.rglob("*.md"):
            if path.relative_to(vault).as_posix() not in files:
                path.unlink()
        for name, content in files.items():
            path = vault / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


def _files(vault: Path) -> dict[str, bytes]:
    return {path.relative_to(vault).as_posix(): path.read_bytes() for path in sorted(vault.rglob("*.md"))}
