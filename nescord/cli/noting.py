"""The commands that change a single note of ours, or say what it was and has: `note edit … files`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.keeping import NoteId, embed, naming, standard_input
from nescord.cli.output import Part, Screen, emit
from nescord.errors import UsageError

if TYPE_CHECKING:
    from nescord.notes import Note, StoredAttachment


def note_edit(
    context: typer.Context,
    note_id: NoteId,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help='What it says from now on; "-": from standard input.')
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TITLE", help='Its title from now on; "": taken from the text.')
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Its tags from now on, beside those in its text; may be repeated."),
    ] = None,
    expected: Annotated[
        str, typer.Option(metavar="MOMENT", help="Only if it was changed at that moment, and not since.")
    ] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Change what a note says, its title or its tags. What it said is kept: see note history.

    Only notes that were captured or restored can be changed; others in the file of their vault.
    """
    call = Call.of(context, data_dir, as_json)
    words = None if text is None else " ".join(text)
    if words is None and title is None and tag is None:
        raise UsageError("there is nothing to change: give a text, --title or --tag")
    content = standard_input() if words == "-" else words
    with call.open() as knowledge, naming():
        note = knowledge.edit_note(note_id, text=content, title=title, tags=tag, expected=expected)
        _show("changed", note, call)
        embed(knowledge, note.id)


def note_delete(context: typer.Context, note_id: NoteId, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Put a note into the trash: no search finds it, and note undelete brings it back for some days."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        _show("in the trash:", knowledge.delete_note(note_id), call)


def note_undelete(context: typer.Context, note_id: NoteId, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring a note that was deleted back from the trash, as it was."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        note = knowledge.undelete_note(note_id)
        _show("back again:", note, call)
        embed(knowledge, note.id)


def note_history(
    context: typer.Context,
    note_id: NoteId,
    show: Annotated[
        int | None, typer.Option("--show", metavar="NUMBER", help="Print the text of that version.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List what a note said before it was edited or merged, the latest version first."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        versions = knowledge.note_history(note_id)
    if show is not None:
        versions = [version for version in versions if version.number == show]
        if not versions:
            raise UsageError(f"{note_id} has no version number {show}: see nescord note history {note_id}")
    if call.as_json:
        emit([asdict(version) for version in versions])
    elif show is not None:
        Screen().text(versions[0].body.rstrip())
    else:
        rows = [[str(version.number), version.replaced_at, version.title] for version in versions]
        Screen().table(("number", "replaced", "title"), rows)


def note_files(
    context: typer.Context,
    note_id: NoteId,
    save: Annotated[Path | None, typer.Option("--save", metavar="FOLDER", help="Write them into this folder.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the files that were kept with a note, and say of which only the name was kept, and why."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        files = knowledge.attachments(note_id)
        if save is not None:
            for file in files:
                if file.is_stored:
                    _save(save, file, knowledge.attachment(note_id, file.ordinal))
    if call.as_json:
        emit([asdict(file) for file in files])
        return
    rows = [
        [str(file.ordinal), f"{file.size:,}", file.media_type, file.name, file.reason and f"not stored: {file.reason}"]
        for file in files
    ]
    Screen().table(("number", "bytes", "type", "name", ""), rows)


def _save(folder: Path, file: StoredAttachment, content: bytes) -> None:
    """Under a name that leads nowhere else, whatever somebody has called it, and over nothing that is there."""
    signs = (sign if sign.isprintable() and sign not in '/\\:*?"<>|' else "_" for sign in file.name)
    name = f"{file.ordinal}-{''.join(signs)}".encode()[:200].decode("utf-8", "ignore")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("xb") as target:
            target.write(content)
    except OSError as error:
        raise UsageError(f"{folder / name} cannot be written: {error.strerror}") from error


def _show(what: str, note: Note, call: Call) -> None:
    if call.as_json:
        fields = ("path", "title", "updated_at", "trashed_at")
        emit({"note_id": note.id} | {name: getattr(note, name) for name in fields} | {"tags": note.tags})
    else:
        Screen().line(f"{what} ", Part(note.title, "bold"), Part(f"  {note.id}", "dim"))
