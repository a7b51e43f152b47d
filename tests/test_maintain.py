# ruff: noqa: F811 - fixtures are named as what they give
"""Maintenance: what is past its days goes, what is used or the only copy stays, and nothing that happens stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_world import back_up, opened, text_of
from cli_runs import nescord
from survival import DATABASE, SOAK, new_rng, stored

from nescord.backup.erasures import erased
from nescord.errors import LockTimeoutError
from nescord.ingest import IngestOptions
from nescord.locks import LockName
from nescord.maintain import maintain
from tests.maintain_world import DAY, NOW, WORKER, ThreadHolding, data, done, old_database, raw  # noqa: F401 - data is a fixture
from tests.vaults import contents, open_base, write_notes

# --- trash ---


def test_what_is_in_the_trash_past_its_days_goes_for_good_and_the_rest_stays(data: Path) -> None:
    before = stored(data / DATABASE)
    with opened(data) as km:
        step = done(km, NOW + 29 * DAY)["trash"]
        assert (step.before, step.after, len(km.trash())) == (4, 4, 4)
        step = done(km, NOW + 31 * DAY)["trash"]
        assert (step.before, step.after, len(km.trash())) == (4, 0, 0)
    after = stored(data / DATABASE)
    assert after.notes == before.notes
    assert (len(before.trashed), len(after.trashed)) == (4, 0)


def test_a_note_that_went_by_its_age_is_not_remembered_as_erased_and_comes_back_from_a_backup(data: Path) -> None:
    back_up(data)
    with opened(data) as km:
        gone = km.trash()[0]
        done(km, NOW + 31 * DAY)
        assert erased(km.folder.backups) == set()
        assert km.restore_note(gone.note_id).title == gone.title


def test_zero_days_keep_the_trash_for_ever(data: Path) -> None:
    with open_base(data, vector="exact", trash_days=0) as km:
        step = done(km, NOW + 9999 * DAY)["trash"]
        assert (step.before, step.after) == (4, 4)
        assert "NESCORD_TRASH_DAYS=0" in step.remark


# --- vectors ---


def test_a_vector_that_no_chunk_uses_goes_after_90_days(data: Path) -> None:
    with opened(data) as km:
        first = done(km)["unused vectors"]
        assert first.before == first.after
        assert "are unused" in first.remark
        step = done(km, NOW + 89 * DAY)["unused vectors"]
        assert step.before == step.after
        step = done(km, NOW + 91 * DAY)["unused vectors"]
        assert step.before is not None
        assert step.after is not None
        assert step.after < step.before
        assert km.meaning().pending == 0
    used = "SELECT count(DISTINCT text_hash) FROM chunk"
    assert raw(data, "SELECT count(*) FROM embedding", used) == [(step.after,), (step.after,)]
    assert raw(data, "SELECT count(*) FROM unused_embedding") == [(0,)]


def test_a_vector_that_was_used_again_meanwhile_stays_and_begins_to_count_anew(data: Path, tmp_path: Path) -> None:
    with opened(data) as km:
        done(km)
        write_notes(tmp_path / "vault", {"note 0.md": text_of(0)})
        report = km.ingest(tmp_path / "vault")
        assert (report.revived, report.embedded) == (1, 0)
        done(km, NOW + 91 * DAY)  # takes those of the three others
        (tmp_path / "vault" / "note 0.md").unlink()
        km.ingest(tmp_path / "vault")
        step = done(km, NOW + 92 * DAY)["unused vectors"]
        assert step.before == step.after
        step = done(km, NOW + 183 * DAY)["unused vectors"]
        assert step.before != step.after


def test_after_a_restore_nobody_knows_what_was_used_and_the_count_begins_anew(data: Path) -> None:
    with opened(data) as km:
        done(km)
        kept = km.meaning().embeddings
    made = back_up(data)
    with opened(data) as km:
        km.backups.restored(made.id)
    with opened(data) as km:
        done(km, NOW + 91 * DAY)
        assert km.meaning().embeddings == kept
        done(km, NOW + 182 * DAY)
        assert km.meaning().embeddings < kept


# --- the database's own order ---


def test_the_words_of_what_was_purged_are_gone_from_the_file(tmp_path: Path) -> None:
    word = "qzxwvjkhgf"
    with open_base(tmp_path / "data") as km:
        for number in range(30):
            km.capture(f"note {number} about gardens and rivers")
        note = km.capture(f"the secret is {word}")
        km.erase_note(note.id)
        km._base._catalog.checkpoint()
        assert word.encode() in (tmp_path / "data" / DATABASE).read_bytes()
        step = done(km)["full-text index"]
        assert step.before is not None
        assert step.after is not None
        assert step.after < step.before
        assert len(km.search("gardens", limit=100)) == 30
        again = done(km)["full-text index"]
        assert again.before == again.after == step.after
    assert word.encode() not in (tmp_path / "data" / DATABASE).read_bytes()
    stored(tmp_path / "data" / DATABASE)


def test_the_write_ahead_log_is_cut_unless_somebody_reads(data: Path) -> None:
    wal = data / f"{DATABASE}-wal"
    with opened(data) as km, opened(data) as other:
        km.capture("something to write")
        with other._base.verb() as catalog, catalog.read() as connection:
            connection.execute("SELECT count(*) FROM note").fetchall()
            km.capture("more to write")
            step = done(km)["write-ahead log"]
            assert "somebody reads" in step.remark
            assert step.after
        step = done(km)["write-ahead log"]
        assert (step.after, step.remark, wal.stat().st_size) == (0, "", 0)
        assert len(km.search("write", limit=99, mode="keyword")) == 2


# --- Chroma ---


# --- files ---


# --- the whole ---


def test_while_an_ingest_runs_nothing_is_done(data: Path) -> None:
    with open_base(data, vector="exact", lock_timeout=0.1) as km, ThreadHolding(km._base, LockName.INGEST):
        with pytest.raises(LockTimeoutError, match='"ingest"'):
            maintain(km._base, now=NOW + 100 * DAY)
        assert len(km.trash()) == 4


def test_a_dry_run_says_what_would_go_and_changes_nothing(data: Path) -> None:
    old_database(data, NOW - 30 * DAY)
    old_database(data, NOW - 20 * DAY)
    back_up(data)
    (data / "backups" / "staging").mkdir()
    with opened(data) as km:
        before = {path: fact for path, fact in contents(data).items() if "/run/" not in path and "-shm" not in path}
        steps = done(km, NOW + 31 * DAY, dry_run=True)
        after = {path: fact for path, fact in contents(data).items() if "/run/" not in path and "-shm" not in path}
        assert after == before
        real = done(km, NOW + 31 * DAY)
    for name in ("trash", "unused vectors", "old collections", "replaced databases", "copies before migrations"):
        assert (steps[name].before, steps[name].after) == (real[name].before, real[name].after), name
    assert (steps["trash"].after, steps["replaced databases"].after) == (0, 0)
    assert (data / ".restore").is_dir()


def test_the_command_prints_one_document_or_a_table_and_leaves_with_1_when_a_step_failed(data: Path) -> None:
    document = nescord("maintain", "--dry-run", "--json", "--data-dir", data).document
    assert isinstance(document, dict)
    assert list(document) == ["ok", "steps", "full_in_months", "seconds", "dry_run"]
    assert document["ok"]
    assert document["dry_run"]
    assert list(document["steps"][0]) == ["name", "unit", "before", "after", "remark", "error"]
    done_ = nescord("maintain", "--data-dir", data)
    assert (done_.code, len(done_.out.splitlines())) == (0, len(document["steps"]))
    assert "trash\t4 notes\t4 notes" in done_.out
    (data / "backups" / "snapshots").mkdir(parents=True, exist_ok=True)
    (data / "backups" / "store.json").write_text('{"format": 1, "knowledge_base": "somebody else"}')
    done_ = nescord("maintain", "--data-dir", data)
    assert done_.code == 1
    assert "failed: rests of backups: BackupError" in done_.out


def test_killed_at_any_instant_it_loses_nothing_and_the_next_run_does_the_rest(data: Path, tmp_path: Path) -> None:
    rng = new_rng("maintain, killed")
    living = stored(data / DATABASE).notes
    with opened(data) as km:
        done(km)
        for number in range(80):
            km.erase_note(km.capture(text_of(100 + number)).id)
        write_notes(tmp_path / "vault", {f"gone {number}.md": text_of(200 + number) for number in range(80)})
        km.ingest(tmp_path / "vault")
        for number in range(80):
            (tmp_path / "vault" / f"gone {number}.md").unlink()
        assert km.ingest(tmp_path / "vault", options=IngestOptions(allow_mass_delete=True)).deleted == 80
        old_database(data, NOW - 30 * DAY)
    then = (datetime.now(UTC) + 100 * DAY).isoformat()
    killed, trashed = 0, []
    kills = 200 if SOAK else 10
    for number in range(kills):
        # Later and later, so that the first ones come before most of the work and the last ones after it.
        seconds = rng.uniform(0.0002, 0.3 * (number + 1) / kills)
        worker = [sys.executable, str(WORKER), str(data), then, str(seconds)]
        path = f"{WORKER.parent.parent}:{os.environ['PYTHONPATH']}"
        code = subprocess.run(worker, cwd=WORKER.parent.parent, env=os.environ | {"PYTHONPATH": path}).returncode
        assert code in (0, -signal.SIGALRM)
        killed += code != 0
        after = stored(data / DATABASE)
        assert after.notes == living
        trashed.append(len(after.trashed))
    print(f"killed {killed} times, left in the trash: {trashed}")
    assert killed
    with opened(data) as km:
        report = maintain(km._base, now=datetime.fromisoformat(then))
        assert report.ok, report.failed
        assert not km.trash()
        assert km.meaning().pending == 0
    after = stored(data / DATABASE)
    assert (after.notes, after.trashed) == (living, set())


# --- forecast ---
