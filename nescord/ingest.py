"""Ingest a vault: plan (one walk), then draft and commit batch by batch.

Every batch is one transaction, so an interrupted run loses none that was committed, and the next run finds exactly the
rest: there is no state of a run besides what is stored. A plan may be stale when it is committed: what to do with each
file is decided by what the catalog knows at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nescord import pairing
from nescord.catalog import notes as notes_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog import writeback as writeback_sql
from nescord.catalog.database import Catalog
from nescord.catalog.notes import ChunkDiff, DraftNote, IndexedChunk, KnownNote
from nescord.catalog.sources import KnownFailure, Source
from nescord.decoding import DecodeError
from nescord.drafting import Drafting, diff_chunks
from nescord.embed import EmbedProgress
from nescord.identifiers import uuid7
from nescord.notes import Change, Chunk, IngestReport
from nescord.sources import vault
from nescord.sources.vault import Fingerprint, FoundFile, KnownFile, Scan, UnreadableError
from nescord.sources.writeback_taking import WrittenFiles
from nescord.times import utc_text

# A transaction holds the write lock for at most about 250 ms, so that a capture never waits long.
BATCH_NOTES = 200
BATCH_CHARACTERS = 600_000

_NEVER: Fingerprint = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """One walk of a source compared with the catalog. `total` is how many files are to be looked into."""

    source: Source
    root: Path
    scan: Scan
    known_before: int

    @property
    def total(self) -> int:
        return len(self.scan.fresh)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: files looked into, of how many, and seconds since it began."""

    done: int
    total: int
    seconds: float


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """`stop` is asked between files and batches: true ends the run after the batch at hand. `progress` is told after
    each batch of notes, `embed_progress` after each batch of texts that got their vectors; in a dry run `drafted` of
    each note that would be stored, with its new chunks. `gone_lately` notes went by the runs just before, which count
    for whether too many go at once; `only` keeps the walk to some paths (see `plan`)."""

    allow_mass_delete: bool = False
    gone_lately: int = 0
    only: Collection[str] | None = None
    dry_run: bool = False
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[Progress], None] = lambda _: None
    embed_progress: Callable[[EmbedProgress], None] = lambda _: None
    drafted: Callable[[DraftNote, Sequence[Chunk]], None] = lambda *_: None


def plan(
    catalog: Catalog, source: Source, root: Path, drafting: Drafting, only: Collection[str] | None = None
) -> IngestPlan:
    """Walk the vault and find what is new, touched or gone. Opens no note file.

    `only` keeps it to some paths (NFC) and what is below them, where all else is as the last run has left it. Files
    that we have written or removed are judged all together.
    """
    with catalog.read() as connection:
        rows, ours = notes_sql.fingerprints(connection, source.id), writeback_sql.fingerprints(connection, source.id)
    if source.shape != drafting.shape or not source.ingested_at or ours:
        only = None
    rows += ours
    known: dict[str, KnownFile] = {row[0]: row for row in rows if row[1] is None}
    known.update((_raw(row[1]), row) for row in rows if row[1] is not None)
    if source.shape != drafting.shape:
        # Cut by other rules: nothing counts as unchanged.
        known = {raw: (path, raw_path, *_NEVER) for raw, (path, raw_path, *_) in known.items()}
    return IngestPlan(source, root, vault.scan(root, known, source.ignore_hash, only), len(rows))


def commit(catalog: Catalog, ingest_plan: IngestPlan, drafting: Drafting, options: IngestOptions) -> IngestReport:
    """Do what the plan found; see `_Run`."""
    return _Run(catalog, ingest_plan, drafting, options).run()


