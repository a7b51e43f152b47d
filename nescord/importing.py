"""Take in notes of a source that is no folder: an export, or the database of another program.

As with a vault, every batch is one transaction and there is no state of a run besides what is stored, so a run that was
killed goes on with the next one. Unlike with a vault nothing is ever deleted: a later export may hold less. And what
was changed by others since it was imported is never written over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from nescord.backup import erasures
from nescord.catalog import importing as sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog.importing import ImportedNote, mark_of
from nescord.catalog.notes import ChunkDiff, DraftNote, IndexedChunk
from nescord.catalog.revisions import Revision
from nescord.drafting import diff_chunks
from nescord.errors import NescordError, UsageError
from nescord.identifiers import made_at, uuid7_of
from nescord.importing_drafts import clean, drafted, drafted_files, former_revisions
from nescord.ingest import BATCH_CHARACTERS, BATCH_NOTES, Progress
from nescord.locks import LockName
from nescord.notes import Change, IngestReport
from nescord.setting_rules import is_space
from nescord.sources.entries import Entry, NoteSource, SourceNote, UnreadableError
from nescord.times import utc_text

if TYPE_CHECKING:
    import apsw

    from nescord.catalog.attachments import DraftAttachment
    from nescord.catalog.database import Catalog
    from nescord.opened import OpenBase

Owner = Literal["source", "us"]
_BYTES_PER_CHARACTER = 32
_NO_FILE = (0, 0, 0, 0)


@dataclass(slots=True)
class ImportReport(IngestReport):
    """What one import did. `kept` of the notes that the source has otherwise are as they were here: changed through us
    since, in the trash, erased for good, or there already from somewhere else (`withheld` in the changes says which).
    `space` is where notes go that name none."""

    kept: int = 0
    space: str = ""


def take_in(
    base: OpenBase,
    source: NoteSource,
    *,
    space: str,
    owner: Owner = "source",
    moves_space: bool = False,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> ImportReport:
    """Store what is new or changed in `source`; done twice, the second time changes nothing.

    `owner` is whose the new notes are: those of ours can be changed through us. A source that is known stays in the
    space where it is, so that no later import shows notes to others; `moves_space` moves it, and its notes, to `space`.

    Raises:
        UsageError: there is no such space, or the source cannot be read; what was read until then is stored.
        LockTimeoutError: an ingest is under way.
    """
    if not is_space(space):
        raise UsageError(f'"{space}" is no space: personal, guild:<id> or user:<id>, where <id> is a number of Discord')
    with base.verb() as catalog, base.locks.exclusive(LockName.INGEST):
        run = _Import(base, catalog, source, space, owner)
        run.register(moves_space=moves_space)
        return run.run(stop, progress)


@dataclass(frozen=True, slots=True)
class _Read:
    """A note that was read: its draft, what it said before, and its files."""

    draft: DraftNote
    history: Sequence[tuple[Revision, str]]
    files: Sequence[DraftAttachment]

    def size(self) -> int:
        """In characters of text, as a batch counts them: bytes of files cost less."""
        texts = len(self.draft.body) + sum(len(revision.body) for revision, _ in self.history)
        return texts + sum(len(file.content or b"") for file in self.files) // _BYTES_PER_CHARACTER


@dataclass(slots=True)
class _Batch:
    new: list[tuple[str, DraftNote, Sequence[IndexedChunk]]] = field(default_factory=list)
    changed: list[tuple[int, DraftNote, ChunkDiff]] = field(default_factory=list)
    # Beside each note, by its id: what hangs on it, and whether the text that it has is to be kept as a revision.
    beside: list[tuple[str, _Read, bool]] = field(default_factory=list)
    before: list[ImportedNote] = field(default_factory=list)  # of each changed one
    failed: list[tuple[str, str, bool, tuple[int, int, int, int]]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    size: int = 0

    def is_full(self) -> bool:
        return len(self.new) + len(self.changed) + len(self.failed) >= BATCH_NOTES or self.size >= BATCH_CHARACTERS


class _Import:
    """One run over one source: owns the report and the batch at hand."""

    def __init__(self, base: OpenBase, catalog: Catalog, source: NoteSource, space: str, owner: Owner) -> None:
        self._catalog = catalog
        self._drafting = base.drafting
        self._backups = base.folder.backups
        self._notes = source
        self._space = space
        self._owner = owner
        self._batch = _Batch()
        self._started = time.perf_counter()
        self.report = ImportReport(source=source.name)

    def register(self, *, moves_space: bool) -> None:
        """Find or make the source, and read what is known of it."""
        with self._catalog.write() as connection:
            self._source = sql.source_of(
                connection, self._notes.name, self._notes.root, self._space, self._drafting.shape
            )
            if moves_space and self._source.space != self._space:
                sql.move_space(connection, self._source, self._space)
                self._source = replace(self._source, space=self._space)
        with self._catalog.read() as connection:
            known = sql.known(connection, self._source.id)
            self._failures = sources_sql.known_failures(connection, self._source.id)
        # What lives comes last, and wins over what is in the trash under the same path.
        self._by_path = {note.path: note for note in known}
        self._by_id = {note.note_id: note for note in known}
        # The ids of the notes that the source has had so far: two with the same one would take turns at each import.
        self._met: set[str] = set()
        self._taken = {note.path for note in known if not note.is_trashed}
        self._look_at_erasures()
        self.report.source, self.report.space = self._source.name, self._source.space

    def run(self, stop: Callable[[], bool], progress: Callable[[Progress], None]) -> ImportReport:
        seen: set[str] = set()
        try:
            for entry in self._notes.scan():
                if stop():
                    self.report.interrupted = True
                    break
                self._take(entry, seen)
                if self._batch.is_full():
                    self._flush()
                    progress(Progress(len(seen), 0, time.perf_counter() - self._started))
        except NescordError:
            self._flush()
            raise
        self._flush()
        progress(Progress(len(seen), len(seen), time.perf_counter() - self._started))
        if not self.report.interrupted:
            self._finish(seen)
        self.report.seconds = round(time.perf_counter() - self._started, 3)
        return self.report

    def _take(self, entry: Entry, seen: set[str]) -> None:
        """Look at one entry and put what follows into the batch."""
        path = entry.path
        if path in seen:
            self._fail(path, "it is there twice: only the first one is taken in")
            return
        seen.add(path)
        known = self._by_path.get(path)
        if known and self._is_same(known, entry):
            self.report.unchanged += 1
            self._met.add(known.note_id)
            return
        try:
            note = self._notes.read(entry)
            self.report.files_read += 1
            if note.note_id in self._met:
                raise UnreadableError(f"it has the id of another note of this source, {note.note_id}")
            place, before = self._known_as(note, path)
            warnings: Sequence[str] = ()
            if before is None or self._may_change(before, entry):
                warnings = self._store(note, Entry(place, entry.digest), before)
            self._met.add(note.note_id or (before.note_id if before else ""))
            self._met.discard("")
        except UnreadableError as error:
            self._fail(path, str(error))
            return
        if warnings:
            self.report.warned += 1
            self._batch.failed.append((path, "; ".join(warnings), True, _NO_FILE))
        elif path in self._failures:
            self._batch.mended.append(path)

    def _is_same(self, known: ImportedNote, entry: Entry) -> bool:
        is_cut_alike = self._source.shape == self._drafting.shape
        return is_cut_alike and not known.is_trashed and _is_untouched(known) and known.content_hash == entry.digest

    def _known_as(self, note: SourceNote, path: str) -> tuple[str, ImportedNote | None]:
        """Which stored note it is, by its id where the source gives one, else by its path; and where it belongs: its
        path may be that of another note by now."""
        at_path = self._by_path.get(path)
        if not note.note_id or (at_path and at_path.note_id == note.note_id):
            return path, at_path
        before = self._by_id.get(note.note_id)
        if path not in self._taken:
            return path, before
        if before and not before.is_trashed:
            return before.path, before
        stem, number = path.removesuffix(".md"), 2
        while (free := f"{stem} ({number}).md") in self._taken:
            number += 1
        return free, before

    def _may_change(self, before: ImportedNote, entry: Entry) -> bool:
        """Not what others have changed or deleted since, and not what is the same; the report says so."""
        if before.is_trashed and before.owner == "us":
            self._keep(entry.path, "it was put into the trash here")
        elif not before.is_trashed and not _is_untouched(before):
            self._keep(entry.path, "it was changed here since it was imported")
        elif self._is_same(before, entry) and entry.path in self._taken:
            self.report.unchanged += 1
        else:
            return True
        return False

    def _store(self, note: SourceNote, entry: Entry, before: ImportedNote | None) -> Sequence[str]:
        """Draft the note for its place and put it into the batch; the warnings about it."""
        read, warnings = self._read(note, entry, before)
        if before is None:
            self._add(note.note_id, read)
        elif before.is_trashed:
            self._change(read, before, "revived")
        elif before.path != entry.path:
            self._change(read, before, "renamed", was=before.path)
            # Another note may get the path that it had, which is free only then.
            self._flush()
            self._taken.discard(before.path)
            self._by_path.pop(before.path, None)
        else:
            self._change(read, before, "unchanged" if before.content_hash == entry.digest else "changed")
        self._taken.add(entry.path)
        self._batch.size += read.size()
        return warnings

    def _read(self, note: SourceNote, entry: Entry, before: ImportedNote | None) -> tuple[_Read, tuple[str, ...]]:
        # Whose it is was decided when it came.
        owner = before.owner if before else note.owner or self._owner
        created = before.created_at if before else ""
        draft, warnings = drafted(self._drafting, note, entry, self._source, owner=owner, created_before=created)
        return _Read(draft, former_revisions(draft, note.history), drafted_files(note.attachments)), warnings

    def _add(self, note_id: str, read: _Read) -> None:
        draft = read.draft
        note_id = note_id or self._derived_id(draft)
        if note_id in self._batch.ids:
            self._flush()
        if self._is_erased(note_id, draft):
            self._keep(draft.path, "it was erased for good here")
            return
        with self._catalog.read() as connection:
            there = sql.place(connection, note_id)
        if there:
            self._keep(draft.path, f"the note is there already, as {there}")
            return
        self._batch.ids.add(note_id)
        self._batch.new.append((note_id, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks]))
        self._batch.beside.append((note_id, read, False))
        self.report.chunks_added += len(draft.chunks)
        self._count("added", draft.path)

    def _change(
        self,
        read: _Read,
        before: ImportedNote,
        what: Literal["changed", "renamed", "revived", "unchanged"],
        was: str = "",
    ) -> None:
        """`unchanged` is a note that is only cut by other rules."""
        with self._catalog.read() as connection:
            diff = diff_chunks(notes_sql.chunks_of(connection, before.key), read.draft)
        keeps_text = what in ("changed", "renamed") and before.owner == "us" and not read.history
        self._batch.ids.add(before.note_id)
        self._batch.changed.append((before.key, read.draft, diff))
        self._batch.before.append(before)
        self._batch.beside.append((before.note_id, read, keeps_text))
        self.report.chunks_added += len(diff.new)
        self.report.chunks_deleted += len(diff.gone)
        if what == "unchanged":
            self.report.unchanged += 1
        else:
            self._count(what, read.draft.path, was)

    def _derived_id(self, draft: DraftNote) -> str:
        """The same note of the same source has the same id in every life: what was erased stays known by it."""
        name = f"{self._notes.root}\n{draft.path}".encode()
        return str(uuid7_of(datetime.fromisoformat(draft.created_at), name))

    def _look_at_erasures(self) -> None:
        self._erased = erasures.erased(self._backups)
        self._erased_people = erasures.erased_people(self._backups)

    def _is_erased(self, note_id: str, draft: DraftNote) -> bool:
        if note_id in self._erased:
            return True
        made = made_at(note_id)
        when = min(draft.created_at, utc_text(made)) if made else draft.created_at
        return any(when < self._erased_people.get(who, "") for who in (draft.author, draft.space))

    def _count(self, what: Literal["added", "changed", "renamed", "revived"], path: str, was: str = "") -> None:
        setattr(self.report, what, getattr(self.report, what) + 1)
        self.report.changes.append(Change(what, path, was))

    def _keep(self, path: str, reason: str) -> None:
        self.report.kept += 1
        self.report.changes.append(Change("withheld", path, reason=f"kept as it is: {reason}"))

    def _fail(self, path: str, reason: str) -> None:
        self.report.failed += 1
        self.report.changes.append(Change("failed", path, reason=reason))
        self._batch.failed.append((clean(path), clean(reason), False, _NO_FILE))

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not (batch.new or batch.changed or batch.failed or batch.mended):
            return
        now = utc_text(datetime.now(UTC))
        with self._catalog.write() as connection:
            self._leave_overtaken(connection, batch)
            for note_id, _, keeps_text in batch.beside:
                if keeps_text:
                    revisions_sql.keep(connection, note_id, merge="", merged_into="", when=now)
            notes_sql.insert(connection, batch.new)
            notes_sql.update(connection, batch.changed)
            for note_id, read, _ in batch.beside:
                if read.history:
                    sql.set_history(connection, note_id, read.history)
                sql.set_attachments(connection, note_id, read.files)
            sources_sql.record_failures(connection, self._source.id, batch.failed, now)
            sources_sql.clear_failures(connection, self._source.id, batch.mended)

    def _leave_overtaken(self, connection: apsw.Connection, batch: _Batch) -> None:
        """Of what others have changed or erased while this run was reading, nothing is written."""
        self._look_at_erasures()
        now = sql.known_again(connection, [before.key for before in batch.before])
        gone = {note_id: draft.path for note_id, draft, _ in batch.new if self._is_erased(note_id, draft)}
        gone |= {each.note_id: each.path for each in batch.before if now.get(each.key) != each}
        if not gone:
            return
        batch.new = [each for each in batch.new if each[0] not in gone]
        keys = {each.key for each in batch.before if each.note_id in gone}
        batch.changed = [each for each in batch.changed if each[0] not in keys]
        for note_id, read, _ in batch.beside:
            if note_id in gone:
                self._take_back(read.draft.path)
        batch.beside = [each for each in batch.beside if each[0] not in gone]

    def _take_back(self, path: str) -> None:
        """Count a note among those that are kept as they are after all."""
        counted = [change for change in self.report.changes if change.path == path and change.what != "failed"]
        for change in counted:
            self.report.changes.remove(change)
        what = counted[-1].what if counted else "unchanged"
        setattr(self.report, what, getattr(self.report, what) - 1)
        self._keep(path, "it was changed or erased here meanwhile")

    def _finish(self, seen: set[str]) -> None:
        stale = [path for path in self._failures if path not in seen]
        report = self.report
        is_same = not stale and not report.changes and self._source.ingested_at
        if is_same and self._source.shape == self._drafting.shape:
            return
        with self._catalog.write() as connection:
            sources_sql.clear_failures(connection, self._source.id, stale)
            sources_sql.ingested(
                connection,
                self._source.id,
                shape=self._drafting.shape,
                ignore_hash=b"",
                kind="folder",
                when=utc_text(datetime.now(UTC)),
            )


def _is_untouched(note: ImportedNote) -> bool:
    return note.mark == mark_of(note.content_hash)
