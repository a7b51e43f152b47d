"""What is kept of one person as a zip file, readable without this program: notes as Markdown, the rest as JSON."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from io import BytesIO

import apsw

from nescord.catalog import notes as notes_sql
from nescord.catalog import privacy as sql
from nescord.note_files import front_matter, safe_name
from nescord.notes import Note, Scope
from nescord.times import utc_text

# What a name and its place in the zip's directory take besides the bytes.
_OVERHEAD = 1024


def export(connection: apsw.Connection, who: str, now: datetime, *, most_bytes: int | None = None) -> bytes:
    """The zip file. Attachments that would make it larger than `most_bytes` are named in `about.json` instead."""
    made = BytesIO()
    left_out: list[dict[str, object]] = []
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        names: dict[str, str] = {}
        for note_id in sql.note_ids(connection, who):
            (note,) = notes_sql.find(connection, note_id, Scope())
            names[note_id] = _name(note.title or note.path, note_id)
            archive.writestr(f"notes/{names[note_id]}.md", _markdown(note, sql.origin_of(connection, note_id)))
        for number, (note_id, replaced_at, title, body) in enumerate(sql.revisions_of(connection, who)):
            name = names.get(note_id) or _name(title, note_id)
            head = front_matter({"id": note_id, "title": title, "replaced": replaced_at})
            archive.writestr(f"revisions/{name}/{number:05d}.md", _bytes(f"{head}{body}"))
        for kind, rows in sql.rows_of(connection, who):
            archive.writestr(f"{kind}.json", _json(rows))
        for note_id, ordinal, file_name, size in sql.attachments_of(connection, who):
            if most_bytes is not None and made.tell() + size + _OVERHEAD > most_bytes:
                left_out.append({"note": note_id, "name": file_name, "bytes": size})
                continue
            place = f"attachments/{names[note_id]}/{ordinal}-{safe_name(file_name)}"
            archive.writestr(place, sql.attached(connection, note_id, ordinal))
        about = {"who": who, "at": utc_text(now), "notes": len(names), "attachments_left_out": left_out}
        archive.writestr("about.json", _json(about))
    return made.getvalue()


def _markdown(note: Note, origin: str) -> bytes:
    ours = {
        "id": note.id,
        "title": note.title,
        "tags": list(note.tags),
        "aliases": list(note.aliases),
        "space": note.space,
        "author": note.author,
        "origin": origin,
        "created": note.created_at,
        "updated": note.updated_at,
        "trashed": note.trashed_at,
    }
    given = {key: value for key, value in note.front_matter.items() if key not in ours}
    return _bytes(front_matter({**{key: value for key, value in ours.items() if value}, **given}) + note.body)


def _name(title: str, note_id: str) -> str:
    """Of the title what a file may be called; the end of the id tells notes of one title apart."""
    return f"{safe_name(title)}-{note_id[-8:]}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _json(document: object) -> bytes:
    return _bytes(json.dumps(document, ensure_ascii=False, indent=2, default=_as_text))


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
