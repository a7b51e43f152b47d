"""`nescord backup …`, `nescord note …` and `nescord ingest --resume`: documents, exit codes and what a person reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.backup_world import flip, opened, store_of
from tests.cli_runs import Done, in_process, in_terminal, nescord
from tests.restore_world import EARLIER, LATER, World, epoch, files, forged, found
from tests.survival import new_rng


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.made(tmp_path_factory.mktemp("world"), notes=3)


@pytest.fixture
def data(world: World, tmp_path: Path) -> Path:
    return world.copy(tmp_path / "data")


def run(data: Path, *arguments: str | Path) -> Done:
    return nescord("--data-dir", data, *arguments)


def document(data: Path, *arguments: str | Path, code: int = 0) -> object:
    """The JSON document; stdout holds nothing else."""
    done = run(data, *arguments, "--json")
    assert done.code == code, done.err
    return done.document


def keys(found: object) -> set[str]:
    assert isinstance(found, dict)
    return set(found)


def test_the_documents_have_the_keys_that_scripts_rely_on(world: World, data: Path) -> None:
    made = document(data, "backup", "create")
    assert keys(made) >= {"id", "bytes_added", "bytes_total", "seconds"}
    listed = document(data, "backup", "list")
    assert isinstance(listed, list)
    assert [each["id"] for each in listed] == [world.snapshot, made["id"]]
    for each in listed:
        assert keys(each) >= {"id", "created_at", "status", "bytes_added", "bytes_restored", "counts", "off_site"}
        assert each["status"] == "good"
    checked = document(data, "backup", "check", made["id"])
    assert (checked["id"], checked["ok"]) == (made["id"], True)
    assert [each["ok"] for each in document(data, "backup", "check")] == [True, True]
    drilled = document(data, "backup", "drill", made["id"])
    assert (drilled["id"], drilled["ok"], drilled["problems"]) == (made["id"], True, [])
    tried = document(data, "backup", "prune", "--keep-last", "1", "--dry-run")
    assert (tried["kept"], tried["dropped"], tried["dry_run"]) == ([made["id"]], [world.snapshot], True)
    restored = document(data, "backup", "restore", world.snapshot, "--yes")
    assert keys(restored) >= {"restored", "before", "notes", "carried", "erased", "paused", "seconds", "remarks"}
    assert restored["restored"] == world.snapshot
    pruned = document(data, "backup", "prune", "--keep-last", "1")
    assert keys(pruned) >= {"kept", "dropped"}
    assert world.snapshot in pruned["dropped"]
    assert [each["id"] for each in document(data, "backup", "list")] == sorted(pruned["kept"])


def test_a_restore_tells_what_it_did_and_how_to_take_it_back(world: World, data: Path) -> None:
    done = run(data, "backup", "restore", world.snapshot, "--yes")
    assert done.code == 0, done.err
    before = store_of(data).ids()[-1]
    assert f"restored {world.snapshot}: 4 notes" in done.out or f"restored {world.snapshot}: 5 notes" in done.out
    assert f"what was there before: nescord backup restore {before}" in done.out
    assert "vectors that were made since then are kept" in done.out
    assert "vaults wait: nescord ingest --resume" in done.out
    assert found(data) == world.then
    assert run(data, "backup", "restore", before, "--yes").code == 0
    assert found(data) == world.now


def test_the_newest_good_one_is_taken_by_default_and_by_date(world: World, data: Path) -> None:
    old = forged(data, world.snapshot, id="000007-20240203T000000Z", created_at="2024-02-03T00:00:00Z").id
    assert document(data, "backup", "restore", "--at", "2024-02", "--yes")["restored"] == old
    assert document(data, "backup", "restore", "--at", "2999", "--yes")["restored"] != old
    assert run(data, "backup", "restore", "--at", "2023", "--yes").code == 1
    assert run(data, "backup", "restore", "--at", "never", "--yes").code == 2


def test_without_a_yes_nothing_happens(world: World, data: Path) -> None:
    before = files(data)
    for json_or_not in ((), ("--json",)):
        done = run(data, "backup", "restore", world.snapshot, *json_or_not)
        assert done.code == 2
        assert "Say so with --yes" in done.err + done.out
    done = in_process("--data-dir", data, "backup", "restore", world.snapshot, given=b"y\n")
    assert done.code == 2
    assert files(data) == before
    assert found(data) == world.now


def test_a_copy_goes_to_another_folder(world: World, data: Path, tmp_path: Path) -> None:
    before = files(data)
    copied = document(data, "backup", "restore", world.snapshot, "--to", tmp_path / "copy")
    assert copied == {"restored": world.snapshot, "to": str(tmp_path / "copy")}
    assert files(data) == before
    assert [hit["path"] for hit in document(tmp_path / "copy", "search", EARLIER)] == ["changing.md"]
    again = run(data, "backup", "restore", world.snapshot, "--to", tmp_path / "copy")
    assert (again.code, "not an empty folder" in again.err) == (2, True)


def test_an_empty_folder_is_restored_from_its_backups(world: World, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(data / "backups", empty / "backups")
    refused = run(empty, "search", EARLIER)
    assert refused.code == 2
    begun = run(empty, "init")
    assert (begun.code, "nescord backup restore" in begun.err) == (2, True)
    assert document(empty, "backup", "restore", "--yes")["restored"] == world.snapshot
    assert [hit["path"] for hit in document(empty, "search", EARLIER)] == ["changing.md"]


def test_a_rotten_snapshot_fails_its_check_its_drill_and_its_restore(world: World, data: Path) -> None:
    flip(store_of(data).packs / f"{world.snapshot}.pack", new_rng("rotten"))
    checked = document(data, "backup", "check", world.snapshot, code=1)
    assert (checked["ok"], len(checked["problems"])) == (False, 1)
    assert "BAD" in run(data, "backup", "check").out
    (listed,) = document(data, "backup", "list")
    assert listed["status"] == "bad"
    assert listed["problem"]
    assert run(data, "backup", "drill", world.snapshot).code == 1
    now = epoch(data)
    done = run(data, "backup", "restore", world.snapshot, "--yes")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert run(data, "backup", "restore", "--yes").code == 1
    assert epoch(data) == now


def test_a_manifest_that_cannot_be_read_is_listed_as_bad(world: World, data: Path) -> None:
    store_of(data).manifest_path(world.snapshot).write_bytes(b"garbled")
    (listed,) = document(data, "backup", "list")
    assert (listed["id"], listed["status"]) == (world.snapshot, "bad")
    assert listed["created_at"].startswith("20")
    done = run(data, "backup", "list")
    assert (done.code, "unreadable" in done.out, world.snapshot in done.err) == (0, True, True)


@pytest.mark.parametrize(
    "command",
    [
        ("backup", "check", "../x"),
        ("backup", "drill", "../x"),
        ("backup", "restore", "../x", "--yes"),
        ("backup", "restore", "../x", "--to", "copy"),
        ("backup", "pin", "../x"),
        ("backup", "unpin", "../x"),
        ("backup", "restore", "--at", "../x", "--yes"),
        ("note", "restore", "../x"),
        ("note", "restore", "changing.md", "--at", "../x"),
        ("note", "erase", "../x", "--yes"),
        ("backup", "prune", "--keep-last", "0"),
        ("backup", "prune", "--keep-last", "-1"),
        ("backup", "prune", "--keep-daily", "0"),
        ("ingest", "--resume", "--yes"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused_and_nothing_has_changed(
    command: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)
    done = run(data, *command)
    assert (done.code, "Traceback" in done.err) == (2, False), done.err
    assert done.err.strip()
    assert files(tmp_path) == before
    assert not (tmp_path / "copy").exists()


def test_what_is_pinned_stays_until_it_is_unpinned(world: World, data: Path) -> None:
    run(data, "backup", "create")
    assert document(data, "backup", "pin", world.snapshot) == {"id": world.snapshot, "pinned": True}
    done = run(data, "backup", "prune", "--keep-last", "1", "--dry-run")
    assert "pinned" in done.out
    assert document(data, "backup", "prune", "--keep-last", "1")["dropped"] == []
    assert "pinned" in run(data, "backup", "list").out
    run(data, "backup", "unpin", world.snapshot)
    assert document(data, "backup", "prune", "--keep-last", "1")["dropped"] == [world.snapshot]


def test_pruning_shows_each_snapshot_with_the_rule_that_keeps_or_drops_it(world: World, data: Path) -> None:
    run(data, "backup", "create")
    before = files(data)
    done = run(data, "backup", "prune", "--keep-last", "1", "--dry-run")
    lines = {line.split()[-1] if not line.split() else tuple(line.split()[:2]): line for line in done.out.splitlines()}
    newest = store_of(data).ids()[-1]
    assert any(newest in line and line.lstrip().startswith("keep") for line in lines.values())
    assert any(world.snapshot in line and line.lstrip().startswith("would drop") for line in lines.values())
    assert files(data) == before


def test_resuming_shows_what_would_change_and_asks(world: World, data: Path) -> None:
    run(data, "backup", "restore", world.snapshot, "--yes")
    paused = run(data, "ingest", world.vault)
    assert (paused.code, "nescord ingest --resume" in paused.err) == (2, True)
    shown = run(data, "ingest", "--resume")
    assert shown.code == 2
    for line in ("+ new.md", "~ changing.md", "- note 1.md"):
        assert line in shown.out
    assert "--yes" in shown.err
    assert run(data, "ingest", world.vault).code == 2
    assert run(data, "ingest", world.vault, "--dry-run").code == 0
    resumed = document(data, "ingest", "--resume", "--yes")
    assert resumed["resumed"] == world.snapshot
    assert [(each["added"], each["changed"], each["deleted"]) for each in resumed["would"]] == [(1, 1, 1)]
    assert found(data) == world.then
    report = document(data, "ingest", world.vault)
    assert (report["added"], report["changed"], report["deleted"]) == (1, 1, 1)
    assert found(data).notes == world.now.notes


def test_a_vault_that_is_not_there_does_not_keep_others_paused(world: World, data: Path, tmp_path: Path) -> None:
    with opened(data) as km:
        (tmp_path / "lost").mkdir()
        (tmp_path / "lost" / "one.md").write_text("# One\n", encoding="utf-8")
        km.ingest(tmp_path / "lost")
    made = document(data, "backup", "create")["id"]
    shutil.rmtree(tmp_path / "lost")
    run(data, "backup", "restore", made, "--yes")
    done = run(data, "ingest", "--resume", "--yes")
    assert done.code == 0, done.err
    assert str(tmp_path / "lost") in done.err
    assert run(data, "ingest", world.vault).code == 0
    assert "one.md" in found(data).notes


def test_a_note_is_brought_back_and_erased(world: World, data: Path) -> None:
    (trashed,) = document(data, "note", "trash")
    back = document(data, "note", "restore", trashed["note_id"])
    assert back == {"note_id": trashed["note_id"], "path": "note 1.md", "title": "Note 1", "owner": "us"}
    then = document(data, "note", "restore", "changing.md", "--at", "2999")
    assert then["path"] == f"{world.snapshot}/changing.md"
    assert run(data, "note", "restore", "no such note").code == 2
    assert run(data, "note", "erase", then["note_id"]).code == 2
    assert document(data, "search", EARLIER)
    assert document(data, "note", "erase", then["note_id"], "--yes") == {"note_id": then["note_id"], "erased": True}
    assert run(data, "search", EARLIER).code == 1


def test_in_a_terminal_the_snapshots_are_a_table_with_headers(world: World, data: Path) -> None:
    done = in_terminal("--data-dir", data, "backup", "list", columns=140)
    assert done.code == 0
    for word in ("restored", "drilled", "off-site", world.snapshot, "good"):
        assert word in done.out


def test_in_a_process_of_its_own_stdout_is_one_document(world: World, data: Path) -> None:
    done = in_process("--data-dir", data, "backup", "restore", world.snapshot, "--yes", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["restored"] == world.snapshot
    assert in_process("--data-dir", data, "search", LATER).code == 1
    assert done.out.count("\n") == len(done.out.splitlines())


def test_where_there_is_no_knowledge_base_nothing_is_made(tmp_path: Path) -> None:
    for command in (("create",), ("drill",), ("prune", "--keep-last", "1")):
        assert run(tmp_path / "none", "backup", *command).code == 2
    assert run(tmp_path / "none", "backup", "restore", "--yes").code in (1, 2)
    assert document(tmp_path / "none", "backup", "list") == []
    assert not (tmp_path / "none").exists()


def test_a_lost_identity_is_made_anew_as_the_one_that_its_backups_know(data: Path) -> None:
    before = json.loads((data / "identity.json").read_bytes())["uuid"]
    (data / "identity.json").unlink()
    assert run(data, "init").code == 0
    assert json.loads((data / "identity.json").read_bytes())["uuid"] == before
    assert run(data, "backup", "create").code == 0
    found = document(data, "verify")
    assert isinstance(found, dict)
    assert {each["name"]: each["status"] for each in found["checks"]}["continuity.backups"] == "pass"
