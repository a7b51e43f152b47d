"""An export as a vault: a Markdown file for each note, as Obsidian and any other editor open it."""

from __future__ import annotations

import posixpath
from datetime import datetime

from nescord.catalog import exporting as sql
from nescord.drafting import Drafting
from nescord.export.folder import ExportFolder, Kept
from nescord.export.links import moves
from nescord.export.names import Layout, file_name
from nescord.export.reading import ExportedNote, Reading
from nescord.export.text import Filed, made_from, written
from nescord.note_files import front_matter, safe_name
from nescord.notes import NoteVersion

ATTACHMENTS = "attachments"
# No ingest looks into folders whose names begin with a dot, and Obsidian does not show them.
REVISIONS = ".revisions"


def export(reading: Reading, folder: ExportFolder, drafting: Drafting) -> tuple[int, list[Kept]]:
    """Put every note into the folder; how many, and of which something cannot be read again."""
    by_space = len(sql.spaces(reading.connection, reading.scope)) > 1
    by_source = sql.vaults(reading.connection, reading.scope) > 1
    names = sql.named_notes(reading.connection, reading.scope)
    layout = Layout(names, by_space=by_space, by_source=by_source)
    count, remarks = 0, []
    for exported in reading.notes():
        remark = _put(exported, reading, folder, layout, drafting)
        if remark:
            remarks.append(remark)
        count += 1
    return count, remarks


def _put(
    exported: ExportedNote, reading: Reading, folder: ExportFolder, layout: Layout, drafting: Drafting
) -> Kept | None:
    note = exported.note
    place, top = layout.place(note.id), layout.top(note.id)
    assert place is not None  # the layout was made in the same view
    stem = posixpath.splitext(place.removeprefix(top))[0]
    paths, not_stored = [], {}
    for file in exported.files:
        if file.sha256 is None:
            not_stored[file.name] = file.reason
            continue
        path = layout.take(f"{top}{ATTACHMENTS}/{stem}/{file_name(file.name)}")
        paths.append(path.removeprefix(top))
        if not folder.has(path, file.sha256.hex()):
            folder.put(path, reading.content(note, file) or b"", made_of=file.sha256.hex())
    remark = ""
    filed = Filed(note, exported.origin, place, moves(note, place, layout), paths, not_stored)
    made_of = made_from(filed, drafting)
    if not folder.has(place, made_of):
        made = written(filed, drafting)
        remark = made.remark
        # What is to be remarked on is made again, to be remarked on again.
        folder.put(place, made.data, _seconds(note.updated_at), "" if remark else made_of)
    for number, version in enumerate(exported.versions, 1):
        path = f"{top}{REVISIONS}/{stem}/{number:03d}-{safe_name(version.replaced_at[:10])}.md"
        folder.put(layout.take(path), _former(version))
    return Kept(place, remark) if remark else None


def _former(version: NoteVersion) -> bytes:
    said = {"title": version.title, "tags": list(version.tags), "replaced": version.replaced_at}
    return (front_matter({key: value for key, value in said.items() if value}) + version.body).encode("utf-8")


def _seconds(moment: str) -> float | None:
    """As a time of a file; None where a file cannot have it."""
    try:
        return max(0.0, datetime.fromisoformat(moment).timestamp())
    except (ValueError, OverflowError):
        return None
