# ruff: noqa: F811 - fixtures are named as what they give
"""Maintenance of files: what restores, migrations and killed backups leave goes when it is past its days."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_world import back_up, opened, store_of
from survival import DATABASE

from nescord.backup.manifest import Manifest, snapshot_id
from nescord.backup.store import BackupStore
from nescord.locks import LockName
from nescord.maintain import MaintainReport, files
from nescord.maintain.volume import forecast
from tests.maintain_world import DAY, NOW, ThreadHolding, data, done, old_database  # noqa: F401 - data is a fixture


def test_what_was_moved_aside_as_damaged_goes_after_a_week(data: Path) -> None:
    bad = data / "chroma.bad"
    bad.mkdir()
    (bad / "chroma.sqlite3").write_bytes(b"x" * 3000)
    with opened(data) as km:
        young, old = NOW + 6 * DAY, datetime.now(UTC) + 7.1 * DAY
        usage = shutil.disk_usage(data)
        step = done(km, young)["damaged index"]
        is_full = usage.free < 0.2 * usage.total
        assert (step.before, step.after) == (3000, 0 if is_full else 3000)
        step = done(km, old)["damaged index"]
    assert step.after == 0
    assert not bad.exists()


def test_what_a_killed_process_had_begun_to_write_goes_after_an_hour(data: Path) -> None:
    begun = [data / ".identity.json.61d88e61.tmp", data / "run" / ".services.json.0a0a0a0a.tmp"]
    for path in begun:
        path.write_bytes(b"{}")
    with opened(data) as km:
        assert done(km, NOW + timedelta(minutes=50))["rests of small files"].before == 0
        later = datetime.now(UTC) + timedelta(minutes=70)
        assert done(km, later, dry_run=True)["rests of small files"].before == 4
        assert all(path.exists() for path in begun)
        step = done(km, later)["rests of small files"]
    assert (step.before, step.after) == (4, 0)
    assert not any(path.exists() for path in begun)
    assert (data / "identity.json").exists()


def test_replaced_databases_go_after_a_week_but_the_newest_stays_until_there_is_a_newer_good_backup(data: Path) -> None:
    oldest, older, newest = (old_database(data, NOW - days * DAY) for days in (30, 20, 10))
    refused = data / ".restore" / "refused"
    refused.mkdir()
    staged = data / ".restore" / "staged.db-journal"
    staged.touch()
    with opened(data) as km:
        step = done(km)["replaced databases"]
        assert [path.exists() for path in (oldest, older, newest, refused, staged)] == [False, False, True, True, False]
        assert (step.before, step.after) == (3000, 1000)
        assert newest.name in step.remark
    back_up(data)
    with opened(data) as km:
        step = done(km, datetime.now(UTC) + 7.1 * DAY)["replaced databases"]
    assert (step.after, step.remark) == (0, "")
    assert not newest.exists()
    assert not refused.exists()


def test_a_backup_from_before_the_restore_does_not_let_the_newest_replaced_database_go(data: Path) -> None:
    back_up(data)
    later = datetime.now(UTC) + 5 * DAY
    newest = old_database(data, later)
    with opened(data) as km:
        done(km, later + 30 * DAY)
    assert newest.exists()


def test_a_database_replaced_by_a_real_restore_is_kept_for_a_week(data: Path) -> None:
    made = back_up(data)
    with opened(data) as km:
        km.capture("written after the backup")
        km.backups.restored(made.id)
    (old,) = (data / ".restore").glob("old-*")
    with opened(data) as km:
        done(km, datetime.now(UTC) + 6.9 * DAY)
        assert old.exists()
        time.sleep(1.1)  # snapshots are dated to the second
        back_up(data)
        done(km, datetime.now(UTC) + 7.1 * DAY)
        assert not old.exists()


def test_copies_before_migrations_go_after_a_month_when_there_is_a_newer_good_backup(data: Path) -> None:
    (data / "backups").mkdir(exist_ok=True)
    copy, rest = data / "backups" / "before-schema-0003.db", data / "backups" / "before-schema-0004.tmp"
    copy.write_bytes(b"x" * 2000)
    rest.write_bytes(b"x" * 500)
    with opened(data) as km:
        step = done(km, NOW + 40 * DAY)["copies before migrations"]
        assert (step.before, step.after) == (2500, 2000)
        assert "newer good backup" in step.remark
        assert copy.exists()
    time.sleep(1.1)  # snapshots are dated to the second
    made = back_up(data)
    store_of(data).set_status(made.id, state="bad")
    with opened(data) as km:
        done(km, NOW + 40 * DAY)
        assert copy.exists()
        store_of(data).set_status(made.id, state="good")
        done(km, NOW + 20 * DAY)
        assert copy.exists()
        step = done(km, NOW + 40 * DAY)["copies before migrations"]
    assert (step.before, step.after, copy.exists(), rest.exists()) == (2000, 0, False, False)


def test_rests_of_killed_backups_go_unless_a_backup_is_being_made(data: Path) -> None:
    made = back_up(data)
    staging, scratch = data / "backups" / "staging", data / "backups" / "scratch-0123"
    for folder in (staging, scratch):
        folder.mkdir()
        (folder / DATABASE).write_bytes(b"x" * 4000)
    with opened(data) as km:
        with ThreadHolding(km._base, LockName.CREATE):
            assert "being made" in done(km)["rests of backups"].remark
        assert staging.exists()
        step = done(km)["rests of backups"]
    assert step.before is not None
    assert step.after == step.before - 8000
    assert not staging.exists()
    assert not scratch.exists()
    with opened(data) as km:
        (checked,) = km.backups.checked([made.id])
    assert checked.ok


def forged(store: BackupStore, manifest: Manifest, days_ago: float, size: int, added: int) -> None:
    when = NOW - days_ago * DAY
    seq = store.next_seq()
    made = replace(manifest, id=snapshot_id(seq, when), seq=seq, size=size, bytes_added=added)
    store.add(made)


def test_the_forecast_follows_the_backups_of_the_last_months(data: Path) -> None:
    made = back_up(data)
    store = store_of(data)
    manifest = store.manifest(made.id)
    store.drop(made.id)
    say: Callable[[], tuple[float | None, str]] = lambda: forecast(store, 1_000_000_000, NOW)  # noqa: E731
    assert say() == (None, "no forecast yet: it needs backups over 2 days")
    forged(store, manifest, 500, 1, 10**12)  # too long ago to count
    forged(store, manifest, 60.88, 50_000_000, 40_000_000)
    assert say()[0] is None
    forged(store, manifest, 30, 60_000_000, 5_000_000)
    forged(store, manifest, 0, 70_000_000, 5_000_000)
    months, words = say()
    assert months == pytest.approx(1000 / 15, abs=0.1)
    assert words == "grows by 15.0 MB a month: full in 67 months"
    forged(store, manifest, 0, 40_000_000, 0)
    assert say() == (None, "it does not grow")


def test_the_report_says_how_long_the_disk_will_last(data: Path) -> None:
    made = back_up(data)
    store = store_of(data)
    manifest = store.manifest(made.id)
    forged(store, manifest, 10, 100_000, 50_000)
    store.drop(made.id)
    forged(store, manifest, 0, 10_000_000, 50_000)
    (data / "prefect").mkdir()
    (data / "prefect" / "prefect.db").write_bytes(b"x" * 777)
    with opened(data) as km:
        report: MaintainReport = km.maintain()
    steps = {step.name: step for step in report.steps}
    assert report.full_in_months
    assert "full in" in steps["free disk"].remark
    assert (steps["Prefect's database"].before, steps["Prefect's database"].after) == (777, 777)
    assert files.bytes_in(data / "nowhere") == 0
