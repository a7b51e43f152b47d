"""Make a snapshot: a consistent copy while others write, its new pages into one pack, and then all of it read back.

Order is everything: what the manifest names is on disk, and was read back from there, before the manifest is written.
Killed in between, nothing is listed that cannot be restored, and the rest is swept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count, repeat
from pathlib import Path

import apsw

from nescord import durable
from nescord.backup.check import Progress, check, read_back, silent, tree_hash
from nescord.backup.copies import counts_of, open_copy, refuse_a_full_disk
from nescord.backup.manifest import Manifest, PackRef, Probe, Run, snapshot_id
from nescord.backup.packs import page_hash, read_idx, write_pack
from nescord.backup.probes import make_probes
from nescord.backup.store import BackupStore
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.errors import BackupError, DamagedBackupError, LockTimeoutError
from nescord.home import note_counts, read_identity
from nescord.locks import LockName
from nescord.opened import OpenBase
from nescord.times import utc_text

_STEP_PAGES = 1024
# Once more than half is new, or changes outweigh what they changed, a full pack costs less than it saves later.
_MOST_NEW = 0.5
# A base is written once in months: what 6 costs there, half a second, takes 2 % off the repository.
_LEVEL, _LEVEL_OF_A_BASE = 3, 6


@dataclass(frozen=True, slots=True)
class Created:
    """A snapshot that was made and read back: bytes it has added, bytes of the whole store, seconds of wall time.
    `remark` is for a person.
    """

    id: str
    bytes_added: int
    bytes_total: int
    seconds: float
    notes: int
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """The packs that a new snapshot may refer to, and where each page is: hash -> (number of the pack, page in it)."""

    generation: str
    packs: list[PackRef]
    pages: dict[bytes, tuple[int, int]]


def create(base: OpenBase, *, trigger: str = "manual", off_site: int = 0, progress: Progress = silent) -> Created:
    """Back up the database as it is now. Others go on reading and writing meanwhile.

    `off_site` is the highest number that a copy elsewhere knows.

    Raises:
        BackupError: the disk is too full; the store is another knowledge base's; the copy does not pass its checks.
        LockTimeoutError: another backup is being made.
    """
    begun = time.perf_counter()
    store = BackupStore(base.folder.backups)
    identity = read_identity(base.folder)
    with base.verb() as catalog, base.locks.exclusive(LockName.CREATE), _told(store.folder):
        store.prepare(identity.uuid)
        # Not while somebody reads: a slow upload must not hold up tonight's backup.
        with suppress(LockTimeoutError), base.locks.exclusive(LockName.BACKUPS, timeout=0):
            store.sweep()
        with base.locks.shared(LockName.BACKUPS):
            maker = _Maker(store, identity.uuid, trigger, progress)
            made = maker.make(catalog, store.next_seq(off_site))
        note_counts(base.folder, {name: made.counts[name] for name in ("notes", "chunks")})
    return Created(
        id=made.id,
        bytes_added=made.bytes_added,
        bytes_total=store.bytes_used(),
        seconds=round(time.perf_counter() - begun, 3),
        notes=made.counts["notes"],
        remark=maker.remark,
    )


class _Maker:
    def __init__(self, store: BackupStore, knowledge_base: str, trigger: str, progress: Progress) -> None:
        self._store = store
        self._knowledge_base = knowledge_base
        self._trigger = trigger
        self._progress = progress
        self.remark = ""

    def make(self, catalog: Catalog, seq: int) -> Manifest:
        staging = self._store.staging
        shutil.rmtree(staging, ignore_errors=True)  # of a backup that was killed
        durable.make_folder(staging)
        try:
            copy = staging / "nescordbot.db"
            with catalog.read() as connection:
                size = connection.pragma("page_size") * connection.pragma("page_count")
                known = self._known(connection.pragma("page_size"))
                self._refuse_a_full_disk(size, known)
                with _told(self._store.folder):  # before the catalog takes it for its own full disk
                    self._copy(connection, copy)
            manifest = self._from_copy(copy, seq, known)
            try:
                read_back(self._store, manifest, progress=self._progress)
            except DamagedBackupError:
                # An older pack has rotted. What refers to it cannot be restored either, and nothing new may.
                self._find_the_bad(manifest.generation)
                nothing = _Known("", [], {})
                self._refuse_a_full_disk(size, nothing)
                manifest = self._from_copy(copy, seq + 1, nothing)
                read_back(self._store, manifest, progress=self._progress)
            self._store.add(manifest)
            if self._store.manifest(manifest.id) != manifest:
                raise DamagedBackupError(f"the manifest {manifest.id} is not what was written")
            self._store.set_status(manifest.id, state="good", checked_at=utc_text(datetime.now(UTC)))
            return manifest
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _known(self, page_size: int) -> _Known:
        """The pages that need not be written again; none when a new generation is due."""
        nothing = _Known("", [], {})
        snapshots = self._store.snapshots()
        newest = next((each for each in reversed(snapshots) if each.manifest), None)
        if newest is None or newest.manifest is None or newest.manifest.page_size != page_size:
            return nothing
        generation = newest.manifest.generation
        same = [each for each in snapshots if each.manifest and each.manifest.generation == generation]
        if any(each.status.state == "bad" for each in same):
            return nothing
        packs = list({pack.id: pack for each in same if each.manifest for pack in each.manifest.packs}.values())
        base = next((pack.bytes for pack in packs if pack.id == generation), 0)
        if sum(pack.bytes for pack in packs) > 2 * base:
            return nothing
        pages: dict[bytes, tuple[int, int]] = {}
        try:
            for number, pack in enumerate(packs):
                if (self._store.packs / f"{pack.id}.pack").stat().st_size != pack.bytes:
                    return nothing
                pages.update(zip(read_idx(self._store.packs, pack), zip(repeat(number), count()), strict=False))
        except (OSError, DamagedBackupError):
            return nothing
        return _Known(generation, packs, pages)

    def _refuse_a_full_disk(self, size: int, known: _Known) -> None:
        # The copy, and a pack that at worst cannot be compressed: of all pages, or of as many as a delta may have.
        needed = size + (size * _MOST_NEW if known.packs else size)
        refuse_a_full_disk(self._store.folder, needed, "a backup")

    def _copy(self, source: apsw.Connection, target: Path) -> None:
        # Pinned by a read first: a copy that begins anew at each commit of others would never end.
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        copy = apsw.Connection(str(target))
        try:
            copy.pragma("journal_mode", "off")
            copy.pragma("synchronous", 0)  # it is read once and thrown away
            with copy.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(_STEP_PAGES)
                    self._progress("copying", backup.page_count - backup.remaining, backup.page_count)
        finally:
            copy.close()

    def _from_copy(self, copy: Path, seq: int, known: _Known) -> Manifest:
        with open_copy(copy) as connection:
            _refuse_a_damaged_database(connection)
            page_size, schema = connection.pragma("page_size"), connection.pragma("user_version")
            counts = counts_of(connection)
            epoch = vectors_sql.epoch(connection)
            model, probes = self._probes(connection, seq)
        if counts["notes"] and not probes and not self.remark:
            raise BackupError("no query could be kept with the backup to prove it by: nescord verify tells more")
        hashes, whole = self._hashes(copy, page_size)
        if known.packs and len(set(hashes).difference(known.pages)) > _MOST_NEW * len(hashes):
            known = _Known("", [], {})
        snapshot = snapshot_id(seq, datetime.now(UTC))
        packs, runs, added = self._packed(copy, page_size, hashes, known, snapshot)
        return Manifest(
            id=snapshot,
            seq=seq,
            created_at=utc_text(datetime.now(UTC)),
            knowledge_base=self._knowledge_base,
            epoch=epoch,
            app_version=version("nescordbot"),
            schema=schema,
            trigger=self._trigger,
            counts=counts,
            page_size=page_size,
            pages=len(hashes),
            size=len(hashes) * page_size,
            sha256=whole,
            tree=tree_hash(hashes),
            generation=known.generation or snapshot,
            bytes_added=added,
            packs=packs,
            runs=runs,
            probe_model=model,
            probes=probes,
        )

    def _probes(self, connection: apsw.Connection, seed: int) -> tuple[str, tuple[Probe, ...]]:
        try:
            return make_probes(connection, seed)
        # An index that is damaged fails in many ways, and the notes beside it are whole: these are what is backed up.
        except (apsw.Error, TypeError, ValueError) as error:
            self.remark = f"no queries are kept with it, for search does not work ({error}): nescord verify --repair"
            return "", ()

    def _hashes(self, copy: Path, page_size: int) -> tuple[list[bytes], str]:
        whole, hashes, size = hashlib.sha256(), [], copy.stat().st_size
        with copy.open("rb") as file:
            while block := memoryview(file.read(_STEP_PAGES * page_size)):
                whole.update(block)
                hashes += [page_hash(block[at : at + page_size]) for at in range(0, len(block), page_size)]
                self._progress("hashing", len(hashes) * page_size, size)
        return hashes, whole.hexdigest()

    def _packed(
        self, copy: Path, page_size: int, hashes: list[bytes], known: _Known, snapshot: str
    ) -> tuple[tuple[PackRef, ...], tuple[Run, ...], int]:
        """Write the pages that are nowhere yet; the packs and runs of the snapshot, and the bytes added."""
        places = dict(known.pages)
        own = len(known.packs)
        fresh: list[int] = []
        for number, key in enumerate(hashes):
            if key not in places:
                places[key] = (own, len(fresh))
                fresh.append(number)
        packs = list(known.packs)
        added = 0
        if fresh:
            with copy.open("rb") as file:
                pages = self._pages_at(file.fileno(), fresh, hashes, page_size)
                level = _LEVEL if known.packs else _LEVEL_OF_A_BASE
                pack = write_pack(self._store.packs, snapshot, pages, level=level)
            packs.append(pack)
            added = pack.bytes + len(fresh) * len(hashes[0])
        used = sorted({places[key][0] for key in hashes})
        renumbered = {old: new for new, old in enumerate(used)}
        runs: list[list[int]] = []
        for key in hashes:
            pack_number, page = places[key]
            number = renumbered[pack_number]
            last = runs[-1] if runs else None
            if last is not None and last[0] == number and last[1] + last[2] == page:
                last[2] += 1
            else:
                runs.append([number, page, 1])
        return tuple(packs[number] for number in used), tuple(map(Run._make, runs)), added

    def _pages_at(
        self, fd: int, numbers: list[int], hashes: list[bytes], page_size: int
    ) -> Iterator[tuple[bytes, bytes]]:
        for done, number in enumerate(numbers):
            yield hashes[number], os.pread(fd, page_size, number * page_size)
            self._progress("packing", done * page_size, len(numbers) * page_size)

    def _find_the_bad(self, generation: str) -> None:
        """Find out which of the snapshots that share packs are bad."""
        snapshots = self._store.snapshots()
        check(self._store, [each.id for each in snapshots if each.manifest and each.manifest.generation == generation])


def _refuse_a_damaged_database(connection: apsw.Connection) -> None:
    """BackupError unless each table and index passes quick_check.

    Table by table, since a quick_check of all has FTS5 read its whole index, too: four fifths of the time. The tables
    that it is kept in are among those checked; what it says is asked of the drill.
    """
    tables = connection.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type != 'virtual'")
    for (name,) in tables.fetchall():
        for (found,) in connection.execute("SELECT quick_check FROM pragma_quick_check(?)", (name,)):
            if found != "ok":
                raise BackupError(f"the database does not pass its quick_check ({found}): nescord verify tells more")


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"the backup could not be written to {folder} ({error.strerror}): nothing is lost, make room or mend the "
            "disk and try again"
        ) from error
    except apsw.Error as error:
        raise BackupError(
            f"the database could not be backed up to {folder} ({error}): nothing is lost, nescord verify tells more"
        ) from error
