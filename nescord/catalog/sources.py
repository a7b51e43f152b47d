"""SQL of sources and of what is wrong with their files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from nescord.notes import Failure


@dataclass(frozen=True, slots=True)
class Source:
    """Where notes come from. `root` is a real path ("" for captures); `shape` says how its notes were last cut."""

    id: int
    name: str
    kind: str
    root: str
    space: str
    shape: str
    ignore_hash: bytes
    ingested_at: str


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A failure together with the fingerprint of the file it is about: an unchanged bad file is not read again."""

    reason: str
    stored: bool
    fingerprint: tuple[int, int, int, int]


_COLUMNS = "id, name, kind, root, space, shape, ignore_hash, ingested_at"


def all_sources(connection: apsw.Connection) -> list[Source]:
    """The sources that were not removed, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM source WHERE removed_at IS NULL ORDER BY name")
    return [Source(*row) for row in rows]


def pause(connection: apsw.Connection, snapshot: str, when: str) -> None:
    """Take in no vault until `resume`: the database was put back to `snapshot`, and the vaults are newer."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('paused', ?)", (f"{snapshot} {when}",))


def paused(connection: apsw.Connection) -> str:
    """The snapshot since whose restore no vault is taken in; "" when all are."""
    value: str = connection.execute("SELECT value FROM meta WHERE name = 'paused'").get or ""
    return value.partition(" ")[0]


def resume(connection: apsw.Connection) -> None:
    """Take in vaults again."""
    connection.execute("DELETE FROM meta WHERE name = 'paused'")


def by_root(connection: apsw.Connection, root: str) -> Source | None:
    """The source whose notes come from the folder `root` (a real path)."""
    return _one(connection, "root = ? AND kind <> 'capture' AND removed_at IS NULL", root)


def by_name(connection: apsw.Connection, name: str) -> Source | None:
    """The source of that name."""
    return _one(connection, "name = ? AND removed_at IS NULL", name)


def captures(connection: apsw.Connection) -> Source:
    """The built-in source of notes that were written through us; made on first use."""
    found = _one(connection, "kind = ?", "capture")
    return found or add(connection, free_name(connection, "captures"), "capture", "", "personal")


def free_name(connection: apsw.Connection, wanted: str) -> str:
    """`wanted`, or `wanted-2` … where the name is taken."""
    taken = {name for (name,) in connection.execute("SELECT name FROM source")}
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def add(connection: apsw.Connection, name: str, kind: str, root: str, space: str, shape: str = "") -> Source:
    """Register a source. A removed one of that name comes back, and with it the ids of its notes."""
    connection.execute(
        "INSERT INTO source (name, kind, root, space, shape) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "removed_at = NULL, kind = excluded.kind, root = excluded.root, space = excluded.space, ignore_hash = x''",
        (name, kind, root, space, shape),
    )
    source = by_name(connection, name)
    assert source is not None
    return source


def move(connection: apsw.Connection, source: int, root: str, kind: str) -> None:
    """The folder of a source lives elsewhere now; its notes keep their ids."""
    connection.execute("UPDATE source SET root = ?, kind = ? WHERE id = ?", (root, kind, source))


def remove(connection: apsw.Connection, source: int, when: str) -> None:
    """Take a source off the list (its notes are trashed by the caller)."""
    connection.execute("UPDATE source SET removed_at = ? WHERE id = ?", (when, source))
    connection.execute("DELETE FROM failure WHERE source = ?", (source,))


def set_space(connection: apsw.Connection, source: int, space: str) -> None:
    """Move a source and all its notes into another space."""
    connection.execute("UPDATE source SET space = ? WHERE id = ?", (space, source))
    connection.execute("UPDATE note SET space = ? WHERE source = ? AND owner = 'source'", (space, source))


def ingested(connection: apsw.Connection, source: int, *, shape: str, ignore_hash: bytes, kind: str, when: str) -> None:
    """Record that a run went through to its end."""
    connection.execute(
        "UPDATE source SET shape = ?, ignore_hash = ?, kind = ?, ingested_at = ? WHERE id = ?",
        (shape, ignore_hash, kind, when, source),
    )


def known_failures(connection: apsw.Connection, source: int) -> dict[str, KnownFailure]:
    """The failures of a source by path."""
    rows = connection.execute(
        "SELECT path, reason, stored, size, mtime_ns, ctime_ns, inode FROM failure WHERE source = ?", (source,)
    )
    return {path: KnownFailure(reason, bool(stored), tuple(print_)) for path, reason, stored, *print_ in rows}


def record_failures(
    connection: apsw.Connection,
    source: int,
    rows: Iterable[tuple[str, str, bool, tuple[int, int, int, int]]],
    when: str,
) -> None:
    """Note (path, reason, stored, fingerprint); the first time it was seen stays."""
    connection.executemany(
        "INSERT INTO failure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, path) DO UPDATE SET "
        "reason = excluded.reason, stored = excluded.stored, size = excluded.size, mtime_ns = excluded.mtime_ns, "
        "ctime_ns = excluded.ctime_ns, inode = excluded.inode, last_seen = excluded.last_seen",
        ((source, path, reason, int(stored), *print_, when, when) for path, reason, stored, print_ in rows),
    )


def clear_failures(connection: apsw.Connection, source: int, paths: Iterable[str]) -> None:
    """Forget failures that are mended or whose file is gone."""
    connection.executemany("DELETE FROM failure WHERE source = ? AND path = ?", ((source, path) for path in paths))


def failures(connection: apsw.Connection) -> list[Failure]:
    """Every file that is not as it should be, the latest first."""
    rows = connection.execute(
        "SELECT source.name, failure.path, reason, stored, first_seen, last_seen FROM failure "
        "JOIN source ON source.id = failure.source ORDER BY stored, last_seen DESC, failure.path"
    )
    return [Failure(name, path, reason, bool(stored), first, last) for name, path, reason, stored, first, last in rows]


def _one(connection: apsw.Connection, where: str, value: str) -> Source | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM source WHERE {where}", (value,)).get
    return Source(*row) if row else None
