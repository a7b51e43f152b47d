"""What an ingest does with the files of notes of ours: it knows them by the table, and the rest of it never sees them.

Unchanged: nothing. Changed: the note is edited. Gone: it goes to the trash. Renamed: its path follows. Where the note
was changed through us as well since both agreed last, both texts are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import apsw

from nescord import pairing
from nescord.catalog import notes as notes_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog import writeback as sql
from nescord.catalog.database import Catalog
from nescord.catalog.notes import KnownNote
from nescord.catalog.sources import Source
from nescord.catalog.writeback import Row, Sent
from nescord.decoding import DecodeError
from nescord.drafting import Drafting
from nescord.notes import Change, IngestReport
from nescord.sources import vault, writeback_file, writeback_note
from nescord.sources.vault import Content, Fingerprint, FoundFile, Scan, UnreadableError
from nescord.sources.writeback_names import Names, conflict_stem, folder_of
from nescord.sources.writeback_note import Stored
from nescord.times import utc_text

# A transaction holds the write lock for some 100 ms at most.
_BATCH = 50
_NEVER: Fingerprint = (0, 0, 0, 0)


@dataclass(slots=True)
class _Batch:
    """Files that only have to be written down."""

    touched: list[tuple[str, Fingerprint]] = field(default_factory=list)
    arrived: list[tuple[FoundFile, Content, Row, Sent]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


class WrittenFiles:
    """The files of notes of ours in one run over a vault.

    `gone` are the notes whose files are gone and that are to go to the trash; whoever does that asks `leaving` first.
    `paths` are those of all files.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: Source,
        root: Path,
        drafting: Drafting,
        report: IngestReport,
        stop: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._source = source
        self._root = root
        self._drafting = drafting
        self._report = report
        self._stop = stop
        self._batch = _Batch()
        self._sent: dict[str, list[Sent]] = {}
        self._ids: dict[str, str] = {}
        self._failed: Mapping[str, object] = {}
        self._failing: set[str] = set()
        self.paths: tuple[str, ...] = ()
        self.gone: list[KnownNote] = []

    def take(self, scan: Scan, known: Mapping[str, KnownNote], vanished: Mapping[str, KnownNote]) -> list[FoundFile]:
        """Bring the notes up to date with their files; returns the fresh files that are none of theirs.

        `known` and `vanished` are the notes of the vault itself, by path.
        """
        with self._catalog.read() as connection:
            rows = sql.rows_of(connection, self._source.id)
            self._sent = sql.sent_of(connection, self._source.id)
            self._failed = sources_sql.known_failures(connection, self._source.id) if rows else {}
        if not rows:
            return scan.fresh
        self.paths = tuple(row.path for row in rows if row.state == "there")
        self._ids = {row.path: row.note_id for row in rows}
        by_path = {row.path: row for row in rows}
        by_raw = {_raw(row): row for row in rows}
        others, met, missing = [], set(), set(scan.vanished)
        self._forget_removals([row for raw, row in by_raw.items() if row.state == "there" and raw not in missing])
        for file in scan.fresh:
            row = by_raw.get(file.raw) or by_path.get(file.path)
            # A name that only looks the same is another file, as long as the note's own is there.
            is_twin = row is not None and row.state == "there" and file.raw != _raw(row) and _raw(row) not in missing
            if row is None or is_twin or row.note_id in met:
                others.append(file)
                continue
            met.add(row.note_id)
            if not self._is_stopped() and not self._look(file, row):
                others.append(file)
        lost = [
            row
            for raw, row in by_raw.items()
            if row.note_id not in met
            and (raw in missing if row.state == "there" else row.note_id in self._sent)
            # Ignored from now on: it is still there, and nobody has removed it.
            and not os.path.lexists(os.path.join(self._root, raw))  # noqa: PTH118 - the name as it is on disk
        ]
        renamed = self._renamed([file for file in others if file.path not in known], lost, vanished)
        for file, row in renamed:
            others.remove(file)
            if not self._is_stopped():
                self._follow(file, row)
        moved = {row.note_id for _, row in renamed}
        for row in lost:
            if row.state == "there" and row.note_id not in moved and not self._is_stopped():
                self._miss(row)
        self._flush()
        return others

    def leaving(self, connection: apsw.Connection, gone: list[KnownNote]) -> list[KnownNote]:
        """Which of these notes, whose files are gone, go to the trash in this transaction: all but those of ours that
        were changed at the last moment, whose files are written again."""
        ours, leaving = {note.path for note in self.gone}, []
        for note in gone:
            if note.path in ours:
                row = sql.row_of(connection, self._ids[note.path])
                known = writeback_note.stored(connection, self._ids[note.path])
                sql.gone(connection, [self._ids[note.path]])
                if known is None or row is None or known.note_hash != row.note_hash:
                    continue
            leaving.append(note)
        return leaving

    def _is_stopped(self) -> bool:
        if not self._report.interrupted and self._stop():
            self._report.interrupted = True
        return self._report.interrupted

    def _look(self, file: FoundFile, row: Row) -> bool:
        """Look into a file whose path is a note's; false where it is another file after all."""
        try:
            content = vault.read(self._root, file.raw, self._drafting.max_bytes)
        except UnreadableError as error:
            self._fail(file, str(error), file.fingerprint)
            return True
        self._report.files_read += 1
        sent = self._sent.get(row.note_id, [])
        arrived = next((each for each in sent if each.content_hash == content.digest), None)
        if row.state == "there" and content.digest == row.content_hash:
            self._batch.touched.append((row.note_id, content.fingerprint))
            self._report.unchanged += 1
        elif arrived:
            self._batch.arrived.append((file, content, row, arrived))
            self._report.unchanged += 1
        elif row.state == "there" or self._is_its(row, content):
            self._take_changed(file, content, row)
        else:
            if not self._report.dry_run:
                with self._catalog.write() as connection:
                    sql.drop(connection, [row.note_id])
            return False
        if file.path in self._failed and file.path not in self._failing:
            self._batch.mended.append(file.path)
        if len(self._batch.touched) + len(self._batch.arrived) >= _BATCH:
            self._flush()
        return True

    def _is_its(self, row: Row, content: Content) -> bool:
        """Whether a file is the note's though it is not known to be there: what was removed and came back, or what was
        sent and has been changed already. That it claims the note's id counts only in the place that we chose for it.
        """
        if row.state == "gone" and content.digest == row.content_hash:
            return True
        return writeback_file.claimed_id(content.data) == row.note_id

    def _take_changed(self, file: FoundFile, content: Content, row: Row, was: str = "") -> None:
        """Somebody has changed the file: so has to be the note."""
        if self._report.dry_run:
            self._count("changed", file.path)
            return
        try:
            with self._catalog.write() as connection:
                known = writeback_note.stored(connection, row.note_id)
                if known:
                    self._merge(connection, file, content, row, known, was)
                # Of an erased one nothing comes back: the file waits to be removed.
                sql.touch(connection, [(row.note_id, content.fingerprint)])
        except (UnreadableError, DecodeError) as error:
            self._fail(file, str(error), content.fingerprint)

    def _merge(
        self, connection: apsw.Connection, file: FoundFile, content: Content, row: Row, known: Stored, was: str
    ) -> None:
        draft = writeback_note.read(self._drafting, known, content.data, file.path)
        says = writeback_file.note_hash(draft)
        if known.is_trashed:
            writeback_note.bring_back(connection, known, draft)
            self._count("revived", file.path)
        elif says == known.note_hash:
            writeback_note.move(connection, self._drafting, known, file.path)
            self._report.unchanged += 1
        elif known.note_hash in self._bases(row, known, content):
            writeback_note.edit(connection, known, draft)
            self._count("renamed" if was else "changed", file.path, was)
        else:
            names = Names(sql.paths_of(connection, self._source.id))
            names.take(self._beside(file))
            beside = names.give(folder_of(file.path), conflict_stem(file.path, self._today()))
            other = writeback_note.part(connection, self._drafting, known, draft, file.path, beside)
            sql.begin(connection, other, self._source.id, beside)
            sql.move(connection, other, beside, _raw_beside(file, beside))
            self._count("changed", file.path, was)
            self._report.messages.append(
                f"conflict: {file.path} was changed here and in git; both texts are kept, git's in {beside}"
            )
        sql.agree(
            connection,
            row.note_id,
            blob=writeback_file.blob_id(content.data, row.blob),
            content_hash=content.digest,
            note_hash=says,
            seen="",
        )

    def _bases(self, row: Row, known: Stored, content: Content) -> set[bytes]:
        """What the note may have said when whoever has changed the file began with it."""
        bases = {row.note_hash} if row.blob else set()
        sent = {each.note_hash for each in self._sent.get(row.note_id, [])}
        # It may never have arrived. The note's own time in the file tells that it has.
        if not row.blob or writeback_file.claimed_time(content.data) == known.note.updated_at:
            bases |= sent
        return bases

    def _beside(self, file: FoundFile) -> list[str]:
        folder = folder_of(file.path)
        with os.scandir(self._root / folder_of(file.raw)) as entries:
            return [f"{folder}/{entry.name}" if folder else entry.name for entry in entries]

    def _renamed(
        self, candidates: list[FoundFile], lost: list[Row], vanished: Mapping[str, KnownNote]
    ) -> list[tuple[FoundFile, Row]]:
        """Which of the files are which of the lost ones under new names."""
        if not candidates or not lost:
            return []
        with self._catalog.read() as connection:
            keys = sql.keys_of(connection, [row.note_id for row in lost])
        by_path = {row.path: row for row in lost}
        ours = {
            row.path: KnownNote(row.path, keys.get(row.note_id, -1), row.raw_path, "", self._hash_of(row))
            for row in lost
        }
        pairs = pairing.renames(
            candidates,
            {**vanished, **ours},
            read=lambda file: vault.read(self._root, file.raw, self._drafting.max_bytes),
            draft=lambda file, content: self._drafting.vault_note(
                file, content, source=self._source.id, space=self._source.space
            )[0],
            hashes=self._chunk_hashes,
        )
        by_raw = {file.raw: file for file in candidates}
        return [(by_raw[raw], by_path[note.path]) for raw, note in pairs.items() if note.path in by_path]

    def _hash_of(self, row: Row) -> bytes:
        return row.content_hash if row.state == "there" else self._sent[row.note_id][-1].content_hash

    def _chunk_hashes(self, note: KnownNote) -> list[bytes]:
        with self._catalog.read() as connection:
            return [stored.text_hash for stored in notes_sql.chunks_of(connection, note.key)]

    def _follow(self, file: FoundFile, row: Row) -> None:
        """The file was renamed, and perhaps changed."""
        try:
            content = vault.read(self._root, file.raw, self._drafting.max_bytes)
        except UnreadableError as error:
            self._fail(file, str(error), file.fingerprint)
            return
        self._report.files_read += 1
        if self._report.dry_run:
            self._count("renamed", file.path, row.path)
            return
        arrived = next((each for each in self._sent.get(row.note_id, []) if each.content_hash == content.digest), None)
        with self._catalog.write() as connection:
            sql.move(connection, row.note_id, file.path, _raw_path(file))
            if arrived:
                _agree(connection, row, arrived)
            if arrived or content.digest == row.content_hash:
                known = writeback_note.stored(connection, row.note_id)
                if known:
                    writeback_note.move(connection, self._drafting, known, file.path)
                    self._count("renamed", file.path, row.path)
                sql.touch(connection, [(row.note_id, content.fingerprint)])
                return
        self._take_changed(file, content, row, was=row.path)

    def _miss(self, row: Row) -> None:
        """The file is gone."""
        with self._catalog.read() as connection:
            known = writeback_note.stored(connection, row.note_id)
        # What we have removed ourselves was in the trash then; if it is not any more, it was brought back meanwhile.
        is_back = any(not each.blob for each in self._sent.get(row.note_id, []))
        if known and not known.is_trashed and known.note_hash == row.note_hash and not is_back:
            self.gone.append(KnownNote(row.path, known.place.key, row.raw_path, "", row.content_hash))
            return
        if known and not known.is_trashed and not is_back:
            self._report.messages.append(f"{row.path} was removed in git and changed here: it is written again")
        if not self._report.dry_run:
            with self._catalog.write() as connection:
                sql.gone(connection, [row.note_id])

    def _forget_removals(self, there: list[Row]) -> None:
        """Files that we wanted to remove and that are still there: nothing was removed."""
        kept = [row.note_id for row in there if any(not each.blob for each in self._sent.get(row.note_id, []))]
        if kept and not self._report.dry_run:
            with self._catalog.write() as connection:
                sql.forget_removals(connection, kept)

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if self._report.dry_run or not (batch.touched or batch.arrived or batch.mended):
            return
        with self._catalog.write() as connection:
            sources_sql.clear_failures(connection, self._source.id, batch.mended)
            sql.touch(connection, batch.touched)
            for file, content, row, arrived in batch.arrived:
                sql.move(connection, row.note_id, file.path, _raw_path(file))
                _agree(connection, row, arrived)
                sql.touch(connection, [(row.note_id, content.fingerprint)])
                if known := writeback_note.stored(connection, row.note_id):
                    writeback_note.move(connection, self._drafting, known, file.path)

    def _fail(self, file: FoundFile, reason: str, fingerprint: Fingerprint) -> None:
        self._report.failed += 1
        self._failing.add(file.path)
        self._report.changes.append(Change("failed", file.path, reason=reason))
        if not self._report.dry_run:
            with self._catalog.write() as connection:
                now = utc_text(datetime.now(self._drafting.timezone))
                failed = [(file.path, reason, False, fingerprint)]
                sources_sql.record_failures(connection, self._source.id, failed, now)

    def _count(self, what: str, path: str, was: str = "") -> None:
        setattr(self._report, what, getattr(self._report, what) + 1)
        self._report.changes.append(Change(what, path, was))  # type: ignore[arg-type]  # one of its literals

    def _today(self) -> str:
        return datetime.now(self._drafting.timezone).strftime("%Y-%m-%d")


def _agree(connection: apsw.Connection, row: Row, sent: Sent) -> None:
    sql.agree(
        connection,
        row.note_id,
        blob=sent.blob,
        content_hash=sent.content_hash,
        note_hash=sent.note_hash,
        seen="",
    )


def _raw(row: Row) -> str:
    return row.raw_path.decode("utf-8", "surrogateescape") if row.raw_path is not None else row.path


def _raw_beside(file: FoundFile, path: str) -> bytes | None:
    """The bytes of a path in the folder of a file, whose name may be composed otherwise on the disk."""
    folder = folder_of(file.raw)
    if folder == folder_of(path):
        return None
    return os.fsencode(folder) + b"/" + path.rpartition("/")[2].encode()


def _raw_path(file: FoundFile) -> bytes | None:
    raw = os.fsencode(file.raw)
    return None if raw == file.path.encode("utf-8", "surrogatepass") else raw
