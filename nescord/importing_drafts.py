"""From the note of an import to what is written of it: checked, drafted, its former texts as revisions. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from nescord.attachments import drafted as files_drafted
from nescord.catalog.attachments import DraftAttachment
from nescord.catalog.importing import mark_of
from nescord.catalog.notes import DraftNote
from nescord.catalog.revisions import KEPT_EDITS, Revision
from nescord.catalog.sources import Source
from nescord.drafting import Drafting, content_of, given_tags, given_title
from nescord.frontmatter import read
from nescord.language import detect
from nescord.notes import Attachment
from nescord.setting_rules import is_space
from nescord.sources.entries import Entry, FormerText, SourceNote, UnreadableError
from nescord.sources.vault import NOTE_SUFFIXES
from nescord.times import utc_text

_PATH_BYTES = 1000
_LARGEST = (1 << 63) - 1
_IN_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def drafted(
    drafting: Drafting,
    note: SourceNote,
    entry: Entry,
    source: Source,
    *,
    owner: Literal["source", "us"],
    created_before: str,
) -> tuple[DraftNote, tuple[str, ...]]:
    """The draft of a note, marked as imported, and the warnings about it.

    Raises:
        UnreadableError: it is empty or too long, or its path, id or space are none.
    """
    _check_path(entry.path)
    content = content_of(clean(note.text))
    if len(content.data) > drafting.max_bytes:
        raise UnreadableError(
            f"{len(content.data):,} bytes is longer than a note may be, {drafting.max_bytes:,} (NESCORD_MAX_NOTE_BYTES)"
        )
    if not note.text.strip() and not note.title.strip() and not note.attachments:
        raise UnreadableError("it is empty")
    if note.space and not is_space(note.space):
        raise UnreadableError(f'"{note.space}" is no space: personal, guild:<id> or user:<id>')
    if note.note_id and not _is_id(note.note_id):
        raise UnreadableError(f'"{note.note_id}" is no id of a note: it must be a UUID')
    mark = (len(content.data), mark_of(entry.digest), 0, 0)
    return drafting.imported(
        replace(
            note,
            title=clean(note.title),
            author=clean(note.author),
            origin=clean(note.origin),
            tags=tuple(map(clean, note.tags)),
            aliases=tuple(map(clean, note.aliases)),
            front_matter=None if note.front_matter is None else _clean_values(note.front_matter),
        ),
        source=source.id,
        path=entry.path,
        content=replace(content, fingerprint=mark, digest=entry.digest),
        space=note.space or source.space,
        owner=owner,
        created_before=created_before,
    )


def drafted_files(attachments: Sequence[Attachment]) -> list[DraftAttachment]:
    """The files of a note. What was stored once has no limit: our own exports come back whole."""
    storable = [
        replace(one, size=min(one.size, _LARGEST), reason=" ".join(clean(one.reason).split())) for one in attachments
    ]
    return files_drafted(storable, is_limited=False)


def former_revisions(draft: DraftNote, history: Sequence[FormerText]) -> list[tuple[Revision, str]]:
    """The last of the former texts as revisions of a note whose id is not known yet, with when each was replaced."""
    revisions = []
    for former in history[-KEPT_EDITS:]:
        text = clean(former.text)
        front = read(text)
        body = text if front.problem else text[front.end :]
        replaced_at = _moment(former.replaced_at) or draft.updated_at
        revision = Revision(
            merge="",
            merged_into="",
            note_id="",
            path=draft.path,
            title=given_title(clean(former.title)) or draft.title,
            body=body,
            front_matter="{}" if front.problem else json.dumps(dict(front.values), ensure_ascii=False),
            aliases=draft.aliases,
            tags=json.dumps(given_tags(tuple(map(clean, former.tags))), ensure_ascii=False),
            names=json.dumps(draft.names, ensure_ascii=False),
            lang=detect(body),
            author=draft.author,
            space=draft.space,
            kind=draft.kind,
            origin=draft.origin,
            created_at=draft.created_at,
            updated_at=replaced_at,
        )
        revisions.append((revision, replaced_at))
    return revisions


def _moment(text: str) -> str:
    """A moment as it is stored, "" where it is none."""
    try:
        moment = datetime.fromisoformat(text)
        return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return ""


def _check_path(path: str) -> None:
    """What a source calls its notes ends up in links, exports and file names."""
    is_path = path == unicodedata.normalize("NFC", path) and not {"", ".", ".."} & set(path.split("/"))
    if not is_path or not path.endswith(NOTE_SUFFIXES):
        raise UnreadableError("its name is no path of a note, such as folder/name.md")
    if len(clean(path).encode()) > _PATH_BYTES or _IN_NO_NAME.search(path):
        raise UnreadableError(f"its name is longer than {_PATH_BYTES} bytes, or holds what no name can hold")


def _is_id(note_id: str) -> bool:
    with suppress(ValueError):
        return note_id == str(uuid.UUID(note_id))
    return False


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which SQLite has no place for."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _clean_values(values: Mapping[str, Any]) -> Mapping[str, Any]:
    cleaned: dict[str, Any] = json.loads(clean(json.dumps(values, ensure_ascii=False)))
    return cleaned
