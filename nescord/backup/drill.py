"""Rehearse a restore: put a snapshot together aside, and ask the database in it what it was asked when it was made.

Checked packs prove that the bytes are there; a drill proves that they are a knowledge base which finds its notes. The
live database is not opened, no model is asked, and everything happens in a scratch folder that is gone afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from nescord.backup.check import Progress, silent
from nescord.backup.copies import counts_of, open_copy, refuse_a_full_disk, refuse_a_newer_schema, stage
from nescord.backup.manifest import Manifest, Probe
from nescord.backup.probes import Answer, asked_again, decoded
from nescord.backup.store import BackupStore
from nescord.catalog import fulltext
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.errors import BackupError, DamagedBackupError, NescordError
from nescord.home import DataFolder, read_identity
from nescord.locks import LockName, Locks
from nescord.opened import OpenBase
from nescord.settings import Settings
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.index.door import ChromaIndex

_LEAST_OVERLAP = 0.95
_HITS = 10
# Cosines of Chroma and of the scan differ in their last bits: a hit this near to the last exact one is as good.
_TIE = 1e-4
# The copy, and a Chroma beside it, which takes two to three times its vectors.
_ROOM = 3


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill found: `problems` is empty when the snapshot would restore and answer as it did.

    `probes` queries were asked over `chunks` chunks; `answers` is what each found. `index_overlap` is the share of the
    nearest ten that a Chroma built from the snapshot finds; None when it was not asked, and `note` says why.
    """

    id: str
    problems: tuple[str, ...]
    probes: int
    chunks: int
    seconds: float
    index_overlap: float | None = None
    note: str = ""
    answers: tuple[Answer, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def drill(
    base: OpenBase, wanted: str | None = None, *, with_index: bool = True, progress: Progress = silent
) -> Drilled:
    """Rehearse a restore of a snapshot (default: the newest good one), and keep the result as its status.

    Raises:
        UsageError: that is no id. BackupError: there is no such snapshot, or no room for a copy of it.
        LockTimeoutError: backups are being pruned.
    """
    begun = time.perf_counter()
    store = BackupStore(base.folder.backups)
    with base.locks.shared(LockName.BACKUPS):
        store.refuse_foreign(read_identity(base.folder).uuid)
        chosen = _newest_good(store) if wanted is None else wanted
        rehearsal = _Rehearsal(store, base.settings, with_index=with_index, progress=progress)
        try:
            rehearsal.run(store.manifest(chosen))
        except DamagedBackupError as error:
            rehearsal.problems.append(str(error))
            store.set_status(chosen, state="bad", reason=str(error))
        result = Drilled(
            id=chosen,
            problems=tuple(rehearsal.problems),
            probes=rehearsal.probes,
            chunks=rehearsal.chunks,
            seconds=round(time.perf_counter() - begun, 3),
            index_overlap=rehearsal.overlap,
            note=rehearsal.note,
            answers=rehearsal.answers,
        )
        store.set_status(
            chosen,
            drilled_at=utc_text(datetime.now(UTC)),
            drill_ok=result.ok,
            drill_note="; ".join(result.problems) or result.note,
        )
    return result


def _newest_good(store: BackupStore) -> str:
    if not (good := store.good()):
        raise BackupError(f"there is no good snapshot in {store.folder}: make one (nescord backup create)")
    return good[-1].id


class _Rehearsal:
    """One drill and what it has found so far."""

    def __init__(self, store: BackupStore, settings: Settings, *, with_index: bool, progress: Progress) -> None:
        self._store = store
        self._settings = settings
        self._with_index = with_index
        self._progress = progress
        self.problems: list[str] = []
        self.probes = 0
        self.chunks = 0
        self.overlap: float | None = None
        self.note = ""
        self.answers: tuple[Answer, ...] = ()

    def run(self, manifest: Manifest) -> None:
        try:
            refuse_a_newer_schema(manifest)
        except BackupError as error:  # of the snapshot, and nothing wrong with it
            self.problems.append(str(error))
            return
        refuse_a_full_disk(self._store.folder, _ROOM * manifest.size, "a drill")
        with self._store.scratch() as scratch:
            database = scratch / "nescordbot.db"
            stage(self._store, manifest, database, progress=self._progress)
            try:
                with open_copy(database) as connection:
                    self._look_into(connection, manifest)
                if not self.problems:
                    self._ask(database, manifest, DataFolder(scratch, database, scratch / "chroma"))
            except (apsw.Error, NescordError) as error:
                self.problems.append(f"the restored database cannot be used: {error}")

    def _look_into(self, connection: apsw.Connection, manifest: Manifest) -> None:
        """Everything that can be said without a query."""
        self._progress("checking the database", 0, 1)
        if (found := connection.pragma("integrity_check")) != "ok":
            self.problems.append(f"the restored database does not pass integrity_check: {found}")
        if rows := connection.execute("PRAGMA foreign_key_check").fetchall():
            self.problems.append(f"{len(rows)} rows of the restored database belong to nothing")
        if (counts := counts_of(connection)) != manifest.counts:
            self.problems.append(f"the restored database holds {counts} instead of {dict(manifest.counts)}")
        self.chunks = counts["chunks"]
        if differing := [*fulltext.not_indexed(connection), *fulltext.only_indexed(connection)]:
            self.problems.append(f"the full-text index of the restored database differs in {len(differing)} chunks")
        self._progress("checking the database", 1, 1)

    def _ask(self, database: Path, manifest: Manifest, folder: DataFolder) -> None:
        """Ask what was asked when the snapshot was made; first of the database, then of a Chroma built from it."""
        self.probes = len(manifest.probes)
        if manifest.counts["notes"] and not manifest.probes:
            self.problems.append("the snapshot holds no query to prove it by, though it has notes")
        with Catalog(database) as catalog:
            if catalog.is_behind:
                catalog.bring_up_to_date(folder.backups)
            with catalog.read() as connection:
                self._progress("asking", 0, self.probes)
                self.answers = tuple(asked_again(connection, manifest.probe_model, manifest.probes))
                self.problems += [str(answer) for answer in self.answers if not answer.agrees]
                self._progress("asking", self.probes, self.probes)
            asked = [probe for probe in manifest.probes if probe.exact]
            if not asked:
                self.note = "the index was not tried: nothing is embedded"
            elif not self._with_index:
                self.note = "the index was not tried: it was not asked for"
            elif self._settings.vector == "exact":
                self.note = "the index was not tried: NESCORD_VECTOR is exact"
            else:
                self._try_the_index(catalog, manifest.probe_model, asked, folder)

    def _try_the_index(self, catalog: Catalog, model_key: str, asked: Sequence[Probe], folder: DataFolder) -> None:
        """Build a Chroma from the restored vectors, in the scratch folder, and hold it against the exact answers."""
        # A second and 100 MB, for whoever builds an index only.
        from nescord.index.door import ChromaIndex
        from nescord.index.drain import rebuild
        from nescord.index.service import open_service

        self._progress("building an index", 0, 1)
        settings = self._settings.model_copy(update={"chroma_url": None})
        locks = Locks(folder.run, timeout=settings.lock_timeout)
        with open_service(settings, folder, locks) as service:
            rebuild(catalog, service, model_key, prefix=settings.collection_name)
            with catalog.read() as connection:
                index = ChromaIndex(service, vectors_sql.model_id(connection, model_key) or 0)
                shares = [_share_found(index, connection, probe) for probe in asked]
        self.overlap = sum(shares) / len(shares)
        self._progress("building an index", 1, 1)
        if self.overlap < _LEAST_OVERLAP:
            # Judged apart: the index is derived, and data without any structure is hard for it.
            self.note = f"an index built from it finds only {self.overlap:.0%} of the nearest chunks"


def _share_found(index: ChromaIndex, connection: apsw.Connection, probe: Probe) -> float:
    """Share of the exact answers to a probe's vector that the index has found, or others that are as near."""
    least = min(score for _, score in probe.exact) - _TIE
    scores = sorted((hit.score for hit in index.query(connection, decoded(probe.vector), _HITS)), reverse=True)
    return sum(score >= least for score in scores[: len(probe.exact)]) / len(probe.exact)
