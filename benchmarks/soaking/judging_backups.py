"""The backups after a soak: each is whole and holds what it owes; the newest comes back, from here and elsewhere."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from benchmarks.soaking import judging_base as base
from nescord import Settings
from nescord.backup.copies import stage
from nescord.backup.manager import BackupManager
from nescord.backup.store import BackupStore
from nescord.errors import NescordError

if TYPE_CHECKING:
    from benchmarks.soaking.ledger import Life, Snapshot
    from benchmarks.soaking.world import World


def damaged(data: Path) -> Iterator[str]:
    """Backups that cannot be read from the first byte to the last, or are listed as bad."""
    for checked in BackupManager(Settings(_env_file=None, data_dir=data, embedder="none")).checked(None):
        if not checked.ok:
            yield f"the backup {checked.id} is damaged: {'; '.join(checked.problems)}"


def contents(data: Path, scratch: Path) -> Iterator[tuple[str, base.Content | str]]:
    """What each good backup holds, or why that cannot be known."""
    store = BackupStore(data / "backups")
    for manifest in store.good():
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            copy = Path(folder) / "copy.db"
            try:
                stage(store, manifest, copy)
                yield manifest.id, base.read(copy, is_copy=True)
            except (NescordError, apsw.Error, OSError) as error:
                yield manifest.id, f"the backup {manifest.id} cannot be put together: {error}"


def wrong_backups(
    held: Mapping[str, base.Content | str], owed: Mapping[str, Mapping[str, base.States]]
) -> Iterator[str]:
    """Backups that do not hold what they owe. Of one that nobody knows about only its soundness counts."""
    for snapshot, content in held.items():
        if isinstance(content, str):
            yield content
        elif snapshot in owed:
            yield from base.wrong_notes(content, owed[snapshot], f"the backup {snapshot}")
        else:
            yield from (f"the backup {snapshot}: {found}" for found in content.unsound)


def unsaved_forks(
    lives: Sequence[Life], snapshots: Mapping[str, Snapshot], there: Mapping[str, object]
) -> Iterator[str]:
    """Restores without a backup of what was there before them."""
    for number, life in enumerate(lives[1:]):
        before = [each.id for each in snapshots.values() if each.life == number and each.begun == life.asked]
        if not before:
            yield f"nothing was backed up before the restore of {life.origin}"
        elif before[0] not in there:
            yield f"the backup {before[0]} from before the restore of {life.origin} is gone"


def nowhere(somewhere: Iterable[str], live: base.Content, held: Mapping[str, base.Content | str]) -> Iterator[str]:
    """Notes that were acknowledged while a restore was under way, and are neither there nor in any backup."""
    places = [live, *(each for each in held.values() if isinstance(each, base.Content))]
    everywhere = {marker for content in places for marker in content.texts["notes"]}
    for marker in sorted(set(somewhere) - everywhere):
        yield f"{marker}, kept while a restore was under way, is in neither database nor backup"


def brought_back(world: World, *arguments: str, folder: Path, what: str) -> tuple[base.Content | None, list[str]]:
    """What a restore into an empty place gives, and what is wrong with that."""
    done = world.platform.cli(*arguments, seconds=300, NESCORD_DATA_DIR=str(folder), RAILWAY_VOLUME_MOUNT_PATH="")
    if done.code != 0:
        return None, [f"{what} does not come back: exit code {done.code}: {done.err.strip()[-400:]}"]
    return base.read(folder / "nescordbot.db"), []


def newest_comes_back(world: World, scratch: Path) -> Iterator[str]:
    """The newest good backup, put back into an empty folder, and the newest copy from elsewhere likewise."""
    good = BackupStore(world.data / "backups").good()
    if not good:
        yield "there is no good backup"
        return
    newest, here, away = good[-1].id, scratch / "back-here", scratch / "back-from-away"
    copied = world.platform.cli("backup", "restore", newest, "--to", str(here), seconds=300)
    if copied.code != 0:
        yield f"the newest backup {newest} does not come back: exit code {copied.code}: {copied.err.strip()[-400:]}"
        return
    local = base.read(here / "nescordbot.db")
    if newest in world.ledger.snapshots:
        yield from base.wrong_notes(local, world.ledger.owed_by(newest), f"the newest backup {newest}, put back,")
    command = ("backup", "restore", "--from", world.s3.settings["NESCORD_OFF_SITE"])
    elsewhere, wrong = brought_back(
        world, *command, "--identity", str(world.identity), "--yes", folder=away, what="the newest copy from elsewhere"
    )
    yield from wrong
    if elsewhere is not None:
        yield from (f"the newest copy from elsewhere: {found}" for found in elsewhere.unsound)
        yield from differing(local, elsewhere)


def differing(here: base.Content, elsewhere: base.Content) -> Iterator[str]:
    """Notes of the newest backup that its copy from elsewhere does not have, or otherwise."""
    ours = {note.id: note.body for note in here.notes if not note.is_trashed}
    theirs = {note.id: note.body for note in elsewhere.notes if not note.is_trashed}
    for note in sorted(ours.keys() | theirs.keys()):
        if ours.get(note) != theirs.get(note):
            yield f"the note {note} is not the same in the newest backup and in its copy from elsewhere"


def lives_of(lives: Sequence[Life]) -> str:
    """For the summary."""
    return f"{len(lives)} lives of the database, {sum(life.ended < math.inf for life in lives)} ended by a restore"
