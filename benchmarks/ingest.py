"""Ingest beside its yardsticks: what the same work costs without us, in the same process and run.

Unchanged: `os.walk` plus one `os.stat` a file. Cold: read, hash and parse every file (Markdown events and YAML), then
insert the very rows that ingest makes, the tokenised text included, into the same schema in batches of the same size.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pyromark
import yaml

from benchmarks.measure import best_of, clock, peak_rss_mb
from nescord import KnowledgeManager, Settings
from nescord.catalog import fulltext, sources
from nescord.catalog.database import Catalog
from nescord.ingest import BATCH_NOTES
from nescord.words import index_text

_TABLES = ("note", "note_text", "tag", "link", "note_name", "chunk")
_OPTIONS = (
    pyromark.Options.ENABLE_TABLES
    | pyromark.Options.ENABLE_TASKLISTS
    | pyromark.Options.ENABLE_WIKILINKS
    | pyromark.Options.ENABLE_YAML_STYLE_METADATA_BLOCKS
)


def walk_and_stat(vault: Path) -> int:
    """The unchanged yardstick: how many files there are."""
    count = 0
    for folder, _, names in os.walk(vault):
        for name in names:
            os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - the plain way is the yardstick
            count += 1
    return count


def read_hash_parse(vault: Path) -> int:
    """The first half of the cold yardstick: how many Markdown events there are."""
    events = 0
    for folder, _, names in os.walk(vault):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123
                data = file.read()
            hashlib.blake2b(data, digest_size=20).digest()
            text = data.decode()
            for event, _ in pyromark.events_with_range(text, options=_OPTIONS):
                events += 1
                if isinstance(event, dict) and event.get("Start") == {"MetadataBlock": "YamlStyle"}:
                    yaml.load(text[4 : text.index("\n---", 3)], Loader=yaml.CSafeLoader)
    return events


def rows_of(database: Path) -> dict[str, list[list[tuple[object, ...]]]]:
    """Every row that an ingest has made, in batches of as many notes, with the text that FTS5 was given."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    keys = [key for (key,) in connection.execute("SELECT key FROM note ORDER BY key")]
    batches: dict[str, list[list[tuple[object, ...]]]] = {table: [] for table in (*_TABLES, "chunk_fts")}
    for first in range(0, len(keys), BATCH_NOTES):
        low, high = keys[first], keys[min(first + BATCH_NOTES, len(keys)) - 1]
        for table in _TABLES:
            column = "key" if table == "note" else "note"
            query = f"SELECT * FROM {table} WHERE {column} BETWEEN ? AND ?"
            batches[table].append(connection.execute(query, (low, high)).fetchall())
        texts = connection.execute(
            "SELECT chunk.id, title, aliases, headings, text FROM chunk JOIN note ON note.key = chunk.note "
            "JOIN note_text ON note_text.note = note.key WHERE note.key BETWEEN ? AND ? ORDER BY chunk.id",
            (low, high),
        )
        batches["chunk_fts"].append(
            [(i, fulltext.index_title(t, a), index_text(h), index_text(x)) for i, t, a, h, x in texts]
        )
    connection.close()
    return batches


def raw_insert(database: Path, batches: dict[str, list[list[tuple[object, ...]]]]) -> None:
    """The second half of the cold yardstick: nothing but the inserts."""
    with Catalog(database) as catalog:
        catalog.bring_up_to_date(database.parent)
        with catalog.write() as connection:
            sources.add(connection, "vault", "folder", "/", "personal")
        for number in range(len(batches["note"])):
            with catalog.write() as connection:
                for table in _TABLES:
                    rows = batches[table][number]
                    if rows:
                        marks = ", ".join("?" * len(rows[0]))
                        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
                connection.executemany(
                    "INSERT OR REPLACE INTO chunk_fts (rowid, title, headings, text) VALUES (?, ?, ?, ?)",
                    batches["chunk_fts"][number],
                )


def run(vault: Path, scratch: Path) -> dict[str, float]:
    """All figures for one vault. `scratch` gets the knowledge base, for the search benchmark after it."""
    with KnowledgeManager.open(Settings(data_dir=scratch / "ours", embedder="none")) as km:
        with clock() as cold:
            report = km.ingest(vault)
        walk = best_of(9, lambda: walk_and_stat(vault))
        km.ingest(vault)
        unchanged = best_of(9, lambda: km.ingest(vault))
        again = km.ingest(vault)
        assert again.files_read == 0
        assert again.unchanged == report.added
    batches = rows_of(scratch / "ours" / "nescordbot.db")
    with clock() as parse:
        read_hash_parse(vault)
    with clock() as insert:
        raw_insert(scratch / "raw.db", batches)
    yardstick = parse.cpu + insert.cpu
    return {
        "notes": report.added,
        "chunks": report.chunks_added,
        "os.walk + stat, CPU s": walk.cpu,
        "unchanged ingest, CPU s": unchanged.cpu,
        "unchanged / walk (aim <= 1.3)": unchanged.cpu / walk.cpu,
        "files opened when unchanged": again.files_read,
        "read + hash + parse, CPU s": parse.cpu,
        "raw insert of the same rows, CPU s": insert.cpu,
        "cold ingest, CPU s": cold.cpu,
        "cold / yardstick (aim <= 2)": cold.cpu / yardstick,
        "cold ingest, notes per wall second": report.added / cold.wall,
    }


def memory(vault: Path, notes: int) -> int:
    """Peak resident memory of a process that does nothing but one cold ingest, in MiB."""
    code = (
        "import sys, pathlib\nfrom nescord import KnowledgeManager, Settings\n"
        "from benchmarks.measure import peak_rss_mb\n"
        "with KnowledgeManager.open(Settings(data_dir=pathlib.Path(sys.argv[2]), embedder='none')) as km:\n"
        "    report = km.ingest(sys.argv[1])\nassert report.added == int(sys.argv[3])\nprint(peak_rss_mb())"
    )
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-c", code, str(vault), scratch, str(notes)], check=True, capture_output=True, text=True
        )
    return int(done.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, value in run(Path(sys.argv[1]), Path(folder)).items():
            print(f"{name:45} {value:12,.3f}")
        print("peak RSS of this process, MiB", peak_rss_mb())