@dataclass(slots=True)
class _Batch:
    new: list[tuple[str, DraftNote, Sequence[IndexedChunk]]] = field(default_factory=list)
    changed: list[tuple[int, DraftNote, ChunkDiff]] = field(default_factory=list)
    touched: list[tuple[Fingerprint, int]] = field(default_factory=list)
    failed: list[tuple[str, str, bool, Fingerprint]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    characters: int = 0

    def is_full(self) -> bool:
        notes = len(self.new) + len(self.changed)
        return (
            notes >= BATCH_NOTES or self.characters >= BATCH_CHARACTERS or len(self.touched) + len(self.failed) >= 2000
        )


class _Run:
    """One run over one source: owns the report and the batch at hand."""

    def __init__(self, catalog: Catalog, ingest_plan: IngestPlan, drafting: Drafting, options: IngestOptions) -> None:
        self._catalog = catalog
        self._plan = ingest_plan
        self._source = ingest_plan.source
        self._drafting = drafting
        self._options = options
        self._batch = _Batch()
        self._started = time.perf_counter()
        self.report = IngestReport(
            source=self._source.name, unchanged=ingest_plan.scan.unchanged, dry_run=options.dry_run
        )
        self._failures: dict[str, KnownFailure] = {}
        self._known: dict[str, KnownNote] = {}
        self._trashed: dict[str, KnownNote] = {}
        self._ours = WrittenFiles(
            catalog, self._source, ingest_plan.root, drafting, self.report, stop=self._options.stop
        )

    def run(self) -> IngestReport:
        scan = self._plan.scan
        with self._catalog.read() as connection:
            self._failures = sources_sql.known_failures(connection, self._source.id)
            if scan.fresh or scan.vanished:
                self._known = notes_sql.known_by_path(connection, self._source.id)
                self._trashed = notes_sql.trashed_by_path(connection, self._source.id)
        for path, reason in scan.failed:
            self._fail(path, reason, _NEVER)
        vanished = self._vanished()
        fresh = list(self._without_twins(self._ours.take(scan, self._known, vanished)))
        renames = self._renames(fresh, vanished)
        done = 0
        for file in fresh:
            if self._options.stop():
                self.report.interrupted = True
                break
            self._take(file, renames.get(file.raw))
            done += 1
            if self._batch.is_full():
                self._flush(done)
        self._flush(done)
        if not self.report.interrupted:
            renamed = {old.path for old in renames.values()}
            self._delete([old for old in vanished.values() if old.path not in renamed] + self._ours.gone)
            self._finish()
        self.report.seconds = round(time.perf_counter() - self._started, 3)
        return self.report

    def _vanished(self) -> dict[str, KnownNote]:
        """The notes whose files are gone. A name whose bytes changed while its NFC text did not is still there."""
        present = {file.path for file in self._plan.scan.fresh}
        by_raw = {_raw(note.raw_path) if note.raw_path else path: note for path, note in self._known.items()}
        gone = (by_raw[raw] for raw in self._plan.scan.vanished if raw in by_raw)
        return {note.path: note for note in gone if note.path not in present}

    def _without_twins(self, fresh: list[FoundFile]) -> Iterator[FoundFile]:
        """Files whose names differ in bytes and are one in NFC: the one that is known, else the first, is the note."""
        vanished = set(self._plan.scan.vanished)
        taken: dict[str, str] = {}
        for file in fresh:
            known = self._known.get(file.path)
            owner = taken.get(file.path)
            if known is not None:
                known_raw = _raw(known.raw_path) if known.raw_path else known.path
                owner = known_raw if known_raw != file.raw and known_raw not in vanished else owner
            if owner is None or owner == file.raw:
                taken[file.path] = file.raw
                yield file
            else:
                name = ascii(file.raw.rpartition("/")[2])
                self._fail(
                    f"{file.path} ({name})",
                    "two file names differ only in how their characters are composed (NFC/NFD): rename one of them",
                    file.fingerprint,
                )

    def _renames(self, fresh: list[FoundFile], vanished: dict[str, KnownNote]) -> dict[str, KnownNote]:
        """Which new file is which vanished note under a new name (raw path -> note)."""
        candidates = [file for file in fresh if file.path not in self._known]
        if not vanished or not candidates:
            return {}
        return pairing.renames(
            candidates,
            vanished,
            read=lambda file: vault.read(self._plan.root, file.raw, self._drafting.max_bytes),
            draft=lambda file, content: self._drafting.vault_note(
                file, content, source=self._source.id, space=self._source.space
            )[0],
            hashes=self._chunk_hashes,
        )

    def _chunk_hashes(self, note: KnownNote) -> list[bytes]:
        with self._catalog.read() as connection:
            return [stored.text_hash for stored in notes_sql.chunks_of(connection, note.key)]

    def _take(self, file: FoundFile, renamed_from: KnownNote | None) -> None:
        """Look into one file and put what follows into the batch."""
        failure = self._failures.get(file.path)
        if failure and not failure.stored and failure.fingerprint == file.fingerprint:
            self.report.failed += 1
            return
        known = self._known.get(file.path)
        before = known or renamed_from or self._trashed.get(file.path)
        try:
            content = vault.read(self._plan.root, file.raw, self._drafting.max_bytes)
            self.report.files_read += 1
            if known and known.content_hash == content.digest and self._source.shape == self._drafting.shape:
                self.report.unchanged += 1
                if known.raw_path is None or _raw(known.raw_path) == file.raw:
                    self._batch.touched.append((content.fingerprint, known.key))
                    return
            draft, warnings = self._drafting.vault_note(
                file,
                content,
                source=self._source.id,
                space=self._source.space,
                created_before=before.created_at if before else "",
            )
        except UnreadableError as error:
            self._fail(file.path, str(error), file.fingerprint)
            return
        except DecodeError as error:
            self._fail(file.path, str(error), content.fingerprint)
            return
        self._batch.characters += len(draft.body)
        if warnings:
            self.report.warned += 1
            self._batch.failed.append((file.path, "; ".join(warnings), True, content.fingerprint))
        elif failure:
            self._batch.mended.append(file.path)
        if before is None:
            self._batch.new.append((str(uuid7()), draft, [IndexedChunk.of(chunk) for chunk in draft.chunks]))
            self.report.chunks_added += len(draft.chunks)
            self._count("added", file.path)
            return
        with self._catalog.read() as connection:
            diff = diff_chunks(notes_sql.chunks_of(connection, before.key), draft)
        self._batch.changed.append((before.key, draft, diff))
        self.report.chunks_added += len(diff.new)
        self.report.chunks_deleted += len(diff.gone)
        if known and known.content_hash != content.digest:
            self._count("changed", file.path)
        elif known and self._source.shape != self._drafting.shape:
            self.report.unchanged += 1
        elif renamed_from and not known:
            self._count("renamed", file.path, was=renamed_from.path)
        elif not known:
            self._count("revived", file.path)

    def _count(self, what: str, path: str, was: str = "") -> None:
        setattr(self.report, what, getattr(self.report, what) + 1)
        self.report.changes.append(Change(what, path, was))  # type: ignore[arg-type]  # one of its literals

    def _fail(self, path: str, reason: str, fingerprint: Fingerprint) -> None:
        self.report.failed += 1
        self.report.changes.append(Change("failed", path, reason=reason))
        self._batch.failed.append((path, reason, False, fingerprint))

    def _flush(self, done: int) -> None:
        batch, self._batch = self._batch, _Batch()
        if self._options.dry_run:
            for _, draft, new in batch.new:
                self._options.drafted(draft, [each.chunk for each in new])
            for _, draft, diff in batch.changed:
                self._options.drafted(draft, [each.chunk for each in diff.new])
        if not self._options.dry_run and (batch.new or batch.changed or batch.touched or batch.failed or batch.mended):
            with self._catalog.write() as connection:
                notes_sql.insert(connection, batch.new)
                notes_sql.update(connection, batch.changed)
                notes_sql.touch(connection, batch.touched)
                sources_sql.record_failures(connection, self._source.id, batch.failed, _now())
                sources_sql.clear_failures(connection, self._source.id, batch.mended)
        self._options.progress(Progress(done, self._plan.total, time.perf_counter() - self._started))

    def _delete(self, gone: list[KnownNote]) -> None:
        """Trash what vanished, unless so much did that an unmounted or half-synced vault is the likelier reason."""
        # A stale plan must not trash what has come back meanwhile.
        gone = [note for note in gone if not self._is_there(note)]
        reason = "" if self._options.allow_mass_delete else self._doubt(gone)
        if reason:
            self.report.withheld = len(gone)
            self.report.changes += [Change("withheld", note.path, reason=reason) for note in gone]
            self.report.messages.append(
                f"nothing was deleted: {reason}. If these {len(gone)} notes are meant to go, "
                "ingest again with --allow-mass-delete"
            )
            return
        self.report.deleted = len(gone)
        self.report.changes += [Change("deleted", note.path) for note in gone]
        if gone and not self._options.dry_run:
            with self._catalog.write() as connection:
                keys = [note.key for note in self._ours.leaving(connection, gone)]
                self.report.chunks_deleted += notes_sql.trash(connection, keys, _now())

    def _is_there(self, note: KnownNote) -> bool:
        raw = _raw(note.raw_path) if note.raw_path else note.path
        with suppress(OSError):
            (self._plan.root / raw).lstat()
            return self._plan.scan.ignore_hash == self._source.ignore_hash
        return False

    def _doubt(self, gone: list[KnownNote]) -> str:
        before = self._plan.known_before
        left = before - len(gone) + self.report.added
        if gone and left == 0:
            return f"the vault {self._plan.root} is empty, it had {before} notes"
        lately = len(gone) + self._options.gone_lately
        if gone and lately > 20 and lately > (before + self._options.gone_lately) / 5:
            return f"{lately} of {before + self._options.gone_lately} notes of {self._source.name} vanished at once"
        # A folder with a single note is emptied in everyday use; several at once look like a mount that is not there.
        folders: dict[str, int] = {}
        for note in gone:
            top, slash, _ = note.path.partition("/")
            if slash:
                folders[top] = folders.get(top, 0) + 1
        for top, count in sorted(folders.items()):
            if count > 1 and count == sum(path.startswith(top + "/") for path in (*self._known, *self._ours.paths)):
                return f'all {count} notes of the folder "{top}" vanished at once'
        return ""

    def _finish(self) -> None:
        source, scan = self._source, self._plan.scan
        paths = {file.path for file in scan.fresh} | {path for path, _ in scan.failed}
        stale = [
            path
            for path, failure in self._failures.items()
            if path not in paths and scan.has_looked_at(path) and not self._still_there(path, failure)
        ]
        if self._options.dry_run:
            return
        kind = vault.kind_of(self._plan.root)
        ignore_hash = source.ignore_hash if self.report.withheld else scan.ignore_hash
        unchanged = (source.shape, source.ignore_hash, source.kind) == (self._drafting.shape, ignore_hash, kind)
        if unchanged and not stale and not self.report.changes:
            return
        with self._catalog.write() as connection:
            sources_sql.clear_failures(connection, source.id, stale)
            sources_sql.ingested(
                connection, source.id, shape=self._drafting.shape, ignore_hash=ignore_hash, kind=kind, when=_now()
            )

    def _still_there(self, path: str, failure: KnownFailure) -> bool:
        """A warning stays while its note is unchanged; a failure is judged anew on every walk that meets its file."""
        return failure.stored and (self._plan.root / path).exists()


def _raw(raw_path: bytes) -> str:
    return raw_path.decode("utf-8", "surrogateescape")


def _now() -> str:
    return utc_text(datetime.now(UTC))
