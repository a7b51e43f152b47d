"""What one ingest after another makes of a vault that changes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from nescord.errors import VaultError
from nescord.ingest import IngestOptions, Progress
from tests import nasty
from tests.vaults import REPOSITORY, UNPRIVILEGED, contents, open_base, paths_found, write_notes

LONG = "\n\n".join(
    f"## Part {number}\n\nParagraph {number} speaks of subject{number} at some length, " + "and goes on about it. " * 40
    for number in range(12)
)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    root = tmp_path / "vault"
    write_notes(
        root,
        {
            "a.md": "# Alpha\n\napples are red #fruit/apple\n",
            "b.md": "# 会議\n\n検索の設計を決めた。[[a]]\n",
            "sub/c.md": "cherries without a heading [[b|minutes]] [[nowhere]]\n",
            "sub/d.md": LONG,
        },
    )
    return root


def note_ids(km: KnowledgeManager, *paths: str) -> list[str]:
    return [km.note(path).id for path in paths]


def wait_out_the_racy_window(path: Path) -> None:
    """A file whose ctime is younger than two seconds when it is read is read again; wait until it is older."""
    while time.time() - path.stat().st_ctime < 2.1:
        time.sleep(0.1)


def test_new_notes_are_found_in_both_languages_when_ingest_returns(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        report = km.ingest(vault)
        assert (report.added, report.failed, report.files_read) == (4, 0, 4)
        assert paths_found(km, "apple") == ["a.md"]
        assert paths_found(km, "検索") == ["b.md"]


def test_an_unchanged_vault_opens_no_file_and_writes_nothing(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        wait_out_the_racy_window(vault / "sub" / "d.md")
        km.ingest(vault)
        wal = (tmp_path / "kb" / "nescordbot.db-wal").stat()
        opened: list[str] = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
        report = km.ingest(vault)
        names = [name for name in opened if name.endswith(".md")]
    assert (report.unchanged, report.files_read, names) == (4, 0, [])
    assert report.changes == []
    after = tmp_path / "kb" / "nescordbot.db-wal"
    assert not after.exists() or after.stat().st_size == wal.st_size


def test_an_edited_note_keeps_its_id_and_the_chunks_that_did_not_change(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (before,) = note_ids(km, "sub/d.md")
        (vault / "sub" / "d.md").write_text(LONG.replace("Paragraph 6", "Abschnitt sechs"))
        report = km.ingest(vault)
        assert (report.changed, report.added) == (1, 0)
        assert report.chunks_added <= 3
        assert note_ids(km, "sub/d.md") == [before]
        assert paths_found(km, "Abschnitt") == ["sub/d.md"]


def test_nothing_stale_answers_after_an_edit(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (vault / "a.md").write_text("# Beta\n\npears are green\n")
        km.ingest(vault)
        assert paths_found(km, "apple") == paths_found(km, "Alpha") == paths_found(km, "tag:fruit") == []
        assert paths_found(km, "pears") == ["a.md"]


def test_a_title_that_changes_leaves_no_ghost_of_the_old_one_in_any_chunk(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        (vault / "sub" / "d.md").write_text("---\ntitle: Ghostword\n---\n" + LONG)
        km.ingest(vault)
        assert paths_found(km, "Ghostword") == ["sub/d.md"]
        (vault / "sub" / "d.md").write_text("---\ntitle: Otherword\n---\n" + LONG)
        report = km.ingest(vault)
        assert report.chunks_added == report.chunks_deleted == 0
        assert paths_found(km, "Ghostword") == []
        assert paths_found(km, "Otherword subject11") == ["sub/d.md"]


def test_a_rename_keeps_id_and_chunks(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        before = note_ids(km, "b.md", "sub/d.md")
        (vault / "b.md").rename(vault / "sub" / "議事録.md")
        (vault / "sub" / "d.md").rename(vault / "long.md")
        report = km.ingest(vault)
        assert (report.renamed, report.added, report.deleted) == (2, 0, 0)
        assert report.chunks_added == report.chunks_deleted == 0
        assert note_ids(km, "sub/議事録.md", "long.md") == before
        assert km.search("検索")[0].path == "sub/議事録.md"


def test_a_note_that_moved_and_was_edited_keeps_its_id(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (before,) = note_ids(km, "sub/d.md")
        (vault / "sub" / "d.md").unlink()
        write_notes(vault, {"moved.md": LONG.replace("Paragraph 3", "Changed 3"), "other.md": "not at all like it"})
        report = km.ingest(vault)
        assert (report.renamed, report.added, report.deleted) == (1, 1, 0)
        assert note_ids(km, "moved.md") == [before]


def test_the_pair_that_agrees_most_is_the_rename(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (before,) = note_ids(km, "sub/d.md")
        (vault / "sub" / "d.md").unlink()
        write_notes(vault, {"a copy.md": LONG.replace("Paragraph", "Absatz", 3), "zz real.md": LONG})
        km.ingest(vault)
        assert note_ids(km, "zz real.md") == [before]


def test_a_vanished_note_is_trashed_and_comes_back_with_its_id(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (before,) = note_ids(km, "a.md")
        (vault / "a.md").rename(tmp_path / "kept.md")
        report = km.ingest(vault)
        assert (report.deleted, paths_found(km, "apple")) == (1, [])
        assert km.note(before).trashed_at
        assert [(note.note_id, note.path) for note in km.trash()] == [(before, "a.md")]
        (tmp_path / "kept.md").rename(vault / "a.md")
        report = km.ingest(vault)
        assert (report.revived, report.added) == (1, 0)
        assert paths_found(km, "apple") == ["a.md"]
        assert note_ids(km, "a.md") == [before]
        assert km.trash() == []


def test_a_trashed_note_can_be_restored_as_ours(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (before,) = note_ids(km, "a.md")
        (vault / "a.md").unlink()
        km.ingest(vault)
        note = km.restore_note(before)
        assert (note.id, note.owner, note.tags) == (before, "us", ("fruit/apple",))
        assert paths_found(km, "apple") == ["a.md"]
        assert km.ingest(vault).deleted == 0
        assert paths_found(km, "apple") == ["a.md"]


@pytest.mark.parametrize(
    ("notes", "gone", "reason"),
    [
        ({f"n{i}.md": f"word{i}" for i in range(3)}, "*.md", "is empty, it had 3 notes"),
        ({f"n{i}.md": f"word{i}" for i in range(60)}, "n[1-3]?.md", "30 of 60 notes of vault vanished at once"),
        ({"x/1.md": "one", "x/2.md": "two", "y.md": "three", "z.md": "four"}, "x/*.md", 'folder "x" vanished'),
    ],
)
def test_a_mass_deletion_is_withheld_until_it_is_meant(
    tmp_path: Path, notes: dict[str, str], gone: str, reason: str
) -> None:
    root = tmp_path / "vault"
    write_notes(root, notes)
    with open_base(tmp_path / "kb") as km:
        km.ingest(root)
        doomed = list(root.glob(gone))
        for file in doomed:
            file.unlink()
        report = km.ingest(root)
        assert (report.deleted, report.withheld) == (0, len(doomed))
        assert reason in report.messages[0]
        assert "--allow-mass-delete" in report.messages[0]
        assert km.status().notes == len(notes)
        report = km.ingest(root, options=IngestOptions(allow_mass_delete=True))
        assert (report.deleted, report.withheld) == (len(doomed), 0)
        assert km.status().notes == len(notes) - len(doomed)


def test_a_few_deletions_in_a_large_vault_are_everyday(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    write_notes(root, {f"n{i}.md": f"word{i}" for i in range(60)})
    with open_base(tmp_path / "kb") as km:
        km.ingest(root)
        for number in range(20):
            (root / f"n{number}.md").unlink()
        assert km.ingest(root).deleted == 20


def test_every_nasty_file_is_accounted_for_and_none_is_touched(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    root.mkdir()
    expected = nasty.write(root)
    before = contents(root)
    with open_base(tmp_path / "kb") as km:
        found = km.plan(root)
        (root / "vanishing.md").unlink()
        report = km.commit(found)
        failures = {failure.path: failure for failure in km.failures()}
        accounted = 0
        for file in expected:
            failure = failures.get(file.path) or next(
                (failure for path, failure in failures.items() if path.startswith(file.path + " (")), None
            )
            if file.stored and file.path != "vanishing.md":
                assert km.note(file.path).path == file.path, file.what
                if file.phrase:
                    assert file.path in paths_found(km, f'"{file.phrase}"'), file.what
                assert (failure.reason if failure else "").find(file.reason) >= 0, file.what
            elif file.path != "folder.md":  # a folder is not a note that failed
                assert failure is not None, file.what
                assert not failure.stored, file.what
                assert file.reason in failure.reason, file.what
            accounted += 1
    print(f"{accounted} of {len(expected)} nasty files accounted for, {report.failed} of them not stored")
    assert accounted == len(expected) >= 15
    after = contents(root)
    assert {path: was for path, was in before.items() if not path.endswith("vanishing.md")} == after


def test_a_note_that_breaks_keeps_its_previous_version_searchable(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (vault / "a.md").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
        report = km.ingest(vault)
        assert (report.failed, report.deleted) == (1, 0)
        assert paths_found(km, "apple") == ["a.md"]
        assert [failure.path for failure in km.failures()] == ["a.md"]
        write_notes(vault, {"a.md": "# Alpha\n\nmended\n"})
        assert km.ingest(vault).failed == 0
        assert km.failures() == []
        assert paths_found(km, "mended") == ["a.md"]


def test_a_bad_file_that_did_not_change_is_not_read_again(tmp_path: Path, vault: Path) -> None:
    (vault / "bad.md").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    os.utime(vault / "bad.md", (1, 1))
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        wait_out_the_racy_window(vault / "bad.md")
        km.ingest(vault)
        report = km.ingest(vault)
        assert (report.failed, report.files_read) == (1, 0)


UNREADABLE = """
import pathlib, sys
from nescord import KnowledgeManager, Settings
with KnowledgeManager.open(Settings(data_dir=pathlib.Path(sys.argv[1]))) as km:
    report = km.ingest(sys.argv[2])
    print(report.added, report.failed, km.failures()[0].path, km.failures()[0].reason)
