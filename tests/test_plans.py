"""What is done to one note looks at the rows of that note: the same for 300 notes as for 300,000."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hashing_embedder import HashingEmbedder

from nescord import KnowledgeManager
from tests.vaults import open_base, write_notes

# Once in a run, and never for each note: how many there are.
_COUNTS = re.compile(r"SELECT count\(\*\) FROM (note|chunk)\b")
_GROWING = re.compile(r"SCAN (note|note_text|note_name|tag|link|chunk|embedding|index_log|note_revision)\b")


@pytest.fixture
def asked() -> Iterator[dict[str, apsw.Bindings | None]]:
    """Every statement from now on, of connections that are opened from now on."""
    statements: dict[str, apsw.Bindings | None] = {}

    def trace(_: object, statement: str, bindings: apsw.Bindings | None) -> bool:
        statements[statement] = bindings
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = trace

    apsw.connection_hooks.append(watch)
    yield statements
    apsw.connection_hooks.remove(watch)


def whole_tables(km: KnowledgeManager, asked: dict[str, apsw.Bindings | None]) -> dict[str, list[str]]:
    """Of the statements those that read a table that grows with the notes from end to end."""
    found = {}
    statements = dict(asked)
    with km._base.verb() as catalog, catalog.read() as connection:
        connection.exec_trace = None
        for statement, bindings in statements.items():
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement) or _COUNTS.match(statement):
                continue
            steps = [str(step) for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)]
            if bad := [step for step in steps if _GROWING.match(step)]:
                found[statement] = bad
    return found


def test_no_change_of_a_note_reads_a_table_whole(tmp_path: Path, asked: dict[str, apsw.Bindings | None]) -> None:
    vault = tmp_path / "vault"
    write_notes(
        vault, {f"n{number}.md": f"# n{number}\n\ntext {number} [[n{number + 1}]] #tag" for number in range(30)}
    )
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(vault)
        asked.clear()
        write_notes(vault, {"n1.md": "# n1\n\nother text", "new.md": "new"})
        (vault / "n2.md").unlink()
        (vault / "n3.md").rename(vault / "m3.md")
        report = km.ingest(vault)
        assert (report.added, report.changed, report.deleted, report.renamed) == (1, 1, 1, 1)
        note = km.capture("hello world")
        km.edit_note(note.id, text="hello again")
        km.delete_note(note.id)
        km.undelete_note(note.id)
        assert any("INSERT INTO index_log" in statement for statement in asked)
        assert whole_tables(km, asked) == {}
