"""`nescord verify`: whether what was stored is still there, whole, on a disk that keeps it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from nescord.persistence import PersistenceReport
    from nescord.settings import Settings

_FAILED = 1
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def verify(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every page and index entry of the database, and sample more.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without loss, then verify again.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Verify disk, identity, database, index and backups. Nothing is changed; leaves with 1 if a check failed."""
    call = Call.of(context, data_dir, as_json)
    settings = call.settings()
    report = _verified(settings, deep=deep)
    if repair:
        report = _repaired(settings, report, deep=deep)
    if call.as_json:
        emit(report.document())
    else:
        _show(report)
    if not report:
        raise typer.Exit(_FAILED)


def _verified(settings: Settings, *, deep: bool) -> PersistenceReport:
    """Also of a knowledge base that does not open. NoKnowledgeBaseError where nothing tells of one."""
    from nescord.home import DataFolder
    from nescord.locks import Locks
    from nescord.opened import OpenBase
    from nescord.persistence import verify as verify_persistence

    folder = DataFolder.at(settings)
    # On a volume that failed to mount there is nothing either, and that is what is asked about.
    if settings.railway_volume_mount_path is None and not any(
        path.exists() for path in (folder.identity_file, folder.database, folder.backups)
    ):
        DataFolder.find(settings)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    return verify_persistence(
        folder, settings, locks, lambda: closing(OpenBase(folder, settings, is_new=False)), deep=deep
    )


def _repaired(settings: Settings, report: PersistenceReport, *, deep: bool) -> PersistenceReport:
    from nescord.knowledge import KnowledgeManager

    if any(check.name == "database.open" and check.status == "fail" for check in report.checks):
        say("the database does not open: nothing was mended")
        return report
    with KnowledgeManager.open_existing(settings) as knowledge:
        done = knowledge.repair(report)
    for sentence in done:
        say(f"repair: {sentence}")
    if not done:
        say("there was nothing that can be mended without loss")
        return report
    return _verified(settings, deep=deep)


def _show(report: PersistenceReport) -> None:
    screen = Screen()
    width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        screen.line(Part(check.status, _STYLES[check.status]), f"  {check.name:<{width}}  ", check.value)
        if check.mend:
            screen.line(Part(f"{'':<{width + 8}}-> {check.mend}", "dim"))
    failed = sum(check.status == "fail" for check in report.checks)
    warned = sum(check.status == "warn" for check in report.checks)
    screen.line(f"{len(report.checks)} checks: {failed} failed, {warned} warned")