"""


@pytest.mark.skipif(UNPRIVILEGED is None, reason="root reads everything, and setpriv is not there to make it stop")
def test_a_file_without_permission_is_failed_with_the_mend(tmp_path: Path, vault: Path) -> None:
    (vault / "a.md").chmod(0)
    done = subprocess.run(
        [*(UNPRIVILEGED or ()), sys.executable, "-c", UNREADABLE, str(tmp_path / "kb"), str(vault)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.startswith("3 1 a.md not readable: Permission denied (check its permissions)")


def test_links_are_resolved_now_or_when_their_target_appears(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        links = {link.target: link.note_id for link in km.note("sub/c.md").links}
        assert links == {"b": km.note("b.md").id, "nowhere": ""}
        write_notes(vault, {"deep/er/Nowhere.md": "now here"})
        km.ingest(vault)
        links = {link.target: link.note_id for link in km.note("sub/c.md").links}
        assert links["nowhere"] == km.note("deep/er/Nowhere.md").id


def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        report = km.ingest(vault, options=IngestOptions(dry_run=True))
        assert (report.added, km.status().notes) == (4, 0)
        km.ingest(vault)
        (vault / "a.md").unlink()
        report = km.ingest(vault, options=IngestOptions(dry_run=True))
        assert (report.deleted, paths_found(km, "apple")) == (1, ["a.md"])


def test_a_run_that_is_stopped_keeps_its_batches_and_the_next_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    write_notes(root, {f"n{i:04d}.md": f"word{i}" for i in range(700)})
    seen: list[Progress] = []
    with open_base(tmp_path / "kb") as km:
        report = km.ingest(root, options=IngestOptions(stop=lambda: bool(seen), progress=seen.append))
        assert report.interrupted
        stored = km.status().notes
        assert 0 < stored < 700
        report = km.ingest(root)
        assert (report.added, report.unchanged) == (700 - stored, stored)


def test_other_chunk_sizes_cut_every_note_anew_once(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        before = km.status().chunks
    wait_out_the_racy_window(vault / "sub" / "d.md")
    with open_base(tmp_path / "kb", chunk_target=200, chunk_max=400) as km:
        report = km.ingest(vault)
        assert (report.unchanged, report.changed) == (4, 0)
        assert km.status().chunks > before
        assert km.ingest(vault).files_read == 0
        assert paths_found(km, "apple") == ["a.md"]


def test_a_vault_of_the_same_name_elsewhere_is_asked_about(tmp_path: Path, vault: Path) -> None:
    moved = tmp_path / "elsewhere" / "vault"
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        before = note_ids(km, "a.md", "b.md")
        moved.parent.mkdir()
        vault.rename(moved)
        with pytest.raises(VaultError, match=r"--same.*--as NAME"):
            km.ingest(moved)
        report = km.ingest(moved, moved=True)
        assert (report.added, report.unchanged + report.changed) == (0, 4)
        assert note_ids(km, "a.md", "b.md") == before


def test_two_vaults_may_hold_the_same_paths(tmp_path: Path, vault: Path) -> None:
    other = tmp_path / "other" / "vault"
    write_notes(other, {"a.md": "apples elsewhere"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        km.ingest(other, name="second")
        assert [(hit.source, hit.path) for hit in km.search("apples source:second")] == [("second", "a.md")]
        assert km.ingest(vault).deleted == 0
        with pytest.raises(VaultError, match="one inside the other"):
            km.ingest(vault / "sub")


def test_a_removed_vault_leaves_no_hit_and_returns_with_its_ids(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        before = note_ids(km, "a.md")
        assert km.remove_source("vault") == 4
        assert (km.sources(), paths_found(km, "apple")) == ([], [])
        report = km.ingest(vault)
        assert report.revived == 4
        assert note_ids(km, "a.md") == before


def test_names_that_are_one_in_nfc_are_one_note_and_one_failure(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"が.md": "composed", "か\u3099.md": "decomposed"})
    with open_base(tmp_path / "kb") as km:
        first = km.ingest(root)
        assert (first.added, first.failed) == (1, 1)
        again = km.ingest(root)
        assert (again.added, again.changed, again.failed) == (0, 0, 1)
        (root / "が.md").unlink()
        (root / "か\u3099.md").rename(root / "other.md")
        km.ingest(root)
        assert km.failures() == []


def test_full_text_rows_and_chunks_agree_after_all_kinds_of_change(tmp_path: Path, vault: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.ingest(vault)
        (vault / "a.md").unlink()
        (vault / "b.md").rename(vault / "bb.md")
        (vault / "sub" / "d.md").write_text(LONG[:3000])
        km.ingest(vault)
        km.capture("one of ours")
    connection = apsw.Connection(str(tmp_path / "kb" / "nescordbot.db"))
    chunks = connection.execute("SELECT id FROM chunk ORDER BY id").fetchall()
    indexed = connection.execute("SELECT id FROM chunk_fts_docsize ORDER BY id").fetchall()
    connection.execute("INSERT INTO chunk_fts (chunk_fts) VALUES ('integrity-check')")
    assert chunks == indexed
    assert connection.pragma("integrity_check") == "ok"
    assert connection.pragma("foreign_key_check") is None
    connection.close()
