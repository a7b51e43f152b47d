"""Notes of ours become files of the vault in git: what differs goes into a commit on the branch's head, and is pushed.

There is no work tree and no branch of ours. What is about to be pushed is written down first; that it has arrived is
seen by the next ingest, and by nothing else. So a kill at any moment leaves nothing to be mended: the next run compares
what the head has with what is written down. A file that is not as we know it is left alone until an ingest has seen it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from nescord.catalog import notes as notes_sql
from nescord.catalog import writeback as sql
from nescord.catalog.database import Catalog
from nescord.catalog.writeback import Row, Sent
from nescord.errors import ServiceUnavailableError
from nescord.notes import WritebackReport
from nescord.settings import Settings
from nescord.sources import git, writeback_note
from nescord.sources.git_push import Branch, branch_of
from nescord.sources.git_remote import OvertakenError, Remote
from nescord.sources.writeback_commit import NO_FILE, Head, open_head
from nescord.sources.writeback_file import NoteFile, blob_id, written
from nescord.sources.writeback_names import Names, stem_of
from nescord.sources.writeback_note import Stored
from nescord.times import utc_text

# Files of one commit: their contents are held until it is pushed.
_BATCH = 200
_MOST_TRIES = 8
_FIRST_REST, _LONGEST_REST = 0.2, 5.0
_LISTED = 20
# Until then a moment that is kept to the second may still come to mean something else.
_SETTLED = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that is to have a content ("": none), and what has to be true of its note still when that is written."""

    note_id: str
    path: str
    raw: bytes
    blob: str
    updated_at: str | None
    file: NoteFile | None = None
    is_new: bool = False


def write_back(
    catalog: Catalog, settings: Settings, remote: Remote, mirrors: Path, source: int, *, dry_run: bool
) -> WritebackReport:
    """Push what differs between the notes and their files. The caller holds ingest.lock.

    Raises:
        ServiceUnavailableError: the host is away, or others push all the time: it waits. WritebackRefusedError,
            VaultError: the host takes nothing from us.
    """
    return _Run(catalog, settings, remote, mirrors, source, dry_run=dry_run).run()


