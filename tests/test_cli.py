"""The `nescord` command, run as people and scripts run it: what it prints where, and with which exit code it leaves."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest
from cli_runs import NOTES, Done, in_process, ingested, nescord, write_notes

from nescord.catalog.status import Status
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.notes import IngestReport
from nescord.settings import Settings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base with NOTES from a vault named "vault"; tests only read it."""
    return ingested(tmp_path_factory.mktemp("base"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A vault of the test's own, beside which a data folder may appear."""
    return write_notes(tmp_path / "vault", NOTES)


def keys(document: object) -> list[str]:
    assert isinstance(document, list)
    return list(document[0])


# --- beginning ---


def test_what_begins_a_knowledge_base_says_so_once(tmp_path: Path) -> None:
    first, again = in_process("init"), in_process("init", "--json")
    assert (first.code, first.out) == (0, "")
    assert first.err == f"new knowledge base at {tmp_path}/data/state\n"
    assert again.document == {"path": f"{tmp_path}/data/state", "new": False}
    assert "new knowledge base" not in again.err
    assert "new knowledge base" not in in_process("capture", "a thought").err


def test_capture_begins_a_knowledge_base_and_what_it_keeps_is_found(tmp_path: Path) -> None:
    kept = nescord("capture", "--json", "梅干しの塩は", "18%", "--author", "mio", "--source", "https://discord.com/x")
    assert f"new knowledge base at {tmp_path}" in kept.err
    assert kept.document["title"] == "梅干しの塩は 18%"
    [hit] = nescord("search", "梅干し", "--json").document
    assert (hit["note_id"], hit["link"]) == (kept.document["note_id"], "https://discord.com/x")


def test_capture_takes_standard_input_in_the_encoding_it_has() -> None:
    assert in_process("capture", given="議事録: 来週は休み\n".encode("cp932")).code == 0
    assert in_process("capture", "-", given="第二の覚え書き".encode()).code == 0
    assert len(in_process("search", "--json", "休み").document) == 1
    assert len(in_process("search", "--json", "第二").document) == 1
    nothing = in_process("capture", given=b" \n")
    assert (nothing.code, nothing.err) == (2, "nescord: there is nothing to capture: the text is empty\n")


def test_without_a_knowledge_base_questions_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for command in (["search", "tea"], ["status"], ["source", "list"]):
        refused = in_process(*command)
        assert refused.code == 2
        assert refused.err == (
            f'nescord: no knowledge base at {tmp_path}/data/state: create one with "nescord init" '
            'or "nescord ingest VAULT"\n'
        )
    assert list(tmp_path.iterdir()) == []


def test_a_lost_database_is_refused_until_one_starts_anew(tmp_path: Path) -> None:
    nescord("init")
    (tmp_path / "data/state/nescordbot.db").unlink()
    lost = nescord("search", "tea")
    assert lost.code == 1
    assert "nescord init --new" in lost.err
    assert nescord("init", "--new").code == 0
    assert nescord("status", "--json").document["notes"] == 0


# --- ingest ---


def test_ingest_prints_the_whole_report_as_json(own: Path) -> None:
    (own / "broken.md").write_bytes(b"\x89PNG\r\n not a note")
    first, second = in_process("ingest", own, "--json"), in_process("--json", "ingest", own)
    assert set(first.document) == {field.name for field in fields(IngestReport)}
    assert (first.document["added"], first.document["failed"], first.document["source"]) == (4, 1, "vault")
    assert "failed: broken.md: " in first.err
    assert (second.document["unchanged"], second.document["added"]) == (4, 0)
    assert (first.code, second.code) == (0, 0)


def test_a_dry_run_lists_what_would_change_and_changes_nothing(own: Path) -> None:
    write_notes(own, {f"Many/{number}.md": f"note {number}" for number in range(30)})
    dry = nescord("ingest", own, "--dry-run")
    assert dry.out.count("+ Many/") == 30
    assert "vault: would be: added 34, unchanged 0\n" in dry.out
    assert nescord("status", "--json").document["notes"] == 0


def test_ingest_lists_twenty_changes_and_counts_the_rest(own: Path) -> None:
    write_notes(own, {f"Many/{number}.md": f"note {number}" for number in range(30)})
    done = nescord("ingest", own)
    assert done.out.count("\n+ ") + 1 == 20
    assert "\nand 14 more\n" in done.out
    assert re.search(r"\nvault, \d+\.\d s: added 34, unchanged 0\n$", done.out)


def test_a_rename_shows_both_names(own: Path) -> None:
    nescord("ingest", own)
    (own / "Kitchen/Tea.md").rename(own / "Green Tea.md")
    assert "> Green Tea.md  (was Kitchen/Tea.md)\n" in nescord("ingest", own).out


def test_a_mass_deletion_is_withheld_loudly_until_it_is_asked_for(own: Path) -> None:
    nescord("ingest", own)
    for note in (own / "Kitchen").iterdir():
        note.unlink()
    withheld = nescord("ingest", own, "--json")
    assert (withheld.document["withheld"], withheld.document["deleted"]) == (2, 0)
    assert "WARNING: nothing was deleted: " in withheld.err
    assert "--allow-mass-delete" in withheld.err
    assert nescord("ingest", own, "--json", "--allow-mass-delete").document["deleted"] == 2


def test_a_vault_may_move_or_share_its_name(own: Path, tmp_path: Path) -> None:
    nescord("ingest", own)
    moved = tmp_path / "elsewhere" / "vault"
    moved.parent.mkdir()
    own.rename(moved)
    unclear = nescord("ingest", moved)
    assert unclear.code == 2
    assert "--same" in unclear.err
    assert nescord("ingest", moved, "--same", "--json").document["unchanged"] == 4
    other = write_notes(tmp_path / "vault", {"other.md": "another vault"})
    assert nescord("ingest", other, "--as", "second", "--json").document["source"] == "second"


def test_ingest_reads_the_vault_that_is_set_and_asks_for_one_otherwise(own: Path) -> None:
    assert in_process("ingest", "--json", env={"NESCORD_VAULT": str(own)}).document["added"] == 4
    missing = in_process("ingest")
    assert missing.code == 2
    wanted = "set NESCORD_VAULT or NESCORD_VAULT_GIT_URL"
    assert missing.err == f"nescord: no vault named: nescord ingest VAULT, or {wanted}\n"


def test_ingest_waits_no_longer_than_it_may_for_another_one(base: Path) -> None:
    with Locks(DataFolder.at(Settings(data_dir=base)).run, timeout=0).exclusive(LockName.INGEST):
        held = in_process("--data-dir", base, "ingest", base.parent / "vault", env={"NESCORD_LOCK_TIMEOUT": "0.1"})
    assert held.code == 69
    assert f"pid {os.getpid()}" in held.err


# --- search and show ---


def test_search_prints_hits_for_scripts(base: Path) -> None:
    found = nescord("search", "珈琲", "--json", "--data-dir", base)
    assert keys(found.document) == [
        *("note_id", "path", "title", "heading", "snippet", "score"),
        *("link", "source", "lang", "created_at", "updated_at", "marks"),
        *("keyword_score", "vector_score", "weak"),
    ]
    assert "珈琲" in found.out, "characters as they are, not as escapes"
    hit = found.document[0]
    start, end = hit["marks"][0]
    assert hit["snippet"][start:end] == "珈琲"


def test_search_prints_plain_lines_when_piped(base: Path) -> None:
    found = in_process("--data-dir", base, "search", "seventy", "degrees")
    title, path, snippet, empty = found.out.splitlines()
    assert title.startswith("Tea  ")
    assert path == "  Kitchen/Tea.md  › Tea"
    assert "Green tea likes seventy degrees." in snippet
    assert empty == ""
    assert "\x1b" not in found.out


def test_what_nothing_answers_leaves_with_one(base: Path) -> None:
    by_words = ("--data-dir", base, "search", "--mode", "keyword", "zebra")
    assert in_process(*by_words) == Done(1, "", "nothing found\n")
    assert in_process(*by_words, "--json") == Done(1, "[]\n", "nothing found\n")
    unknown = in_process("--data-dir", base, "show", "zebra", "--json")
    assert unknown.code == 1
    assert unknown.document == {"error": 'no note "zebra": name its id, its path, its title or what a link calls it'}


def test_search_is_narrowed_by_options(base: Path) -> None:
    def paths(*arguments: str) -> set[str]:
        found = nescord("--data-dir", base, "search", "--json", *arguments)
        return {hit["path"] for hit in found.document}

    assert paths("tea") == {"Kitchen/Tea.md", "Kitchen/Scales.md"}
    assert paths("tea", "--tag", "tea") == {"Kitchen/Tea.md"}
    assert paths("--tag", "coffee") == {"珈琲.md"}
    assert paths("tea", "--source", "vault", "--kind", "permanent", "--after", "2000", "--limit", "1") <= paths("tea")
    assert paths("tea", "--before", "2000") == set()
    assert paths("tea", "--kind", "fleeting") == set()


def test_words_are_excluded_with_a_minus(base: Path) -> None:
    excluded = nescord("--data-dir", base, "search", "--json", "tea -coffee")
    assert [hit["path"] for hit in excluded.document] == ["Kitchen/Tea.md"]
    first = nescord("--data-dir", base, "search", "--json", "--", "-coffee", "tea")
    assert [hit["path"] for hit in first.document] == ["Kitchen/Tea.md"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["search"], "nothing to search for"),
        (["search", "tea", "--limit", "0"], "limit 0 is out of range"),
        (["search", "tea", "--limit", "x"], "--limit"),
        (["search", "tea", "--mode", "psychic"], 'mode "psychic" is not known'),
        (["search", "after:yesteryear"], "after:yesteryear is not a date"),
        (["serch"], "No such command 'serch'"),
        (["source", "remove", "nowhere"], 'no vault "nowhere"'),
        (["note", "restore", "nothing"], 'no note "nothing"'),
        (["status", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_what_cannot_be_asked_leaves_with_two_and_one_line(base: Path, arguments: list[str], complaint: str) -> None:
    refused = nescord("--data-dir", base, *arguments, "--json")
    assert refused.code == 2
    assert refused.err.startswith("nescord: ")
    assert refused.err.count("\n") == 1
    assert complaint in refused.err
    assert refused.err == f"nescord: {refused.document['error']}\n"


def test_show_prints_the_note_as_it_is(base: Path) -> None:
    shown = nescord("--data-dir", base, "show", "Tea")
    assert shown.code == 0
    assert shown.out.startswith("Tea\npath: Kitchen/Tea.md\nsource: vault\nid: ")
    assert "\ntags: #tea\n" in shown.out
    assert "\nlinks to: 珈琲\nlinks to no note: Nowhere\n" in shown.out
    assert shown.out.endswith("\n\n# Tea\n\nGreen tea likes seventy degrees. [[珈琲]] [[Nowhere]]\n")
    document = nescord("--data-dir", base, "show", "Kitchen/Tea.md", "--json").document
    assert (document["title"], document["front_matter"], document["tags"]) == ("Tea", {"tags": ["tea"]}, ["tea"])


# --- what is there ---


def test_status_counts_for_scripts_and_people(base: Path) -> None:
    counted = nescord("status", "--json", "--data-dir", base).document
    meaning = {"embeddings", "pending", "behind", "refused", "put_aside", "index", "model_key", "second", "degraded"}
    assert set(counted) == {field.name for field in fields(Status)} | meaning
    assert (counted["notes"], counted["failed"], counted["sources"]) == (4, 0, 1)
    assert re.search(r"^notes\t4 \(.*ja 1.*\)$", nescord("status", "--data-dir", base).out, re.MULTILINE)


def test_failures_say_which_file_and_why(own: Path) -> None:
    (own / "broken.md").write_bytes(b"\x89PNG\r\n not a note")
    nescord("ingest", own)
    [failure] = nescord("failures", "--json").document
    assert list(failure) == ["path", "reason", "source", "stored", "first_seen", "last_seen"]
    assert (failure["path"], failure["stored"]) == ("broken.md", False)
    assert nescord("failures").out == f"vault/broken.md  not stored: {failure['reason']}\n"
    (own / "broken.md").unlink()
    nescord("ingest", own)
    assert nescord("failures").out == "no file failed\n"


def test_sources_are_listed_moved_and_removed_and_notes_come_back(own: Path, tmp_path: Path) -> None:
    nescord("ingest", own)
    note_id = nescord("show", "Tea", "--json").document["id"]
    elsewhere = tmp_path / "elsewhere"
    own.rename(elsewhere)
    assert nescord("source", "move", "vault", elsewhere).out == f'the vault "vault" is at {elsewhere} now\n'
    [source] = nescord("source", "list", "--json").document
    assert (source["name"], source["root"]) == ("vault", str(elsewhere))
    assert nescord("source", "list").out.startswith(f"vault\tfolder\t{elsewhere}\tpersonal\t")
    assert nescord("source", "remove", "vault", "--json").document == {"name": "vault", "trashed": 4}
    assert nescord("search", "tea").code == 1
    assert note_id in [note["note_id"] for note in nescord("note", "trash", "--json").document]
    assert nescord("note", "restore", note_id, "--json").document["owner"] == "us"
    assert nescord("search", "tea").code == 0
    assert nescord("note", "restore", note_id).code == 2


def test_config_shows_every_setting_with_its_origin_and_no_secret(base: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NESCORD_TZ=Europe/Berlin\n", encoding="utf-8")
    env = {"GEMINI_API_KEY": "sesame-123", "PKM_MAX_RESULTS": "7"}
    shown = in_process("config", "--json", "--data-dir", base, env=env)
    rows = {row["name"]: (row["value"], row["from"]) for row in shown.document}
    assert set(rows) == {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert rows["GEMINI_API_KEY"] == ("set", "environment")
    assert rows["PKM_MAX_RESULTS"] == ("7", "environment")
    assert rows["NESCORD_TZ"] == ("Europe/Berlin", ".env")
    assert rows["NESCORD_DATA_DIR"] == (str(base), "--data-dir")
    assert rows["NESCORD_VAULT"] == (None, "default")
    assert "sesame" not in shown.out + shown.err


def test_the_doctor_tells_all_but_secrets(base: Path) -> None:
    seen = in_process("doctor", "--data-dir", base, env={"GEMINI_API_KEY": "sesame-123"})
    assert seen.code == 0, seen.out
    for needed in ("python: 3.", "sqlite: 3.", "prefect: ", f"data folder: {base}", "GEMINI_API_KEY: set", "uuid: "):
        assert needed in seen.out
    assert "FAILED" not in seen.out
    assert "sesame" not in seen.out + seen.err


def test_the_doctor_comes_also_where_nothing_works(tmp_path: Path) -> None:
    healthy = in_process("doctor", "--json")
    assert healthy.code == 0
    assert {"name": "full-text search", "ok": True, "message": "SQLite has FTS5 with contentless_delete"} in (
        healthy.document["checks"]
    )
    assert list(tmp_path.iterdir()) == []
    badly_set = in_process("doctor", env={"PKM_MAX_RESULTS": "1000"})
    assert badly_set.code == 1
    assert "  FAILED settings: PKM_MAX_RESULTS is '1000': must be a whole number from 1 to 100\n" in badly_set.out
    in_process("init")
    (tmp_path / "data/state/nescordbot.db").write_bytes(b"not a database at all" * 99)
    broken = in_process("doctor")
    assert broken.code == 1
    assert "  FAILED database: " in broken.out


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"nescord \d+\.\d+\.\d+\n", in_process("--version").out)
