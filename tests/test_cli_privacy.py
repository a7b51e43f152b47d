"""`nescord privacy …`: what the owner says in the place of a person who uses the bot."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from cli_runs import nescord

from nescord.backup.create import create
from tests.privacy_world import ADA, BOB, GUILD, fill, opened, traces, words_of_hers

NUMBER = ADA.removeprefix("user:")


def test_the_owner_shows_exports_and_erases_what_is_kept_of_a_person(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "ada.zip"
    with opened(data, vector="exact") as km:
        fill(km)
    where = ("--data-dir", data)
    shown = json.loads(nescord(*where, "privacy", "show", NUMBER, "--json").out)
    assert (shown["who"], shown["counts"]["notes"], shown["backups_forget_at"]) == (ADA, 4, None)
    assert (shown["off_site"], shown["merged"]) == (False, 0)
    lines = nescord(*where, "privacy", "show", ADA).out.splitlines()
    assert "search events\t1" in lines
    assert lines[-1] == "no backup holds any of it"

    exported = json.loads(nescord(*where, "privacy", "export", NUMBER, file, "--json").out)
    assert exported["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o077 == 0  # for nobody else's eyes
    assert any(name.startswith("notes/") for name in zipfile.ZipFile(file).namelist())
    again = nescord(*where, "privacy", "export", NUMBER, file)
    assert (again.code, "does not exist" in again.err) == (2, True)

    unasked = nescord(*where, "privacy", "erase", NUMBER)
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    erased = json.loads(nescord(*where, "privacy", "erase", NUMBER, "--yes", "--json").out)
    assert (erased["complete"], erased["counts"]["notes"], erased["remarks"]) == (True, 4, [])
    assert traces(data, words_of_hers()) == []
    assert nescord(*where, "privacy", "erase", NUMBER, "--yes").code == 0  # nothing is left to be erased


def test_where_else_it_is_is_said_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "another disk"
    elsewhere.mkdir()
    with opened(data, vector="exact") as km:
        his, hers = (
            km.scoped({GUILD}).add_note(text, space=GUILD, author=author)
            for text, author in (("his", BOB), ("hers", ADA))
        )
        km.merge([his.id, hers.id])
        km.backups.pin(create(km._base).id, pinned=True)
    where = ("--data-dir", data)
    pinned = "pinned backups hold it until they are unpinned (nescord backup unpin): 1"
    lines = nescord(*where, "privacy", "show", ADA).out.splitlines()
    assert lines[-2:] == ["notes of others that hold text of theirs, for it was merged into them: 1", pinned]
    monkeypatch.setenv("NESCORD_OFF_SITE", str(elsewhere))
    lines = nescord(*where, "privacy", "erase", ADA, "--yes").out.splitlines()
    assert lines[-1] == (
        f"{pinned}; copies elsewhere may hold it until you delete them there; a restore of one erases it again"
    )


def test_what_is_no_person_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "data", vector="exact").close()
    for wrong in ("personal", "guild:7", ""):
        done = nescord("--data-dir", tmp_path / "data", "privacy", "show", wrong)
        assert (done.code, "is no person" in done.err) == (2, True)
