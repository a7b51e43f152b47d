"""Verification as one call from the settings alone, for command line and flow: also of what does not open."""

from __future__ import annotations

from contextlib import closing

from nescord.home import DataFolder
from nescord.locks import Locks
from nescord.opened import OpenBase
from nescord.persistence import PersistenceReport, verify
from nescord.settings import Settings


def verified(settings: Settings, *, deep: bool = False) -> PersistenceReport:
    """Verify the knowledge base that the settings name, be it readable or not. Nothing is changed.

    Raises:
        NoKnowledgeBaseError: nothing tells of one. LockTimeoutError: a restore or a migration has the database.
    """
    folder = DataFolder.at(settings)
    # On a volume that failed to mount there is nothing either, and that is what is asked about.
    if settings.railway_volume_mount_path is None and not any(
        path.exists() for path in (folder.identity_file, folder.database, folder.backups)
    ):
        DataFolder.find(settings)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    return verify(folder, settings, locks, lambda: closing(OpenBase(folder, settings, is_new=False)), deep=deep)


def repaired(settings: Settings, report: PersistenceReport) -> list[str]:
    """Mend what a verification found, as far as nothing is lost by it; says what was done and what could not be."""
    from nescord.knowledge import KnowledgeManager

    if any(check.name == "database.open" and check.status == "fail" for check in report.checks):
        return ["the database does not open: nothing was mended"]
    with KnowledgeManager.open_existing(settings) as knowledge:
        return knowledge.repair(report) or ["there was nothing that can be mended without loss"]
