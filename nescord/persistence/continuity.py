"""Whether this is still the knowledge base that it was: a volume that failed to mount looks like a fresh one.

The identity file remembers who it is, what it lived through and how much it held; backups and the off-site store
remember the same. An empty database beside memories of a full one is not what its owner had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nescord.backup.manifest import OffSiteSummary
from nescord.errors import NescordError
from nescord.home import DataFolder, Identity, read_identity
from nescord.persistence.report import Checklist, Outcome, failed, passed, warned

if TYPE_CHECKING:
    import apsw

    from nescord.backup.store import BackupStore, Snapshot

_NOT_YOURS = "this is not the volume you had"
_MEND = "attach the right volume, or restore a backup (nescord backup restore …)"
_LEAST_SHARE = 0.1
_COUNTS = """
SELECT count(*) FILTER (WHERE trashed_at IS NULL), count(*), (SELECT count(*) FROM chunk) FROM note
"""


def identity_of(checklist: Checklist, folder: DataFolder) -> Identity | None:
    """Add `continuity.identity`; the identity, if it can be read."""
    identity: Identity | None = None

    def look() -> Outcome:
        nonlocal identity
        if not folder.identity_file.exists():
            found = f"{folder.identity_file} is missing"
            return failed(found, "attach the right volume; if the database is here all the same, run nescord init")
        try:
            identity = read_identity(folder)
        except NescordError as error:
            return failed(str(error), "nescord init makes a new one and keeps the notes, once it is moved away")
        if not identity.is_begun:
            return failed("its beginning was cut short", "nescord init finishes it")
        lived = f"{identity.boots} boots, {len(identity.deployments)} deployments since {identity.first_seen}"
        return passed(f"{identity.uuid}: {lived}")

    checklist.look("continuity.identity", look)
    return identity


def look_at_counts(
    checklist: Checklist, connection: apsw.Connection, identity: Identity | None, off_site: OffSiteSummary | None
) -> int | None:
    """Add `continuity.counts` and `continuity.off_site`: as much is stored as was known before.

    How many notes there are, those in the trash included; None where they cannot be counted.
    """
    kept: int | None = None

    def counts() -> Outcome:
        nonlocal kept
        living, kept, chunks = connection.execute(_COUNTS).get
        return _judged(living, kept, chunks, identity)

    checklist.look("continuity.counts", counts)
    checklist.look("continuity.off_site", lambda: _off_site(kept, identity, off_site))
    return kept


def look_at_owner_of_backups(
    checklist: Checklist, identity: Identity | None, store: BackupStore, snapshots: Sequence[Snapshot] | None
) -> None:
    """Add `continuity.backups`: those that lie here are of this knowledge base. None: they could not be read."""
    checklist.look("continuity.backups", lambda: _owner_of_backups(identity, store, snapshots))


def judge_off_site_alone(checklist: Checklist, identity: Identity | None, off_site: OffSiteSummary | None) -> None:
    """Add `continuity.off_site` where there is no database to count in."""
    if off_site is not None and off_site.count and (identity is None or not identity.is_begun):
        found = f"{_NOT_YOURS}: nothing is here, off site are {off_site.count} backups with {off_site.notes:,} notes"
        checklist.add("continuity.off_site", failed(found, _MEND))
    else:
        checklist.look("continuity.off_site", lambda: _owner_off_site(identity, off_site))


def _judged(living: int, kept: int, chunks: int, identity: Identity | None) -> Outcome:
    value = f"{living:,} notes ({kept - living:,} in the trash), {chunks:,} chunks"
    before = identity.last_counts.get("notes", 0) if identity else 0
    if kept < before * _LEAST_SHARE:
        return failed(f"{_NOT_YOURS}: {value}, but {before:,} notes were known before", _MEND)
    return passed(f"{value}; {before:,} notes were known before" if before else value)


def _off_site(kept: int | None, identity: Identity | None, off_site: OffSiteSummary | None) -> Outcome:
    outcome = _owner_off_site(identity, off_site)
    if off_site is None or outcome.status == "fail":
        return outcome
    if kept is not None and kept < off_site.notes * _LEAST_SHARE:
        found = f"{_NOT_YOURS}: {kept:,} notes here, {off_site.notes:,} in {off_site.newest_id} off site"
        return failed(found, _MEND)
    return outcome


def _owner_off_site(identity: Identity | None, off_site: OffSiteSummary | None) -> Outcome:
    if off_site is None:
        return passed("not used")
    if not off_site.count:
        return warned("the off-site store is empty", "nescord backup replicate")
    if identity is not None and off_site.knowledge_base != identity.uuid:
        found = f"{_NOT_YOURS}: the off-site store keeps {off_site.knowledge_base}, this is {identity.uuid}"
        return failed(found, _MEND)
    return passed(f"{off_site.count} backups, newest {off_site.newest_id} with {off_site.notes:,} notes")


def _owner_of_backups(identity: Identity | None, store: BackupStore, snapshots: Sequence[Snapshot] | None) -> Outcome:
    if snapshots is None:
        return warned("the backups could not be read", "see backups.newest")
    owners = {each.manifest.knowledge_base for each in snapshots if each.manifest is not None}
    owners |= {store.owner()} - {""}
    foreign = owners - {identity.uuid} if identity else set()
    if foreign:
        return failed(f"{_NOT_YOURS}: its backups are of {', '.join(sorted(foreign))}", _MEND)
    return passed("of this knowledge base" if owners else "there are none")
