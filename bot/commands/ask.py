"""`/ask`: an answer from the notes, with its sources; rated and followed up by buttons."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

import discord
from discord import app_commands

from bot.answers import answer_reply, sources_reply
from bot.commands.search import tag_choices
from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.registry import handles, opens
from bot.render import Input, Modal, Reply
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.answering import Turn
from nescord.conversations import Conversation
from nescord.errors import NescordError, NotFoundError
from nescord.notes import Note
from nescord.scoped import ScopedKnowledge

_log = logging.getLogger(__name__)
_LONGEST = 1000
_QUOTES = re.compile(r"[\"“”]")


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/ask`."""

    @tree.command(name=named("cmd.ask.name"), description=named("cmd.ask.description"))
    @everywhere
    @options("ask", "question", "tag", "share")
    async def ask(
        interaction: discord.Interaction,
        question: app_commands.Range[str, 1, _LONGEST],
        tag: app_commands.Range[str, 1, 100] | None = None,
        share: bool = False,
    ) -> None:
        await desk.accept(interaction, "ask", {"question": question, "tag": tag}, is_shared=share)

    @ask.autocomplete("tag")
    async def tags(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await desk.autocomplete(interaction, lambda visit: tag_choices(visit, typed))


@handles("ask", quota="answers")
async def ask(visit: Visit) -> Reply:
    """The answer, kept for the buttons below it."""
    return await _answered(visit, tag=_QUOTES.sub("", visit.request.string("tag")).strip())


@handles("ask.followed", quota="answers", is_form=True)
async def followed(visit: Visit) -> Reply:
    """The answer to a question that takes what was said before into account."""
    previous = await _conversation(visit)
    return await _answered(visit, previous=previous.id)


@opens("button.ask_more")
async def follow_up(visit: Visit) -> Modal:
    """The form for the next question."""
    previous = await _conversation(visit)
    question = Input(
        "question",
        visit.text("ask.follow_up_label"),
        placeholder=visit.text("ask.follow_up_hint"),
        is_long=True,
        most=_LONGEST,
    )
    return Modal("ask.followed", visit.text("ask.follow_up_title"), [question], id=previous.id)


@handles("button.ask_useful")
async def useful(visit: Visit) -> Reply:
    """It was of use."""
    await _rate(visit, is_useful=True)
    return Reply(body=visit.text("ask.thanks_useful"))


@handles("button.ask_useless")
async def not_useful(visit: Visit) -> Reply:
    """It was not."""
    await _rate(visit, is_useful=False)
    return Reply(body=visit.text("ask.thanks_not_useful"))


@handles("button.ask_sources")
async def sources(visit: Visit) -> Reply:
    """The passages that were cited, of notes that whoever clicks may see now."""
    conversation = await _conversation(visit)
    if not conversation.citations:
        raise Refused("ask.no_sources")
    cited = [citation.note_id for citation in conversation.citations]
    notes = await visit.call(_visible, visit.view, cited)
    return sources_reply(visit, conversation.citations, notes)


async def _answered(visit: Visit, *, tag: str = "", previous: str = "") -> Reply:
    question = visit.request.string("question").strip()
    if not question:
        raise Refused("ask.empty")
    history: Sequence[Turn] = ()
    if previous:
        history = await visit.call(visit.base.conversations.history, previous, visit.spaces, visit.who)
    asked = f'tag:"{tag}" {question}' if tag else question
    answer = await visit.call(visit.view.answer, asked, history)
    wanted = visit.request.id
    try:
        await visit.call(
            visit.base.conversations.keep,
            wanted,
            visit.who,
            visit.spaces,
            question,
            answer,
            is_shared=visit.request.is_shared,
            previous=previous,
            asked_at=visit.request.accepted_at,
        )
    except NescordError as error:
        # It was paid for, and is shown without the buttons that would need it.
        _log.warning("the answer to %s is not kept for its buttons: %s", wanted, error)
        wanted = ""
    return answer_reply(visit, question, answer, wanted)


async def _conversation(visit: Visit) -> Conversation:
    """The one that a button or form is about, as far as whoever uses it may see it."""
    wanted = visit.request.string("id")
    found = await visit.call(visit.base.conversations.find, wanted, visit.spaces, visit.who)
    if found is None:
        raise Refused("ask.gone")
    return found


async def _rate(visit: Visit, *, is_useful: bool) -> None:
    wanted = visit.request.string("id")
    rate = visit.base.conversations.rate
    if not await visit.call(rate, wanted, visit.who, is_useful, scope_spaces=visit.spaces):
        raise Refused("ask.gone")


def _visible(view: ScopedKnowledge, note_ids: Iterable[str]) -> dict[str, Note]:
    """Those of the notes that are in scope and not in the trash. Blocks."""
    notes = {}
    for note_id in dict.fromkeys(note_ids):
        try:
            note = view.note(note_id)
        except NotFoundError:
            continue
        if not note.trashed_at:
            notes[note_id] = note
    return notes