class _Run:
    """One run: owns the report."""

    def __init__(
        self, catalog: Catalog, settings: Settings, remote: Remote, mirrors: Path, source: int, *, dry_run: bool
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._remote = remote
        self._mirrors = mirrors
        self._source = source
        self._zone = ZoneInfo(settings.timezone)
        self._sent: dict[str, list[Sent]] = {}
        self.report = WritebackReport(dry_run=dry_run)

    def run(self) -> WritebackReport:
        begun = time.perf_counter()
        to_write = self._differing()
        with self._catalog.read() as connection:
            to_remove = sql.removable(connection, self._source)
        if to_write or to_remove:
            with branch_of(self._remote, self._mirrors) as branch:
                ids, rows = iter(to_write), iter(to_remove)
                while True:
                    batch, gone = list(islice(ids, _BATCH)), list(islice(rows, _BATCH))
                    if not batch and not gone:
                        break
                    self._send(branch, batch, gone)
        self.report.seconds = round(time.perf_counter() - begun, 3)
        return self.report

    def _differing(self) -> list[str]:
        """The notes that say something else than their files, or have none."""
        with self._catalog.read() as connection:
            due = sql.due(connection, self._source, self._settings.writeback_spaces)
        found, same = [], []
        for note_id, updated_at in due:
            with self._catalog.read() as connection:
                row, known = sql.row_of(connection, note_id), writeback_note.stored(connection, note_id)
            if known and row and row.state == "there" and row.note_hash == known.note_hash:
                if updated_at < utc_text(datetime.now(UTC) - _SETTLED):
                    same.append((note_id, known.note.updated_at))
            elif known:
                found.append(note_id)
        if same and not self.report.dry_run:
            with self._catalog.write() as connection:
                sql.see(connection, same)
        return found

    def _send(self, branch: Branch, note_ids: Sequence[str], rows: Sequence[Row]) -> None:
        """Push one commit with these, on whatever is the head by then."""
        for attempt in range(_MOST_TRIES):
            parent = branch.head()
            with self._catalog.read() as connection:
                self._sent = sql.sent_of(connection, self._source)
            behind = 0
            with open_head(branch.mirror, parent, self._remote.folder) as head:
                wanted = []
                for each in (*self._to_write(head, note_ids, parent), *self._to_remove(head, rows, branch.mirror)):
                    if each is None:
                        behind += 1
                    else:
                        wanted.append(each)
                wanted = wanted if self.report.dry_run else self._written_down(wanted)
                commit = "" if self.report.dry_run or not wanted else self._committed(head, wanted)
            if commit:
                self._leave_no_erased(branch, wanted)
                try:
                    branch.push(commit, parent)
                except OvertakenError:
                    rest = min(_LONGEST_REST, _FIRST_REST * 2**attempt)
                    time.sleep(random.uniform(rest / 2, rest))
                    continue
                self.report.commits += 1
                self._leave_no_erased(branch, wanted)
            self.report.behind += behind
            self._tell(wanted)
            return
        raise ServiceUnavailableError(
            f"others push to {self._remote.url} all the time, {_MOST_TRIES} tries were overtaken; the notes wait here"
        )

    def _to_write(self, head: Head, note_ids: Sequence[str], like: str) -> Iterator[_Wanted | None]:
        """What each note's file is to be; None where an ingest has to look first."""
        folder = self._settings.writeback_folder
        with self._catalog.read() as connection:
            names = Names(sql.paths_of(connection, self._source))
        names.take(head.names_in(folder))
        for note_id in note_ids:
            with self._catalog.read() as connection:
                row, known = sql.row_of(connection, note_id), writeback_note.stored(connection, note_id)
            if known is None or known.is_trashed:
                continue
            file = written(known.note, known.place.origin)
            blob = blob_id(file.data, like)
            is_new = row is None or row.source != self._source
            if is_new and self._adopted(head, note_id, known):
                yield None
                continue
            if row is None or is_new:
                path = names.give(folder, stem_of(self._day(known.note.created_at), known.note.title))
                raw = path.encode()
            else:
                path, raw = row.path, _raw(row)
                there = head.blob(raw)
                # It has arrived, or is not as we know it: an ingest has to see it.
                if there == blob or not self._is_ours(row, there):
                    yield None
                    continue
            yield _Wanted(note_id, path, raw, blob, known.note.updated_at, file, is_new)

    def _adopted(self, head: Head, note_id: str, known: Stored) -> bool:
        """Whether a file of the vault is the note's: a database that was restored does not know what was written since.

        That it claims the note's id does not suffice: it has to say the same.
        """
        if self.report.dry_run:
            return False
        with self._catalog.write() as connection:
            for claimant in sql.claimants(connection, self._source, note_id, self._settings.writeback_folder):
                other = writeback_note.stored(connection, claimant)
                key, path, raw_path, content_hash = sql.file_of(connection, claimant)
                blob = head.blob(raw_path or path.encode())
                if other is None or other.note_hash != known.note_hash or blob in ("", NO_FILE):
                    continue
                notes_sql.trash(connection, [key], utc_text(datetime.now(UTC)))
                sql.begin(connection, note_id, self._source, path)
                sql.move(connection, note_id, path, raw_path)
                # What the file said when it was taken in; where it is another one by now, the next ingest sees that.
                sent = Sent(note_id, blob, content_hash, known.note_hash)
                sql.send(connection, [sent])
                return True
        return False

    def _to_remove(self, head: Head, rows: Sequence[Row], mirror: Path) -> Iterator[_Wanted | None]:
        for row in rows:
            there = head.blob(_raw(row))
            with self._catalog.read() as connection:
                is_erased = writeback_note.stored(connection, row.note_id) is None
            if not there:
                if not self.report.dry_run and (row.state != "there" or is_erased):
                    with self._catalog.write() as connection:
                        sql.gone(connection, [row.note_id])
                    if is_erased:
                        git.make_anew(mirror)
            elif there != NO_FILE and (is_erased or self._is_ours(row, there)):
                yield _Wanted(row.note_id, row.path, _raw(row), "", None)
            else:
                yield None

    def _is_ours(self, row: Row, there: str) -> bool:
        """Whether nobody else has had a hand in what the head has at the path of a row."""
        if there in {each.blob for each in self._sent.get(row.note_id, [])}:
            return True
        return there == row.blob if row.state == "there" else not there

    def _written_down(self, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """Write down what is about to be pushed, before it is: all but what was changed meanwhile."""
        with self._catalog.write() as connection:
            kept = [each for each in wanted if sql.updated_at(connection, each.note_id) == each.updated_at]
            for each in kept:
                if each.file is None:
                    # Or the ingest that misses the file would take it for removed by somebody else.
                    sql.send(connection, [Sent(each.note_id, "", b"", b"")])
                    continue
                if each.is_new:
                    sql.begin(connection, each.note_id, self._source, each.path)
                sent = Sent(each.note_id, each.blob, each.file.content_hash, each.file.note_hash)
                sql.send(connection, [sent])
        return kept

    def _committed(self, head: Head, wanted: Sequence[_Wanted]) -> str:
        changes = {each.raw: head.put(each.file.data) if each.file else "" for each in wanted}
        written, removed = _counts(wanted)
        done = [f"{written} written" if written else "", f"{removed} removed" if removed else ""]
        paths = [each.path for each in wanted[:_LISTED]] + (["…"] if len(wanted) > _LISTED else [])
        message = "\n".join([f"notes: {', '.join(filter(None, done))}", "", *paths, ""])
        return head.commit(changes, author=self._settings.writeback_author, message=message, zone=self._zone)

    def _tell(self, wanted: Sequence[_Wanted]) -> None:
        written, removed = _counts(wanted)
        self.report.written += written
        self.report.removed += removed
        self.report.paths += [each.path for each in wanted]

    def _leave_no_erased(self, branch: Branch, wanted: Sequence[_Wanted]) -> None:
        """What was erased is to be in no file here, neither among the objects of the mirror. Said before the push: once
        the file is seen to be gone, nothing tells any more that there was one; and after it, for what was erased then.
        """
        removed = [each.note_id for each in wanted if each.file is None]
        with self._catalog.read() as connection:
            erased = [each for each in removed if writeback_note.stored(connection, each) is None]
        if erased:
            git.make_anew(branch.mirror)

    def _day(self, created_at: str) -> str:
        try:
            return datetime.fromisoformat(created_at).astimezone(self._zone).strftime("%Y-%m-%d")
        except (ValueError, OverflowError):
            return created_at[:10]


def _counts(wanted: Sequence[_Wanted]) -> tuple[int, int]:
    written = sum(each.file is not None for each in wanted)
    return written, len(wanted) - written


def _raw(row: Row) -> bytes:
    return row.raw_path if row.raw_path is not None else row.path.encode()
