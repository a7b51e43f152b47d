"""`nescord marts build` and `nescord sql`: what is shown, and that a query can do nothing but read marts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest
from cli_runs import Done, in_terminal, ingested, nescord
from marts_world import begun, embed

from nescord import marts


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sql")
    data = ingested(folder)
    done = nescord("--data-dir", data, "marts", "build")
    assert done.code == 0, done.err
    return data


def _sql(data: Path, query: str, *options: str) -> Done:
    return nescord("--data-dir", data, "sql", query, *options)


def test_a_build_says_what_it_has_made(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    done = nescord("--data-dir", tmp_path / "data", "marts", "build")
    assert done.code == 0
    current = marts.current(settings)
    assert current is not None
    assert done.out.startswith(f"built {current.generation}: 1 notes, 1 chunks, ")
    assert done.err.startswith("note: runs of flows since the beginning are missing: there is no Prefect server")
    done = nescord("--data-dir", tmp_path / "data", "marts", "build", "--no-texts", "--space", "personal", "--json")
    document = done.document
    assert isinstance(document, dict)
    assert {"generation", "folder", "counts", "bytes", "seconds", "remarks"} == document.keys()
    assert _sql(tmp_path / "data", "SELECT title, texts, spaces FROM notes, mart").out == '\tFalse\t["personal"]\n'


def test_rows_are_lines_with_tabs_when_piped(data: Path) -> None:
    done = _sql(data, "SELECT path, tags, words > 3 FROM notes WHERE lang = 'ja' OR path LIKE '%Tea.md' ORDER BY path")
    assert (done.code, done.err) == (0, "")
    assert done.out == 'Kitchen/Tea.md\t["tea"]\tTrue\n珈琲.md\t["coffee"]\tTrue\n'


def test_a_terminal_gets_a_table_that_no_note_can_break(data: Path) -> None:
    shown = in_terminal("--data-dir", data, "sql", "SELECT title, note_id FROM notes WHERE path = 'hostile.md'").out
    assert "title" in shown
    assert "Title �[31mred�[0m" in shown
    plain = _sql(data, "SELECT text FROM notes WHERE path = 'hostile.md'", "--csv").out
    assert "\x1b" not in plain + shown.replace("\x1b[2m", "").replace("\x1b[0m", "")


def test_json_holds_what_scripts_can_use(data: Path) -> None:
    query = (
        "SELECT 1 AS a, 2 AS a, true AS yes, NULL AS none, 'nan'::DOUBLE AS nan, 1.5::DECIMAL(5, 2) AS d, [1, 2] AS l, "
        "{'k': 'v'} AS s, '\\x00\\xFF'::BLOB AS b, TIMESTAMPTZ '2026-11-24 08:00:00Z' AS moment, "
        "DATE '2026-11-24' AS day, INTERVAL 25 HOUR AS lasted, sum(3) AS total FROM notes"
    )
    assert _sql(data, query, "--json").document == [
        {
            "a": 1,
            "a_2": 2,
            "yes": True,
            "none": None,
            "nan": None,
            "d": 1.5,
            "l": [1, 2],
            "s": {"k": "v"},
            "b": "00ff",
            "moment": "2026-11-24T17:00:00+09:00",
            "day": "2026-11-24",
            "lasted": "25:00:00",
            "total": 12,
        }
    ]
    assert _sql(data, "SELECT * FROM notes WHERE false", "--json").document == []


def test_csv_is_read_back_as_it_was(data: Path) -> None:
    done = _sql(data, "SELECT path, text, trashed_at FROM notes WHERE lang = 'ja'", "--csv")
    found = list(csv.reader(io.StringIO(done.out)))
    assert found == [
        ["path", "text", "trashed_at"],
        ["珈琲.md", "# 珈琲の淹れ方\n\n湯は九十度。粉は二十グラム。 #coffee\n", ""],
    ]
    assert _sql(data, "SELECT 1", "--csv", "--json").code == 2


def test_moments_are_those_of_the_zone_in_the_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "SELECT TIMESTAMPTZ '2026-11-24 20:00:00Z' AS moment, day(TIMESTAMPTZ '2026-11-24 20:00:00Z')"
    assert _sql(data, query).out == "2026-11-25 05:00:00+09:00\t25\n"
    monkeypatch.setenv("NESCORD_TZ", "America/New_York")
    assert _sql(data, query).out == "2026-11-24 15:00:00-05:00\t24\n"


def test_a_vector_is_shortened_for_people_and_whole_for_scripts(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "one")
    embed(settings, dims=9)
    marts.build(settings)
    query = "SELECT vector FROM chunk_vectors"
    assert _sql(tmp_path / "data", query).out == "[0, 1, 2, 3, 4, 5, … 9 numbers]\n"
    assert _sql(tmp_path / "data", query, "--json").document == [{"vector": [float(each) for each in range(9)]}]
    assert json.loads(next(csv.DictReader(io.StringIO(_sql(tmp_path / "data", query, "--csv").out)))["vector"])[8] == 8


def test_what_is_wrong_with_a_query_is_said_in_one_line(data: Path) -> None:
    for query, said in {
        "SELECT nope FROM notes": 'nescord: Binder Error: Referenced column "nope" not found in FROM clause!',
        "SELEC 1": "nescord: Parser Error: syntax error",
        "SELECT * FROM note": "nescord: Catalog Error: Table with name note does not exist! Did you mean",
        "SELECT text::INT FROM notes": "nescord: Conversion Error: Could not convert string '# ",
        "SELECT CASE WHEN i > 9000 THEN error('late') END FROM range(9999) t(i)": "nescord: Invalid Input Error: late",
        "": "nescord: the query must be one SELECT",
    }.items():
        done = _sql(data, query)
        assert done.code == 2, query
        assert done.err.startswith(said)
        assert done.err.count("\n") == 1
        assert done.out == "" or "9999" in query
        assert "error" in json.loads(_sql(data, query, "--json").out)


def test_tables_are_found_however_a_query_names_them(data: Path) -> None:
    for query in (
        "FROM notes SELECT count(*)",
        'SELECT count(*) FROM "Notes"',
        "SELECT (SELECT count(*) FROM memory.main.NOTES)",
        "WITH x AS (FROM notes) SELECT count(*) FROM x",
        "SELECT count(*) FROM query('FROM notes')",
        "SELECT count(*) FROM notes SEMI JOIN chunks USING (note_id)",
        "SELECT count(*) FROM chunk_vectors RIGHT JOIN notes USING (note_id)",
    ):
        done = _sql(data, query)
        assert (done.out, done.err) == ("4\n", ""), query
    assert _sql(data, "DESCRIBE notes").out.startswith("note_id\tVARCHAR")
    assert _sql(data, "SUMMARIZE notes").out.startswith("note_id\tVARCHAR")
    assert "chunk_vectors\n" in _sql(data, "SELECT table_name FROM information_schema.tables").out


def test_where_there_are_no_marts_it_is_said_how_to_make_some(tmp_path: Path) -> None:
    begun(tmp_path / "data", "one")
    done = _sql(tmp_path / "data", "SELECT 1")
    assert (done.code, done.out) == (2, "")
    assert "make them with nescord marts build" in done.err


def _content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_query_can_read_nothing_else_and_change_nothing(data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("secret,word\n1,2\n")
    mart = marts.current(data)
    assert mart is not None
    old = str(mart.file("notes"))
    before = _content(data)
    refused = "the query must be one SELECT"
    closed = "Permission Error"
    for query, said in {
        f"SELECT * FROM read_csv('{outside}')": closed,
        f"SELECT * FROM '{outside}'": closed,
        f"SELECT * FROM read_text('{outside}')": closed,
        f"SELECT * FROM read_blob('{data / 'nescordbot.db'}')": closed,
        f"SELECT * FROM sniff_csv('{outside}')": closed,
        f"SELECT * FROM glob('{tmp_path}/*')": closed,
        f"SELECT * FROM read_json('{data / 'identity.json'}')": closed,
        f"SELECT * FROM parquet_metadata('{outside}')": closed,
        "SELECT * FROM which_secret('a', 's3')": closed,
        f"SELECT * FROM read_parquet('{old}/../../../nescordbot.db')": closed,
        f"COPY notes TO '{tmp_path / 'out.csv'}'": refused,
        f"COPY (SELECT 1) TO '{old}' (FORMAT parquet, USE_TMP_FILE false)": refused,
        f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{old}' (FORMAT parquet, USE_TMP_FILE false)": refused,
        f"SELECT * FROM query('COPY (SELECT 1) TO ''{old}'' (USE_TMP_FILE false)')": "Expected a single SELECT",
        f"WITH x AS (COPY (SELECT 1) TO '{old}' (FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM x, notes": closed,
        f"WITH x AS (COPY notes TO '{tmp_path / 'out.csv'}') SELECT * FROM x": closed,
        f"SELECT * FROM read_parquet('{old}')": closed,
        "SELECT * FROM query('FROM ' || 'no' || 'tes')": closed,
        f"EXPORT DATABASE '{tmp_path / 'out'}'": refused,
        f"IMPORT DATABASE '{tmp_path}'": refused,
        f"ATTACH '{tmp_path / 'new.db'}'": refused,
        "INSTALL httpfs": refused,
        "LOAD sqlite": refused,
        "SET enable_external_access = true": refused,
        "RESET lock_configuration": refused,
        "PRAGMA database_list": refused,
        "CALL enable_logging('storage')": refused,
        "DROP VIEW notes": refused,
        "CREATE TABLE t AS SELECT 1": refused,
        "PREPARE p AS SELECT 1": refused,
        "SELECT 1; DROP VIEW notes": refused,
        "SELECT 1; SELECT 2": refused,
    }.items():
        done = _sql(data, query)
        assert done.code == 2, query
        assert said in done.err, (query, done.err)
    assert _content(data) == before
    assert list(tmp_path.iterdir()) == [outside]


def test_the_lock_holds_also_where_only_the_statement_stands_in_the_way(data: Path) -> None:
    """What `sql` refuses by its kind is refused by DuckDB as well."""
    import duckdb

    with marts.connect_locked(data) as connection:
        for statement in (
            "SET enable_external_access = true",
            "SET allowed_paths = ['/']",
            "ATTACH 'x.db'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "COPY (SELECT 1) TO 'x.csv'",
        ):
            with pytest.raises(duckdb.Error, match=r"disabled|locked"):
                connection.execute(statement)
    assert not Path("x.csv").exists()
