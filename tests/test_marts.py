"""Marts: what the tables hold, that they say so truly, and that they keep to the limits they were given."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from cli_runs import ingested
from marts_world import SECRET, begun, described, embed, rows, settings_of, written
from pyarrow import parquet

from nescord import KnowledgeManager, marts
from nescord.catalog import marts as sql
from nescord.catalog.database import Catalog
from nescord.errors import NoKnowledgeBaseError, UsageError
from nescord.marts import exporting
from nescord.marts.building import refuse_without_packages
from nescord.marts.counting import count_words
from nescord.marts.schema import CATALOG_TABLES, TABLES
from nescord.settings import Settings

NAMES = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}


def test_the_columns_are_those_that_are_promised_also_where_nothing_is_stored(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data")
    built = marts.build(settings)
    assert {name: count for name, count in built.counts.items() if count} == {"volume": 1}
    with marts.connect(settings) as connection:
        for table in TABLES:
            wanted = [(column.name, NAMES.get(column.type, column.type)) for column in table.columns]
            assert described(connection, table.name) == wanted, table.name
        assert described(connection, "embeddings") == [
            ("model", "VARCHAR"),
            ("text_hash", "BLOB"),
            ("vector", "FLOAT[1]"),
        ]
        assert connection.sql("SELECT texts, spaces, model FROM mart").fetchall() == [(True, None, None)]
        ids, matrix = marts.vectors(connection)
        assert (len(ids), matrix.shape) == (0, (0, 1))


def test_every_column_of_the_database_is_read_or_left_out_on_purpose(tmp_path: Path) -> None:
    begun(tmp_path / "data")
    with Catalog(tmp_path / "data" / "nescordbot.db") as catalog, catalog.read() as connection:
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
            "AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'chunk_fts%'"
        ).fetchall()
        found = {
            str(table): dict(connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)))
            for (table,) in tables
        }
    assert set(found) == set(sql.READS) | sql.TABLES_LEFT_OUT
    for table, columns in sql.READS.items():
        left = sql.LEFT_OUT.get(table, frozenset())
        assert set(found[table]) == set(columns) | left, table
        assert not set(columns) & left, table
        assert {name: found[table][name] for name in columns} == dict(columns), table


def test_the_page_names_every_table_and_every_column_with_its_type() -> None:
    page = (Path(__file__).parent.parent / "docs" / "notebooks.md").read_text(encoding="utf-8")
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for table in TABLES:
        for column in table.columns:
            star = "\\*" if column.is_written else ""
            kinds = ("", " VARCHAR") if column.type == "VARCHAR" else (f" {column.type}",)
            is_told = any(f"`{column.name}{kind}`{star}" in lines[table.name] for kind in kinds)
            assert is_told, (table.name, column)


def test_every_mart_of_the_database_has_a_statement_for_its_columns() -> None:
    for table in CATALOG_TABLES:
        computed = {"notes": {"chars", "words"}, "chunks": {"chars"}}.get(table.name, set())
        assert set(table.names) == set(sql.EXPORTS[table.name].columns) | computed


def test_notes_are_told_with_their_tags_links_and_chunks(tmp_path: Path) -> None:
    settings = Settings(data_dir=ingested(tmp_path))
    assert marts.build(settings).counts["notes"] == 4
    found = rows(
        settings,
        "SELECT path, title, source, source_kind, lang, space, owner, chunks, tags, trashed_at FROM notes ORDER BY 1",
    )
    assert found[1] == ("Kitchen/Tea.md", "Tea", "vault", "folder", "en", "personal", "source", 1, ["tea"], None)
    ((chars, words, text),) = rows(settings, "SELECT chars, words, text FROM notes WHERE path = '珈琲.md'")
    assert text.startswith("# 珈琲の淹れ方")
    assert (chars, words) == (len(text), 19)
    links = rows(
        settings,
        "SELECT a.path, target, b.path FROM links JOIN notes a ON from_note = a.note_id "
        "LEFT JOIN notes b ON to_note = b.note_id ORDER BY target",
    )
    assert links == [("Kitchen/Tea.md", "Nowhere", None), ("Kitchen/Tea.md", "珈琲", "珈琲.md")]
    assert rows(settings, "SELECT tag FROM tags ORDER BY tag") == [("coffee",), ("tea",)]
    assert rows(settings, "SELECT count(*) FROM chunks JOIN notes USING (note_id) WHERE chunks.chars > 0") == [(4,)]


def test_one_note_is_enough(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "鍵を確認する")
    marts.build(settings)
    assert rows(settings, "SELECT text, lang, owner FROM notes") == [("鍵を確認する", "ja", "us")]


def test_a_note_in_the_trash_is_told_and_its_words_are_not_searched(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "first", "second #tag")
    with KnowledgeManager.open(settings) as km:
        km.delete_note(km.search("second")[0].note_id)
    marts.build(settings)
    assert rows(settings, "SELECT title, trashed_at IS NULL FROM notes ORDER BY title") == [
        ("first", True),
        ("second #tag", False),
    ]
    assert rows(settings, "SELECT text FROM chunks") == [("first",)]
    assert rows(settings, "SELECT * FROM tags") == []


def test_no_text_can_stop_a_build(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "plain", "nul\0inside", "other")
    with written(settings) as connection:
        connection.execute("UPDATE note_text SET body = CAST(x'61ff62eda08063' AS TEXT) WHERE note = 3")
        connection.execute("UPDATE note SET created_at = 'once', updated_at = '0001-01-01T00:00:00Z' WHERE key = 3")
    marts.build(settings)
    assert rows(settings, "SELECT text, chars FROM notes ORDER BY text")[1:] == [("nul\0inside", 10), ("plain", 5)]
    (broken,) = rows(
        settings, "SELECT text, created_at, year(updated_at AT TIME ZONE 'UTC') FROM notes LIMIT 1 OFFSET 2"
    )
    assert broken[0].startswith("a\ufffdb")
    assert broken[1:] == (None, 1)


def test_moments_are_shown_in_the_zone_of_the_settings(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "note")
    with written(settings) as connection:
        connection.execute("UPDATE note SET created_at = '2026-11-24T20:00:00Z'")
    marts.build(settings)
    day = "SELECT created_at::VARCHAR, day(created_at) FROM notes"
    assert rows(settings, day) == [("2026-11-25 05:00:00+09", 25)]
    assert rows(settings, day, timezone="America/New_York") == [("2026-11-24 15:00:00-05", 24)]
    assert rows(settings, "SELECT created_at FROM notes")[0][0] == datetime(2026, 11, 24, 20, tzinfo=UTC)


def _with_events(settings: Settings) -> None:
    """A row of everything, for one space and for all."""
    at = "2026-11-24T08:00:00Z"
    with written(settings) as connection:
        for spaces, who in (('["guild:7"]', "guild:7"), (None, "user:1"), ('["guild:7", "user:1"]', "user:1")):
            connection.execute(
                "INSERT INTO search_event (at, who, spaces, query, mode, hits, milliseconds, degraded) "
                "VALUES (?, ?, ?, ?, 'hybrid', 2, 1.5, ?)",
                (at, who, spaces, f"{SECRET} query", 'no "model"\nbusy \\'),
            )
            connection.execute(
                "INSERT INTO question (at, spaces, text, mode, is_answered) VALUES (?, ?, ?, 'extract', 0)",
                (at, spaces, f"{SECRET}?"),
            )
            connection.execute(
                "INSERT INTO conversation VALUES (?, ?, ?, ?, 1, ?, 'answer', '[]', '', NULL)",
                (f"c{spaces}", at, who, spaces or "[]", f"{SECRET}?"),
            )
            connection.execute(
                "INSERT INTO ledger VALUES (?, ?, '2026-11-24', 'm', 'answer', ?, 10, 7, NULL)", (f"l{spaces}", at, who)
            )
        note = connection.execute("SELECT id FROM note ORDER BY key LIMIT 1").get
        connection.execute("INSERT INTO review_event (at, who, note_id, rating) VALUES (?, 'user:1', ?, 3)", (at, note))
        source = connection.execute("SELECT id FROM source ORDER BY id LIMIT 1").get
        connection.execute(
            "INSERT INTO failure VALUES (?, ?, 'not text', 0, 1, 1, 1, 1, ?, ?)", (source, f"{SECRET}.md", at, at)
        )


def test_events_are_told_as_they_were(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "note")
    _with_events(settings)
    marts.build(settings)
    found = rows(settings, "SELECT query, spaces, hits, milliseconds, degraded FROM events_search LIMIT 2")
    degraded = ['no "model"', "busy \\"]
    assert found == [
        (f"{SECRET} query", ["guild:7"], 2, 1.5, degraded),
        (f"{SECRET} query", None, 2, 1.5, degraded),
    ]
    assert rows(settings, "SELECT is_answered, spaces FROM questions LIMIT 1") == [(False, ["guild:7"])]
    assert rows(settings, "SELECT is_shared, is_useful FROM conversations LIMIT 1") == [(True, None)]
    assert rows(settings, "SELECT day, tokens, settled_at FROM ledger LIMIT 1")[0][1:] == (7, None)
    assert rows(settings, "SELECT rating, title FROM reviews JOIN notes USING (note_id)") == [(3, "note")]
    assert rows(settings, "SELECT path, stored FROM failures") == [(f"{SECRET}.md", False)]


def test_without_texts_no_word_of_anybody_is_told(tmp_path: Path) -> None:
    settings = begun(
        tmp_path / "data", f"# {SECRET} title\n\n## {SECRET} heading\n\nthe {SECRET} text [[{SECRET} link]]"
    )
    _with_events(settings)
    with_texts = marts.build(settings)
    assert _columns_with_the_secret(settings) >= {("notes", "text"), ("notes", "title"), ("chunks", "headings")}
    built = marts.build(settings, texts=False)
    assert built.counts == with_texts.counts
    assert _columns_with_the_secret(settings) == set()
    assert rows(settings, "SELECT title, text, words > 3, chars > 20 FROM notes") == [(None, None, True, True)]
    assert rows(settings, "SELECT texts FROM mart") == [(False,)]
    for file in built.folder.iterdir():  # compressed or not: what is not written cannot be in it
        assert SECRET.encode() not in file.read_bytes()


def _columns_with_the_secret(settings: Settings) -> set[tuple[str, str]]:
    found = set()
    with marts.connect(settings) as connection:
        for table in TABLES:
            for column in table.columns:
                query = f"SELECT count(*) FROM {table.name} WHERE contains({column.name}::VARCHAR, '{SECRET}')"
                if connection.sql(query).fetchall() != [(0,)]:
                    found.add((table.name, column.name))
    return found


def test_with_spaces_only_what_is_theirs_is_told(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "mine [[theirs]]")
    begun(tmp_path / "data", "theirs [[mine [[theirs]] #tag", space="guild:7")
    embed(settings)
    _with_events(settings)
    marts.build(settings)
    everything = {
        name: rows(settings, f"SELECT count(*) FROM {name}")[0][0] for name in ("notes", "embeddings", "ledger")
    }
    assert everything == {"notes": 2, "embeddings": 2, "ledger": 3}
    built = marts.build(settings, spaces={"guild:7"})
    assert rows(settings, "SELECT DISTINCT space FROM notes") == [("guild:7",)]
    counts = {"notes": 1, "chunks": 1, "embeddings": 1, "tags": 1, "events_search": 1, "questions": 1}
    counts |= {"conversations": 1, "ledger": 1, "reviews": 0, "failures": 0, "backups": 0, "volume": 0}
    assert {name: built.counts[name] for name in counts} == counts
    assert rows(settings, "SELECT count(*) FROM links WHERE to_note NOT IN (SELECT note_id FROM notes)") == [(0,)]
    assert rows(settings, "SELECT spaces FROM mart") == [(["guild:7"],)]
    with pytest.raises(UsageError, match="no space is given"):
        marts.build(settings, spaces=())


def test_vectors_are_told_by_model_and_those_of_the_live_one_by_chunk(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one", "two", "two")
    embed(settings)
    embed(settings, "other|model|6|search|1", 6)
    with written(settings) as connection:
        connection.execute("INSERT INTO meta VALUES ('live_model', 'made|up|4|search|1')")
        connection.execute("UPDATE embedding SET vector = zeroblob(8) WHERE model = 2 AND id = 4")
    built = marts.build(settings)
    assert built.counts["embeddings"] == 3
    assert any("1 vectors of other|model|6|search|1 are not of 6 numbers" in remark for remark in built.remarks)
    with marts.connect(settings) as connection:
        assert described(connection, "embeddings")[2] == ("vector", "FLOAT[4]")
        assert described(connection, "chunk_vectors")[-1] == ("vector", "FLOAT[4]")
        ids, matrix = marts.vectors(connection)
        assert ids.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(matrix, [[0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]])
        mart = marts.current(settings)
        assert mart is not None
        other = next(model for model in mart.models if not model.is_live)
        assert described(connection, f"embeddings_{other.model8}")[2] == ("vector", "FLOAT[6]")
        nearest = connection.sql(
            "SELECT b.chunk_id FROM chunk_vectors a, chunk_vectors b WHERE a.chunk_id = 2 AND b.chunk_id <> 2 "
            "ORDER BY array_cosine_similarity(a.vector, b.vector) DESC LIMIT 1"
        )
        assert nearest.fetchall() == [(3,)]


def test_words_are_counted_as_people_count_them() -> None:
    import pyarrow as pa

    counted = {
        "hello, big world": 3,
        "日本語 text3、です。": 6,
        "it’s café éa ça": 5,
        "日abc": 2,
        "가나 다": 2,
        "привет мир": 2,
        "": 0,
        "\0 x": 1,
        "…！？": 0,
    }
    # Side by side, so that one text cannot go on with the word of another.
    texts = [*counted, None, "a", "b"]
    assert count_words(pa.array(texts, pa.string())).to_pylist() == [*counted.values(), None, 1, 1]
    assert count_words(pa.array([], pa.string())).to_pylist() == []


def test_where_there_is_no_knowledge_base_or_no_package_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoKnowledgeBaseError):
        marts.build(settings_of(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"not_there, which is not installed: pip install 'nescordbot\[notebooks\]'"):
        refuse_without_packages("json", "not_there")


def test_large_texts_are_written_few_at_a_time_and_none_is_too_large(tmp_path: Path) -> None:
    table = next(each for each in TABLES if each.name == "questions")
    texts = ["x" * (size * 2**20) for size in (40, 30, 30, 3, 80, 0, 0)]
    assert exporting.export_rows(table, ({"text": text} for text in texts), tmp_path / "made.parquet") == len(texts)
    made = parquet.ParquetFile(tmp_path / "made.parquet")
    groups = [made.metadata.row_group(place).num_rows for place in range(made.num_row_groups)]
    assert groups == [1, 3, 1, 2]
    assert pc.utf8_length(made.read(["text"])["text"]).to_pylist() == [len(text) for text in texts]
