"""That a verification is remembered, for whoever shows when the last one was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cli_runs import in_process, ingested

from nescord.home import DataFolder
from nescord.persistence import record
from nescord.persistence.report import Check, PersistenceReport
from nescord.settings import Settings

REPORT = PersistenceReport(
    (
        Check("volume.space", "fail", "none", "make room"),
        Check("backups.newest", "warn", "none"),
        Check("a", "pass", "1"),
    )
)


def _folder(data: Path) -> DataFolder:
    return DataFolder.at(Settings(data_dir=data))


def test_the_command_leaves_a_record(tmp_path: Path) -> None:
    folder = _folder(ingested(tmp_path))
    assert record.last(folder) is None
    assert in_process("--data-dir", folder.path, "verify").code == 0
    found = record.last(folder)
    assert found is not None
    assert (found.failed, found.deep_at) == ((), "")
    assert "backups.newest" in found.warned
    assert in_process("--data-dir", folder.path, "verify", "--deep").code == 0
    deep = record.last(folder)
    assert deep is not None
    assert deep.deep_at == deep.at


def test_a_fast_one_does_not_forget_the_deep_one(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.run.mkdir()
    record.remember(folder, REPORT, deep=True)
    deep = record.last(folder)
    assert deep is not None
    assert (deep.checks, deep.warned, deep.failed) == (3, ("backups.newest",), ("volume.space",))
    record.remember(folder, PersistenceReport(()), deep=False)
    assert record.last(folder) == replace(deep, at=record.last(folder).at, checks=0, warned=(), failed=())  # type: ignore[union-attr]


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    record.remember(_folder(tmp_path / "none"), REPORT, deep=False)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_kept_or_understood_is_none(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.run.mkdir()
    for content in ("", "[]", '{"at": "never", "deep_at": "", "checks": 1, "warned": [], "failed": []}'):
        (folder.run / "verified.json").write_text(content)
        assert record.last(folder) is None
    record.remember(folder, REPORT, deep=False)
    assert record.last(folder) is not None
    (folder.run / "verified.json").unlink()
    (folder.run / "verified.json").mkdir()  # nothing can be put in its place
    record.remember(folder, REPORT, deep=False)
    assert record.last(folder) is None
