"""`nescord verify`: what it prints, how it leaves, and that it reports where nothing opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from nescord.backup.create import create
from tests.cli_runs import Done, in_process, in_terminal, ingested, nescord
from tests.vaults import open_base

_NEEDED = {"volume.writable", "volume.mount", "continuity.identity", "database.open", "backups.newest"}


def verify(data: Path, *options: str) -> tuple[Done, dict[str, dict[str, str]]]:
    done = nescord("--data-dir", data, "verify", "--json", *options)
    document = done.document
    assert isinstance(document, dict)
    assert document.keys() == {"ok", "checks"}
    assert (done.code == 0) == document["ok"]
    assert all(check.keys() == {"name", "status", "value", "mend"} for check in document["checks"])
    return done, {check["name"]: check for check in document["checks"]}


def failed(checks: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, check in checks.items() if check["status"] == "fail"}


def lose_word_rows(data: Path) -> None:
    connection = apsw.Connection(str(data / "nescordbot.db"))
    connection.execute("DELETE FROM chunk_fts WHERE rowid IN (1, 2)")
    connection.close()


def test_a_sound_base_leaves_with_0(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    for options in ((), ("--deep",)):
        done, checks = verify(data, *options)
        assert done.code == 0
        assert checks.keys() >= _NEEDED
        assert ("integrity_check" in checks["database.pages"]["value"]) == bool(options)


def test_a_fault_leaves_with_1_and_a_repair_with_0(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    lose_word_rows(data)
    done, checks = verify(data)
    assert (done.code, failed(checks)) == (1, {"database.word_rows"})
    done, checks = verify(data, "--repair")
    assert (done.code, failed(checks)) == (0, set())
    assert "repair: the full-text index was written anew" in done.err
    done, _ = verify(data, "--repair")
    assert "nothing that can be mended" in done.err


def test_people_read_a_line_a_check_and_the_mend_under_it(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    lose_word_rows(data)
    piped = nescord("--data-dir", data, "verify")
    lines = piped.out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("fail  database.word_rows"))
    assert "-> nescord verify --repair" in lines[place + 1]
    assert lines[-1].endswith("1 failed, 2 warned") or lines[-1].endswith("1 failed, 1 warned")
    shown = in_terminal("--data-dir", data, "verify")
    assert "\x1b[1;31mfail" in shown.out
    assert "\x1b[32mpass" in shown.out


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garble_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\x55" * 100)


def _mark_foreign(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("application_id", 1)
    connection.close()


def _from_the_future(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()


@pytest.mark.parametrize("fault", [_remove, _empty, _garble_header, _mark_foreign, _from_the_future])
def test_a_database_that_does_not_open_is_reported(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    data = ingested(tmp_path)
    _, before = verify(data)
    fault(data / "nescordbot.db")
    for options in ((), ("--repair",)):
        done, checks = verify(data, *options)
        assert done.code == 1
        assert failed(checks) == {"database.open"}
        assert checks.keys() >= _NEEDED
        kept = {name for name in checks if name.startswith(("volume.", "continuity.", "backups."))}
        assert {name for name in kept if checks[name]["status"] != before[name]["status"]} <= {"database.open"}


def test_a_folder_with_backups_and_nothing_else_is_reported(tmp_path: Path) -> None:
    data = ingested(tmp_path)
    with open_base(data) as km:
        create(km._base)
    for name in ("identity.json", "nescordbot.db"):
        (data / name).unlink()
    _, checks = verify(data)
    assert failed(checks) == {"continuity.identity", "database.open"}
    assert checks["backups.newest"]["status"] == "pass"


def test_where_nothing_is_nothing_is_made(tmp_path: Path) -> None:
    done = nescord("--data-dir", tmp_path / "none", "verify", "--json")
    assert done.code == 2
    assert "no knowledge base" in done.err
    assert not (tmp_path / "none").exists()


def test_an_empty_volume_is_reported(tmp_path: Path) -> None:
    """On Railway an empty folder may be a volume that failed to mount."""
    volume = tmp_path / "volume"
    volume.mkdir()
    environment = {"RAILWAY_VOLUME_MOUNT_PATH": str(volume), "NESCORD_EMBEDDER": "none"}
    done = in_process("verify", "--json", env=environment)
    assert done.code == 1
    document = done.document
    assert isinstance(document, dict)
    found = {check["name"] for check in document["checks"] if check["status"] == "fail"}
    assert found == {"volume.mount", "continuity.identity", "database.open"}
    assert list(volume.iterdir()) == []


def test_a_lock_that_is_held_is_an_error_of_its_own(tmp_path: Path) -> None:
    from nescord.locks import LockName, Locks

    data = ingested(tmp_path)
    with Locks(data / "run", timeout=1).exclusive(LockName.CATALOG):
        done = in_process("--data-dir", str(data), "verify", "--json", env={"NESCORD_LOCK_TIMEOUT": "0.2"})
    assert done.code == 69
    assert "catalog" in done.err
