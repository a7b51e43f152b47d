"""The verbs that write, change and list single notes: what a person does to notes through us.

`ScopedKnowledge` and, with it, `KnowledgeManager` have them. Only notes of ours can be changed: what a vault has is
changed in its file. Each verb is one transaction, in which the note is looked up again.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord.catalog import attachments as attachments_sql
from nescord.catalog import keeping as sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as revisions_sql
from nescord.catalog import sources as sources_sql
from nescord.catalog.notes import IndexedChunk
from nescord.errors import ConflictError, NotFoundError, UsageError
from nescord.identifiers import uuid7
from nescord.notes import Attachment, Note, NoteTitle, NoteVersion, Scope, StoredAttachment
from nescord.opened import OpenBase
from nescord.setting_rules import is_space
from nescord.times import utc_text

if TYPE_CHECKING:
    import apsw

    from nescord.drafting import Drafting

MOST = 1000


class NoteVerbs(ABC):
    """What can be done to one note, and lists to choose one from."""

    _base: OpenBase
    _scope: Scope

    @abstractmethod
    def note(self, wanted: str) -> Note:
        """The note with that id, path or name."""

    def capture(self, text: str, *, space: str = "personal", author: str = "", source: str = "") -> Note:
        """Keep `text` as a note of ours; found by keyword as soon as this returns, and on disk.

        `source` is where it was said (a jump URL).

        Raises:
            UsageError: the text is empty or too long, or the space is not one of these.
        """
        return self.add_note(text, space=space, author=author, source=source)

    def add_note(
        self,
        text: str,
        *,
        title: str = "",
        tags: Sequence[str] = (),
        space: str = "personal",
        author: str = "",
        source: str = "",
        attachments: Sequence[Attachment] = (),
        note_id: str = "",
    ) -> Note:
        """`capture` with a title, which wins over what the text says, with more tags than it has, and with files.

        With a `note_id` (a UUID) it is done once: if that note is there, be it in the trash, it is returned as it is. A
        file over 8 MiB, or beyond 25 MiB of the note, is named in it and not stored (`attachments`). A text may be
        empty where there are files: the note then says their names.

        Raises:
            UsageError: as `capture`; the id is none, or that of a note elsewhere. NotFoundError: the note with that id
                was erased for good.
        """
        from nescord.attachments import drafted, names

        text = text if text.strip() else names(attachments)
        data = self._checked_text(text)
        if not is_space(space):
            raise UsageError(
                f'"{space}" is no space: personal, guild:<id> or user:<id>, where <id> is a number of Discord'
            )
        if not self._scope.allows(space):
            raise UsageError(f'notes cannot be kept in the space "{space}" from here')
        wanted = _checked_id(note_id) if note_id else str(uuid7())
        files = drafted(attachments)
        now = datetime.now(UTC)
        day = now.astimezone(ZoneInfo(self._base.settings.timezone)).strftime("%Y-%m-%d")
        from nescord.drafting import content_of

        with self._base.verb() as catalog:
            # Before the transaction, which others wait for: parsed, cut, and its words made.
            draft = self._base.drafting.capture(
                data,
                source=0,
                path=f"{day}/{wanted}.md",
                content=content_of(data),
                space=space,
                author=_clean(author),
                origin=_clean(source),
                when=utc_text(now),
                title=_clean(title),
                tags=[_clean(tag) for tag in tags],
            )
            chunks = [IndexedChunk.of(chunk) for chunk in draft.chunks]
            with catalog.write() as connection:
                if note_id and (there := self._is_there(connection, wanted, space, author)):
                    return there
                draft = replace(draft, source=sources_sql.captures(connection).id)
                notes_sql.insert(connection, [(wanted, draft, chunks)])
                attachments_sql.insert(connection, wanted, files)
                return _read(connection, wanted, self._scope)

    def note_from(self, source: str, *, space: str) -> Note | None:
        """The living note of ours in that space that was kept from there (a jump URL); None where there is none."""
        if not self._scope.allows(space):
            return None
        with self._base.verb() as catalog, catalog.read() as connection:
            note_id = sql.kept_from(connection, source, space)
            return None if note_id is None else _read(connection, note_id, self._scope)

    def edit_note(
        self,
        wanted: str,
        *,
        text: str | None = None,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        expected: str = "",
    ) -> Note:
        """Change what a note of ours says; what it said is kept as a version. None leaves something as it is.

        `text` is what stands below the front matter, which stays. Tags in the text count besides `tags`; a title that
        is "" is taken from the text. `expected` is the `updated_at` that the note had when it was looked at.

        Raises:
            ConflictError: it was changed since: nothing is written. NotFoundError, UsageError: as `note`. UsageError:
                it comes from a vault or is in the trash, or the text is empty or too long.
        """
        cleaned = None if text is None else self._checked_text(text)
        note_id = self.note(wanted).id
        with self._base.verb() as catalog, catalog.write() as connection:
            note = self._ours(connection, note_id)
            if note.trashed_at:
                raise UsageError(f"{note.path} is in the trash: bring it back first (nescord note undelete {note.id})")
            if expected and expected != note.updated_at:
                raise ConflictError(
                    f'the note "{note.title}" ({note.id}) was changed at {note.updated_at}, after it was looked at: '
                    "look at it again, then change it"
                )
            return self._edited(connection, note, cleaned, title, tags)

    def delete_note(self, wanted: str) -> Note:
        """Put a note of ours into the trash: gone from every search at once, and kept for some days.

        Raises:
            NotFoundError, UsageError: as `note`. UsageError: it comes from a vault.
        """
        note_id = self.note(wanted).id
        with self._base.verb() as catalog, catalog.write() as connection:
            note = self._ours(connection, note_id)
            if not note.trashed_at:
                place = revisions_sql.place_of(connection, note.id)
                assert place is not None  # it was just read
                notes_sql.trash(connection, [place.key], utc_text(datetime.now(UTC)))
            return _read(connection, note.id, self._scope)

    def undelete_note(self, wanted: str) -> Note:
        """Bring a note of ours back from the trash, as it was; one that is not in the trash is returned as it is.

        Raises:
            NotFoundError: there is no such note any more. UsageError: as `note`; it comes from a vault, or another note
                has its place.
        """
        try:
            note_id = self.note(wanted).id
        except NotFoundError:
            raise NotFoundError(
                f'no note "{wanted}", in the trash neither: it was erased, or was there for longer than notes are kept '
                "in the trash (NESCORD_TRASH_DAYS); a backup may have it (nescord note restore)"
            ) from None
        with self._base.verb() as catalog, catalog.write() as connection:
            note = self._ours(connection, note_id)
            if note.trashed_at:
                place = revisions_sql.place_of(connection, note.id)
                assert place is not None
                if notes_sql.is_taken(connection, place.source, note.path):
                    raise UsageError(f"another note has the place of {note.id}, {note.path}: nescord note restore")
                revive(connection, self._base.drafting, note, note.path)
            return _read(connection, note.id, self._scope)

    def note_history(self, wanted: str) -> list[NoteVersion]:
        """What a note of ours said before, the latest first: 5 edits, and whatever merges have replaced.

        Raises:
            NotFoundError, UsageError: as `note`.
        """
        note = self.note(wanted)
        with self._base.verb() as catalog, catalog.read() as connection:
            return sql.versions(connection, note.id, self._scope)

    def recent_notes(self, *, limit: int = 10, offset: int = 0, author: str = "", tag: str = "") -> list[NoteTitle]:
        """The notes changed last, the latest first, `limit` (1..1000) of them after the first `offset`.

        `author` leaves only notes of ours by that person (`user:<id>`); `tag` those with that tag or one below it.

        Raises:
            UsageError: limit or offset is out of range.
        """
        _checked_limit(limit)
        if offset < 0:
            raise UsageError(f"offset {offset} is out of range: 0 or more")
        from nescord.frontmatter import fold_tag

        with self._base.verb() as catalog, catalog.read() as connection:
            return sql.recent(connection, self._scope, limit, offset, _clean(author), fold_tag(_clean(tag)))

    def title_choices(self, typed: str, *, limit: int = 25, ours_only: bool = False) -> list[NoteTitle]:
        """The notes whose title holds what somebody has typed so far, the one changed last first ("": of all).

        Width and case do not count. `limit` is 1..1000; `ours_only` leaves out what comes from vaults.

        Raises:
            UsageError: the limit is out of range.
        """
        _checked_limit(limit)
        with self._base.verb() as catalog, catalog.read() as connection:
            return sql.titles(connection, self._scope, _clean(typed).strip(), limit, ours_only=ours_only)

    def tag_choices(self, typed: str, *, limit: int = 25) -> list[tuple[str, int]]:
        """The tags that hold what somebody has typed so far, and how many notes have each, the most used first.

        Raises:
            UsageError: the limit is out of range.
        """
        _checked_limit(limit)
        from nescord.frontmatter import fold_tag

        needle = fold_tag(_clean(typed))
        with self._base.verb() as catalog, catalog.read() as connection:
            counts = sql.tag_counts(connection, self._scope, needle)
        return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:limit]

    def attachments(self, wanted: str) -> list[StoredAttachment]:
        """The files that were kept with a note, in order; those that were not stored, too.

        Raises:
            NotFoundError, UsageError: as `note`.
        """
        note = self.note(wanted)
        with self._base.verb() as catalog, catalog.read() as connection:
            return attachments_sql.of_note(connection, note.id)

    def attachment(self, wanted: str, ordinal: int) -> bytes:
        """The bytes of a file that was kept with a note.

        Raises:
            NotFoundError: there is no such file, or it was not stored. NotFoundError, UsageError: as `note`.
        """
        note = self.note(wanted)
        with self._base.verb() as catalog, catalog.read() as connection:
            content = attachments_sql.content(connection, note.id, ordinal)
            if content is not None:
                return content
            for file in attachments_sql.of_note(connection, note.id):
                if file.ordinal == ordinal:
                    raise NotFoundError(f'the file "{file.name}" was not stored: {file.reason}')
        raise NotFoundError(f"{note.path} ({note.id}) has no file number {ordinal}")

    def _checked_text(self, text: str) -> str:
        if not text.strip():
            raise UsageError("there is nothing to capture: the text is empty")
        data = text.encode("utf-8", "replace")
        if len(data) > self._base.settings.max_note_bytes:
            raise UsageError(f"{len(data):,} bytes is too long to capture (NESCORD_MAX_NOTE_BYTES)")
        return data.decode("utf-8")

    def _is_there(self, connection: apsw.Connection, note_id: str, space: str, author: str) -> Note | None:
        """The note of that id if it was added before; it must not be added if it, or its author, was erased since."""
        from nescord.backup.erasures import is_erased

        found = sql.space_of(connection, note_id)
        if found is not None and (found != space or not self._scope.allows(found)):
            raise UsageError(f"the id {note_id} is that of another note: a new note needs one of its own")
        if found is not None:
            return _read(connection, note_id, self._scope)
        if is_erased(self._base.folder.backups, note_id, author=author, space=space):
            raise NotFoundError(f"the note {note_id} was erased for good: it is not kept again")
        return None

    def _ours(self, connection: apsw.Connection, note_id: str) -> Note:
        """The note, read again in this transaction, whatever it was before."""
        note = _read(connection, note_id, self._scope)
        if note.owner != "us":
            raise UsageError(f'{note.path} comes from the vault "{note.source}": change its file there, then ingest')
        return note

    def _edited(
        self,
        connection: apsw.Connection,
        note: Note,
        text: str | None,
        title: str | None,
        tags: Sequence[str] | None,
    ) -> Note:
        from nescord.drafting import diff_chunks

        place = revisions_sql.place_of(connection, note.id)
        assert place is not None  # it was just read
        draft = self._base.drafting.edited(
            note,
            source=place.source,
            text=text,
            title=None if title is None else _clean(title),
            tags=None if tags is None else [_clean(tag) for tag in tags],
            when=later_than(note.updated_at),
        )
        if (draft.body, draft.title, sorted(draft.tags)) == (note.body, note.title, sorted(note.tags)):
            return note
        # What merges have made others call it, stays.
        names = dict.fromkeys([*draft.names, *revisions_sql.names_of(connection, place.key)])
        draft = replace(draft, origin=place.origin, names=list(names))
        when = utc_text(datetime.now(UTC))
        revisions_sql.keep(connection, note.id, merge="", merged_into="", when=when)
        diff = diff_chunks(notes_sql.chunks_of(connection, place.key), draft)
        notes_sql.update(connection, [(place.key, draft, diff)])
        return _read(connection, note.id, self._scope)


def revive(connection: apsw.Connection, drafting: Drafting, note: Note, path: str) -> None:
    """Take a note of ours out of the trash: all that hangs on it is still there, save its chunks."""
    place = revisions_sql.place_of(connection, note.id)
    assert place is not None  # the caller has read it
    draft = drafting.restored(note, source=place.source, path=path)
    names = dict.fromkeys([*draft.names, *revisions_sql.names_of(connection, place.key)])
    links = sql.links_of(connection, place.key)
    draft = replace(draft, origin=place.origin, names=list(names), links=links)
    notes_sql.restore(connection, note.id, draft, [IndexedChunk.of(chunk) for chunk in draft.chunks])
    revisions_sql.give_back_names(connection, note.id)


def _read(connection: apsw.Connection, note_id: str, scope: Scope) -> Note:
    found = notes_sql.find(connection, note_id, scope)
    if not found:
        raise NotFoundError(f'no note "{note_id}": somebody has erased it meanwhile')
    return found[0]


def later_than(before: str) -> str:
    """Now, and in any case later than `before`: by that time it is told whether a note has changed."""
    now = utc_text(datetime.now(UTC))
    if now > before:
        return now
    try:
        return utc_text(datetime.fromisoformat(before) + timedelta(seconds=1))
    except OverflowError:
        return now


def _checked_id(note_id: str) -> str:
    try:
        canonical = str(uuid.UUID(note_id))
    except ValueError:
        canonical = ""
    if note_id != canonical:
        raise UsageError(f'"{note_id}" is no id of a note: it must be a UUID')
    return note_id


def _checked_limit(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise UsageError(f"limit {limit} is out of range: 1 to {MOST}")


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which SQLite has no place for."""
    return text.encode("utf-8", "replace").decode("utf-8")
