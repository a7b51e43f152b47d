"""Golden queries of a person's own: read, asked in a child process, remembered without a word of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord import KnowledgeManager, Settings
from nescord.errors import NescordError, UsageError
from nescord.reports import golden
from nescord.reports.golden import Run
from tests.maintain_world import raw
from tests.vaults import SAMPLE, open_base, write_notes


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    notes = {
        "Coffee.md": "# Coffee\n\nTwenty grams, water of ninety degrees.\n",
        "珈琲.md": "# 珈琲の淹れ方\n\n湯は九十度。粉は二十グラム。\n",
        "Tea.md": "# Tea\n\nGreen tea likes seventy degrees.\n",
    }
    write_notes(tmp_path / "vault", notes)
    return tmp_path / "vault"


@pytest.fixture
def km(tmp_path: Path, vault: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "data", vector="exact") as made:
        made.ingest(vault)
        yield made


def write(folder: Path, *rows: object) -> Path:
    file = folder / golden.NAME
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def asked(km: KnowledgeManager, **settings: object) -> Run:
    found = golden.ask(Settings(**{"data_dir": km.folder.path, "embedder": "none", "vector": "exact", **settings}))
    assert found is not None
    return found


def test_a_file_of_the_data_folder_counts_before_that_of_a_vault(tmp_path: Path) -> None:
    data, first, second = (tmp_path / name for name in ("data", "first", "second"))
    for folder in (data, first, second):
        folder.mkdir()
    assert golden.find_file(data, [first, second]) is None
    write(second)
    assert golden.find_file(data, [first, second]) == second / golden.NAME
    write(data)
    assert golden.find_file(data, [first, second]) == data / golden.NAME


def test_the_golden_queries_of_the_sample_can_be_read_as_anybodys() -> None:
    queries = golden.load(SAMPLE / golden.NAME)
    assert len(queries) >= 90
    assert {each.kind for each in queries} == {"keyword", "paraphrase", "cross", "unanswerable"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 2: is not JSON"),
        ('["a"]', 'line 2: has no "query"'),
        ('{"query": " ", "expected": []}', 'line 2: has no "query"'),
        ('{"query": "a"}', 'line 2: has no list "expected"'),
        ('{"query": "a", "expected": [1]}', 'line 2: has no list "expected"'),
        ('{"query": "a", "expected": [], "lang": 3}', "must be text"),
    ],
)
def test_a_line_that_is_no_golden_query_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / golden.NAME
    file.write_text(f"\n{text}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=why):
        golden.load(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        golden.load(file)


def test_paths_are_compared_after_nfc_and_a_query_may_hold_any_line_separator(tmp_path: Path) -> None:
    file = tmp_path / golden.NAME
    decomposed = "カ\u3099.md"
    file.write_text('{"query": "a\u2028b", "expected": ["' + decomposed + '"]}\n', encoding="utf-8")
    [query] = golden.load(file)
    assert (query.query, query.expected) == ("a\u2028b", ("ガ.md",))


def test_notes_are_expected_by_path_or_by_id_and_ranks_are_those_of_search(km: KnowledgeManager, vault: Path) -> None:
    tea = km.note("Tea.md").id
    write(
        vault,
        {"id": "t", "query": "degrees", "expected": [tea, "Coffee.md"]},
        {"id": "k", "query": "九十度", "expected": ["珈琲.md"]},
        {"id": "x", "query": "ninety degrees", "expected": ["珈琲.md"]},
        {"id": "no", "query": "grinder", "expected": []},
    )
    run = asked(km)
    assert [(each.id, each.group, each.expected) for each in run.queries] == [
        ("t", "en", 2),
        ("k", "ja", 1),
        ("x", "across", 1),
        ("no", "unanswerable", 0),
    ]
    assert [each.ranks["keyword"] for each in run.queries] == [(1, 2), (1,), (), ()]
    assert run.queries[3].silent["keyword"]
    assert not run.queries[0].silent["keyword"]
    assert run.notes == 3
    # Without a model, what was asked by meaning was answered by words: that is no figure of the other modes.
    assert set(run.queries[0].ranks) == {"keyword"}
    assert any("NESCORD_EMBEDDER=none" in remark for remark in run.remarks)


def test_what_a_report_asks_is_no_search_of_a_person(km: KnowledgeManager, vault: Path) -> None:
    write(vault, {"query": "coffee", "expected": ["Coffee.md"]})
    asked(km)
    assert raw(km.folder.path, "SELECT count(*) FROM search_event") == [(0,)]


def test_an_expected_note_that_is_not_there_is_told(km: KnowledgeManager, vault: Path) -> None:
    write(vault, {"id": "g", "query": "coffee", "expected": ["Gone.md"]})
    run = asked(km)
    assert any('"g"' in remark and "not there" in remark for remark in run.remarks)
    assert run.queries[0].ranks["keyword"] == ()


def test_runs_are_remembered_without_a_word_of_queries_or_notes(km: KnowledgeManager, vault: Path) -> None:
    write(vault, {"id": "1", "query": "九十度 secret-word", "expected": ["珈琲.md"]})
    first, second = asked(km), asked(km)
    kept = (km.folder.run / golden.NAME).read_text(encoding="utf-8")
    assert "secret-word" not in kept
    assert "\\u73c8" not in kept  # 珈
    assert golden.history(km.folder.path) == [first, second]
    assert first.fingerprint == second.fingerprint != ""
    write(vault, {"query": "other", "expected": []})
    assert asked(km).fingerprint != first.fingerprint


def test_only_the_newest_runs_stay_and_what_is_broken_is_passed_over(
    km: KnowledgeManager, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MOST_RUNS", 3)
    write(vault, {"query": "coffee", "expected": ["Coffee.md"]})
    file = km.folder.run / golden.NAME
    file.write_bytes(b'{"at": \n[]\n{"at": "2020", "queries": [{}]}\n')
    runs = [asked(km) for _ in range(4)]
    assert len(file.read_bytes().splitlines()) == 3
    assert golden.history(km.folder.path) == runs[-3:]


def test_a_file_that_cannot_be_used_is_remembered_as_the_problem(km: KnowledgeManager, vault: Path) -> None:
    (vault / golden.NAME).write_text("{", encoding="utf-8")
    run = asked(km)
    assert "line 1" in run.problem
    assert golden.history(km.folder.path)[-1].problem == run.problem


def test_a_child_asks_and_without_a_file_there_is_nothing_to_ask(
    km: KnowledgeManager, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESCORD_VECTOR", "exact")
    assert golden.ask_in_child(km.folder) is None
    write(vault, {"query": "coffee", "expected": ["Coffee.md"]})
    run = golden.ask_in_child(km.folder)
    assert run is not None
    assert run.queries[0].ranks["keyword"] == (1,)


def test_a_child_that_fails_or_takes_too_long_is_told(km: KnowledgeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NescordError, match="not answered within"):
        golden.ask_in_child(km.folder, patience=0.01)
    monkeypatch.setenv("NESCORD_TZ", "Nowhere/Land")
    with pytest.raises(NescordError, match="NESCORD_TZ"):
        golden.ask_in_child(km.folder)


def test_the_weight_that_is_set_gives_in_the_sweep_what_search_gives(tmp_path: Path) -> None:
    with open_base(tmp_path / "data", embedder="local", vector="exact", hybrid_search_alpha=0.4) as km:
        km.ingest(SAMPLE / "vault")
        rows = [json.loads(line) for line in (SAMPLE / golden.NAME).read_text(encoding="utf-8").splitlines()[::5]]
        write(km.folder.path, *rows)
        run = asked(km, embedder="local", hybrid_search_alpha=0.4)
    at = run.alphas.index(0.4)
    answerable = [each for each in run.queries if each.expected]
    assert len(answerable) >= 15
    assert [each.sweep[at] for each in answerable] == [each.ranks["hybrid"] for each in answerable]
    assert {each.group for each in run.queries} == {"ja", "en", "across", "unanswerable"}
    assert any(each.sweep[0] != each.sweep[-1] for each in answerable)
    assert not run.remarks
