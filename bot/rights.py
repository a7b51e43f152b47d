"""Which note is meant, and who may change it: asked anew with each command, button and submit.

A view shows only the spaces of its scope; within them, a note of a guild is changed by who kept it or by a manager.
"""

from __future__ import annotations

from bot.scope import PERSONAL
from bot.visit import Refused, Visit
from nescord.discord_text import escape
from nescord.errors import NotFoundError, SettingsError, UsageError
from nescord.notes import Note


async def stored_note(visit: Visit, wanted: str) -> Note:
    """The note with that id, path or name, be it in the trash. Refused: there is none in scope, or several fit."""
    try:
        return await visit.call(visit.view.note, wanted)
    except NotFoundError:
        raise Refused("note.none") from None
    except SettingsError:
        raise
    except UsageError:
        raise Refused("note.several") from None


async def living_note(visit: Visit, wanted: str) -> Note:
    """As `stored_note`, and not in the trash."""
    note = await stored_note(visit, wanted)
    if note.trashed_at:
        raise Refused("note.trashed")
    return note


def is_theirs(visit: Visit, note: Note) -> bool:
    """Whether this person has a say in the note: it is in their space, they kept it, or they manage the guild."""
    if note.space == visit.who:
        return True
    if note.space == PERSONAL:
        return visit.is_owner
    if not visit.guild_space or note.space != visit.guild_space:
        return False
    # The front matter of a file in a vault may name anybody as its author.
    return visit.is_manager or (note.owner == "us" and note.author == visit.who)


def may_change(visit: Visit, note: Note) -> bool:
    """Whether this person may edit or delete the note here."""
    return note.owner == "us" and is_theirs(visit, note)


def check_theirs(visit: Visit, note: Note) -> None:
    """Refused: as `is_theirs`."""
    if not is_theirs(visit, note):
        raise Refused("note.not_yours")


def check_change(visit: Visit, note: Note) -> None:
    """Refused: as `may_change`, with the mend for a note of a vault."""
    check_theirs(visit, note)
    if note.owner != "us":
        raise Refused("note.of_source", path=escape(note.path, 300))
