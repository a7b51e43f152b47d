"""The commands of what is known about notes: what they print, in words and in JSON, and how they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import nescord
from knowing_world import VAULT
from vaults import write_notes

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base of VAULT without vectors; tests only read it."""
    folder = tmp_path_factory.mktemp("knowing")
    write_notes(folder / "vault", VAULT)
    assert nescord("--data-dir", folder / "state", "ingest", folder / "vault").code == 0
    return folder / "state"


def test_links_are_shown_as_they_are_written(base: Path) -> None:
    shown = nescord("--data-dir", base, "links", "台所/梅干し.md")
    assert (shown.code, shown.out) == (0, "[[赤紫蘇]]  named: 赤紫蘇\n  台所/赤紫蘇.md\n")
    assert "embedding is switched off" in shown.err
    [one] = nescord("--data-dir", base, "links", "台所/梅干し.md", "--json").document
    assert (one["name"], one["reason"], one["path"]) == ("赤紫蘇", "mentioned", "台所/赤紫蘇.md")
    nothing = nescord("--data-dir", base, "links", "Alone")
    assert (nothing.code, nothing.out) == (1, "")


def test_tags_are_shown_with_their_reasons(base: Path) -> None:
    shown = nescord("--data-dir", base, "tags", "Grinder", "--no-model")
    assert "  a word of it, new\n" in shown.out
    assert "model" not in shown.err
    assert "no model to answer with" in nescord("--data-dir", base, "tags", "Grinder").err
    keys = {"tag", "score", "reason", "used_by", "is_new"}
    assert set(nescord("--data-dir", base, "tags", "Grinder", "--json").document[0]) == keys


def test_a_summary_shows_where_each_sentence_stands(base: Path) -> None:
    shown = nescord("--data-dir", base, "summarize", "台所/梅干し.md")
    assert "  梅干しの塩分は十八パーセント。\n    台所/梅干し.md\n" in shown.out
    assert "no model to answer with" in shown.err
    document = nescord("--data-dir", base, "summarize", "--period", "2020..2099", "--json").document
    assert document["mode"] == "extractive"
    assert len(document["passages"]) > 3
    for wrong in ((), ("Home", "--period", "week")):
        assert nescord("--data-dir", base, "summarize", *wrong).code == 2


def test_a_review_lists_notes_tasks_and_sentences(base: Path) -> None:
    shown = nescord("--data-dir", base, "review", "2020..2099")
    assert f"2020..2099: {len(VAULT)} notes written, 0 older ones changed\n" in shown.out
    assert "still to do:\n" in shown.out
    assert "苗を植える" in shown.out
    nothing = nescord("--data-dir", base, "review", "1999", "--json")
    assert (nothing.code, nothing.document["written"]) == (1, [])
    wrong = nescord("--data-dir", base, "review", "soon")
    assert (wrong.code, "soon is no period" in wrong.err) == (2, True)


def test_duplicates_say_what_was_not_compared(base: Path) -> None:
    shown = nescord("--data-dir", base, "duplicates", "--minimum", "0.5")
    assert "only notes that have a whole passage in common were compared" in shown.err
    assert nescord("--data-dir", base, "duplicates", "--minimum", "0.4").code == 2


def test_the_graph_and_the_way_between_two_notes(base: Path) -> None:
    shown = nescord("--data-dir", base, "graph")
    assert shown.out.startswith("9 notes, 5 links between them in 1 parts; 5 notes without links; 1 links to notes")
    assert "[[Nowhere]]" in shown.out
    way = nescord("--data-dir", base, "graph", "--between", "赤紫蘇", "Grinder")
    assert [line.strip().split("  ")[0] for line in way.out.splitlines()] == ["赤紫蘇", "Home", "Grinder"]
    assert nescord("--data-dir", base, "graph", "--between", "Alone", "Grinder").code == 1


def test_notes_are_merged_and_come_apart_again() -> None:
    first, second = (nescord("capture", text, "--json").document["note_id"] for text in ("湯は七十度", "one minute"))
    asked = nescord("merge", first, second)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    merged = nescord("merge", first, second, "--yes", "--json")
    assert merged.document == {"note_id": first, "merged": [second], "links": 0, "repeated": 0}
    assert "one minute" in nescord("show", first).out
    undone = nescord("merge", first, "--undo")
    assert undone.out == "taken back: 1 notes are notes of their own again\n"
    assert "one minute" not in nescord("show", first).out
    again = nescord("merge", first, "--undo")
    assert (again.code, "nothing was merged into" in again.err) == (2, True)


def test_a_note_of_a_vault_is_not_merged(base: Path) -> None:
    refused = nescord("--data-dir", base, "merge", "Home", "Grinder", "--yes")
    assert refused.code == 2
    assert 'Home.md comes from the vault "vault": change its file and ingest' in refused.err


def test_secrets_are_named_and_not_shown() -> None:
    note = nescord("capture", f"一行目\n\nトークン: {TOKEN}", "--json").document
    shown, told = nescord("secrets"), nescord("secrets", "--json")
    assert shown.code == told.code == 0
    assert TOKEN not in shown.out + shown.err + told.out
    assert shown.out.startswith(f"{note['path']}:3  ")
    [one] = told.document
    assert (one["note"]["note_id"], one["found"][0]["line"]) == (note["note_id"], 3)


def test_that_secrets_are_not_masked_needs_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nescord("capture", f"token {TOKEN}")
    assert "NESCORD_MASK=off" not in nescord("secrets").err
    monkeypatch.setenv("NESCORD_MASK", "off")
    assert "sent to models elsewhere as they are (NESCORD_MASK=off)" in nescord("secrets").err


def test_no_secrets_are_no_failure(base: Path) -> None:
    shown = nescord("--data-dir", base, "secrets")
    assert (shown.code, shown.out, shown.err) == (0, "", "no secrets found\n")
