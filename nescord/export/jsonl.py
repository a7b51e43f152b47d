"""An export as one file of JSON lines, which `nescord import-from jsonl` reads. docs/export.md has the keys."""

from __future__ import annotations

import base64
import json
from typing import Any, BinaryIO

from nescord.catalog.exporting import StoredFile
from nescord.export.folder import ExportFolder
from nescord.export.reading import ExportedNote, Reading
from nescord.notes import NoteVersion

FILE = "notes.jsonl"
FORMAT, VERSION = "nescord-jsonl", 1


def export(reading: Reading, folder: ExportFolder) -> int:
    """Put all notes into the file; how many."""
    count = 0
    with folder.writing(FILE) as file:
        _line(file, {"format": FORMAT, "version": VERSION})
        for exported in reading.notes():
            _line(file, _said(exported, reading))
            count += 1
    return count


def _line(file: BinaryIO, document: dict[str, Any]) -> None:
    file.write(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _said(exported: ExportedNote, reading: Reading) -> dict[str, Any]:
    note = exported.note
    said: dict[str, Any] = {
        "id": note.id,
        "path": note.path,
        "source": note.source,
        "title": note.title,
        "text": note.body,
        "tags": list(note.tags),
        "aliases": list(note.aliases),
        "front_matter": note.front_matter,
        "space": note.space,
        "author": note.author,
        "origin": exported.origin,
        "kind": note.kind,
        "owner": note.owner,
        "lang": note.lang,
        "created_at": note.created_at,
        "updated_at": note.updated_at,
        "trashed_at": note.trashed_at,
        "links": [
            {
                "kind": link.kind,
                "target": link.target,
                "anchor": link.anchor,
                "text": link.text,
                "note_id": link.note_id,
            }
            for link in note.links
        ],
        "attachments": [_attached(exported, file, reading) for file in exported.files],
    }
    if reading.revisions:
        said["revisions"] = [_former(version) for version in reversed(exported.versions)]
    return said


def _attached(exported: ExportedNote, file: StoredFile, reading: Reading) -> dict[str, Any]:
    said: dict[str, Any] = {"name": file.name, "media_type": file.media_type, "size": file.size}
    content = reading.content(exported.note, file)
    if content is None or file.sha256 is None:
        return said | {"sha256": "", "reason": file.reason}
    return said | {"sha256": file.sha256.hex(), "bytes_base64": base64.b64encode(content).decode("ascii")}


def _former(version: NoteVersion) -> dict[str, Any]:
    return {
        "replaced_at": version.replaced_at,
        "title": version.title,
        "text": version.body,
        "tags": list(version.tags),
    }
