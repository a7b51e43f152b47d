"""The commands that change what is kept, save ingest: init, capture, `source …` and `note …`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json, ask, say_warnings
from nescord.cli.output import Part, Screen, emit, say
from nescord.errors import NescordError, NotFoundError, UsageError

if TYPE_CHECKING:
    from nescord.knowledge import KnowledgeManager
    from nescord.notes import Note

NoteId = Annotated[str, typer.Argument(metavar="ID", help="The id of the note.")]
VaultName = Annotated[str, typer.Argument(metavar="NAME", help="The name of the vault in nescord source list.")]


def init(
    context: typer.Context,
    new: Annotated[
        bool, typer.Option("--new", help="Start anew where the database of a knowledge base got lost.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Begin a knowledge base. Where there is one already, nothing changes."""
    from nescord.knowledge import KnowledgeManager

    call = Call.of(context, data_dir, as_json)
    settings = call.settings()
    begin = KnowledgeManager.begin_anew if new else KnowledgeManager.open
    with begin(settings) as knowledge:
        path, is_new = knowledge.folder.path, knowledge.is_new
        say_warnings(settings, knowledge.folder)
    say(f"new knowledge base at {path}" if is_new else f"there is a knowledge base at {path} already")
    if call.as_json:
        emit({"path": str(path), "new": is_new})


def capture(
    context: typer.Context,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help='What to keep; left out or "-": from standard input.'),
    ] = None,
    space: Annotated[
        str, typer.Option(metavar="SPACE", help="Who may see it: personal, guild:ID, user:ID.")
    ] = "personal",
    author: Annotated[str, typer.Option(metavar="NAME", help="Who wrote it.")] = "",
    source: Annotated[str, typer.Option(metavar="URL", help="Where it was said.")] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Keep a text as a note; it is found by its words as soon as its id is printed, by meaning when this returns."""
    call = Call.of(context, data_dir, as_json)
    words = " ".join(text or ("-",))
    content = standard_input() if words == "-" else words
    with call.open_or_begin() as knowledge:
        note = knowledge.capture(content, space=space, author=author, source=source)
        try:
            _show_kept(note, call)
            embed(knowledge, note.id)
        except KeyboardInterrupt:
            say("interrupted: it is kept and found by its words; the next ingest embeds it")
            raise typer.Exit(128 + signal.SIGINT) from None


def _show_kept(note: Note, call: Call) -> None:
    if call.as_json:
        fields = ("path", "title", "space", "created_at")
        emit({"note_id": note.id} | {name: getattr(note, name) for name in fields} | {"tags": note.tags})
    else:
        Screen().line("kept ", Part(note.title, "bold"), Part(f"  {note.id}", "dim"))
    if sys.stdout is not None:
        sys.stdout.flush()  # whoever reads it need not wait for the model


def embed(knowledge: KnowledgeManager, note_id: str) -> None:
    """Nothing that goes wrong here can undo what was stored: the next ingest embeds what this one could not."""
    try:
        knowledge.embed_note(note_id)
    except NescordError as error:
        say(f"note: it is found by its words only: vector: {error}")


def standard_input() -> str:
    """The text that is piped in, or typed.

    Raises:
        UsageError: there is none, or it is no text.
    """
    from nescord.decoding import DecodeError, decode

    if sys.stdin is None:
        raise UsageError("there is nothing to capture: give the text, or pipe it in")
    if sys.stdin.isatty():
        say("type the note; Ctrl-D on an empty line ends it")
    try:
        return decode(sys.stdin.buffer.read()).text
    except DecodeError as error:
        raise UsageError(f"standard input cannot be captured: {error}") from None


def source_list(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the vaults, and what was captured."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        sources = knowledge.sources()
    fields = ("name", "kind", "root", "space", "ingested_at")
    if call.as_json:
        emit([{field: getattr(source, field) for field in fields} for source in sources])
        return
    rows = [[getattr(source, field) for field in fields] for source in sources]
    Screen().table(("name", "kind", "folder", "space", "last change"), rows)


def source_move(
    context: typer.Context,
    name: VaultName,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder where it is now.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say that a vault lives in another folder now. Its notes keep their ids."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        source = knowledge.move_source(name, path)
    if call.as_json:
        emit({"name": source.name, "kind": source.kind, "root": source.root, "space": source.space})
    else:
        Screen().line(f'the vault "{source.name}" is at {source.root} now')


def source_remove(
    context: typer.Context,
    name: VaultName,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Forget a vault. Its notes go to the trash, its files stay; ingesting it again brings both back."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        trashed = knowledge.remove_source(name)
    if call.as_json:
        emit({"name": name, "trashed": trashed})
    else:
        Screen().line(f'the vault "{name}" is forgotten; {trashed} notes are in the trash')


def note_trash(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the notes in the trash, the latest first."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        trashed = knowledge.trash()
    if call.as_json:
        emit([asdict(note) for note in trashed])
        return
    rows = [[note.note_id, note.trashed_at, note.source, note.path] for note in trashed]
    Screen().table(("id", "trashed", "vault", "path"), rows)


def note_restore(
    context: typer.Context,
    note_id: NoteId,
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="As a backup from then or before has it.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Bring a note back: from the trash, else from the newest backup that has it.

    With --at a note that is alive stays as it is, and what it said then is stored beside it.
    """
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge, naming():
        note = knowledge.restore_note(note_id, at=at)
    if call.as_json:
        emit({"note_id": note.id, "path": note.path, "title": note.title, "owner": note.owner})
    else:
        Screen().line("back again: ", Part(note.title, "bold"), Part(f"  {note.path}", "dim"))


def note_erase(
    context: typer.Context,
    note_id: NoteId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Delete a note for good: no restore brings it back. It is in the backups until they are pruned."""
    call = Call.of(context, data_dir, as_json)
    if not yes:
        ask(f"Erase {note_id} for good?", call)
    with call.open() as knowledge, naming():
        knowledge.erase_note(note_id)
        remark = knowledge.remark_on_erased()
    if remark:
        say(f"note: {remark}")
    if call.as_json:
        emit({"note_id": note_id, "erased": True})
    else:
        Screen().line(f"{note_id} is erased")


@contextmanager
def naming() -> Iterator[None]:
    """What is named here must exist: exit code 1, "nothing found", is for questions (search and show)."""
    try:
        yield
    except NotFoundError as error:
        raise UsageError(str(error)) from error
