"""Drop snapshots by a policy, then sweep the packs that no other snapshot needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from nescord.backup.manifest import parse_id
from nescord.backup.retention import Candidate, Decision, Policy, plan
from nescord.backup.store import BackupStore, Snapshot
from nescord.errors import BackupError, ServiceUnavailableError
from nescord.home import DataFolder, read_identity
from nescord.locks import LockName, Locks
from nescord.settings import Settings


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of each snapshot, newest first, and how many bytes were freed. In a dry run: what would become.
    `off_site` says what became of the copies elsewhere."""

    decisions: tuple[Decision, ...]
    bytes_freed: int
    off_site: str = ""

    @property
    def kept(self) -> list[str]:
        return [each.id for each in self.decisions if each.keep]

    @property
    def dropped(self) -> list[str]:
        return [each.id for each in self.decisions if not each.keep]


def plan_cleanup(store: BackupStore, policy: Policy, timezone: ZoneInfo) -> list[Decision]:
    """What the policy would do with each snapshot, newest first, and by which rule."""
    return plan(map(candidate, store.snapshots()), policy, timezone, datetime.now(UTC))


def prune(settings: Settings, policy: Policy, *, dry_run: bool = False, off_site: bool = False) -> Pruned:
    """Drop what no rule keeps; with `off_site` also the copies elsewhere of what this very run drops.

    Raises:
        BackupError: a manifest cannot be read, so nobody knows what may go; these are another knowledge base's backups.
        LockTimeoutError: somebody makes or reads a backup.
    """
    folder = DataFolder.find(settings)
    store = BackupStore(folder.backups)
    uuid = read_identity(folder).uuid
    store.refuse_foreign(uuid)
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    timezone = ZoneInfo(settings.timezone)
    if dry_run:
        with locks.shared(LockName.BACKUPS):
            return Pruned(tuple(plan_cleanup(store, policy, timezone)), 0)
    with locks.exclusive(LockName.BACKUPS):
        unreadable = [each for each in store.snapshots() if each.manifest is None]
        if unreadable:
            raise BackupError(f"nothing was dropped: {unreadable[0].problem}; move that file away if nobody needs it")
        decisions = tuple(plan_cleanup(store, policy, timezone))
        before = store.bytes_used()
        for each in decisions:
            if not each.keep:
                store.drop(each.id)
        store.sweep()
        pruned = Pruned(decisions, before - store.bytes_used())
        return replace(pruned, off_site=_drop_copies(settings, pruned.dropped, uuid)) if off_site else pruned


def _drop_copies(settings: Settings, dropped: list[str], uuid: str) -> str:
    from nescord.backup.off_site import OffSite
    from nescord.backup.off_site_copies import delete_off_site

    try:
        done = delete_off_site(OffSite(settings), dropped, knowledge_base=uuid)
    except (BackupError, ServiceUnavailableError) as error:  # here it is done
        return f"no copy was deleted: {error}"
    return done.problem or f"{len(done.ids)} copies were deleted"


def candidate(snapshot: Snapshot) -> Candidate:
    """What the rules need to know of a snapshot."""
    state = snapshot.status.state
    return Candidate(
        id=snapshot.id,
        seq=snapshot.seq,
        created_at=parse_id(snapshot.id)[1],
        # Without a manifest nothing can be restored from it, whatever was known before.
        is_good=False if snapshot.manifest is None else {"good": True, "bad": False}.get(state),
        is_drilled=snapshot.status.drill_ok is True,
        is_pinned=snapshot.status.pinned,
        trigger=snapshot.manifest.trigger if snapshot.manifest else "",
    )
