"""`/privacy`: what is kept of a person, all of it as a file, and gone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere
from bot.registry import handles
from bot.render import Field, Input, Modal, Reply, ReplyFile
from bot.request import Request
from bot.texts import named, text
from bot.visit import Refused, Visit

if TYPE_CHECKING:
    from nescord.privacy import ErasureReport, Privacy, PrivacySummary

# Room for the rest of the zip beside the attachments.
_BESIDE = 512 * 1024
_WORDS = frozenset({"delete", "削除"})


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/privacy`."""
    group = everywhere(app_commands.Group(name=named("cmd.privacy.name"), description=named("cmd.privacy.description")))

    @group.command(name=named("cmd.privacy.show.name"), description=named("cmd.privacy.show.description"))
    async def show(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, "privacy.show", {})

    @group.command(name=named("cmd.privacy.export.name"), description=named("cmd.privacy.export.description"))
    async def export(interaction: discord.Interaction) -> None:
        await desk.accept(interaction, "privacy.export", {})

    @group.command(name=named("cmd.privacy.delete.name"), description=named("cmd.privacy.delete.description"))
    async def delete(interaction: discord.Interaction) -> None:
        language = Request.of(interaction, "", {}).language or "en"
        word = Input("word", text("privacy.word", language), placeholder=text("privacy.word_hint", language), most=20)
        await desk.open_modal(interaction, Modal("privacy.delete", text("privacy.delete_title", language), [word]))

    tree.add_command(group)


@handles("privacy.show")
async def show(visit: Visit) -> Reply:
    """How much there is of what, what for, and until when backups hold it."""
    summary = await visit.call(_privacy(visit).summary)
    fields = [Field(visit.text("privacy.kept"), _counts(visit, summary.counts) or visit.text("privacy.nothing"))]
    fields.append(_elsewhere(visit, summary))
    return Reply(title=visit.text("privacy.title"), body=visit.text("privacy.statement"), fields=fields)


@handles("privacy.export")
async def export(visit: Visit) -> Reply:
    """All of it as a zip file, as far as Discord takes it."""
    limit = visit.request.file_limit
    await visit.before_sending_files()
    made = await visit.call(_privacy(visit).export, most_bytes=max(0, limit - _BESIDE))
    if len(made) > limit:
        raise Refused("privacy.too_large")
    return Reply(body=visit.text("privacy.exported"), files=[ReplyFile("nescordbot-export.zip", made)])


@handles("privacy.delete", is_form=True)
async def delete(visit: Visit) -> Reply:
    """Erase all of it, if the word was typed."""
    if visit.request.string("word").strip().casefold() not in _WORDS:
        raise Refused("privacy.not_deleted")
    report = await visit.call(_privacy(visit).erase)
    notices = [] if report.is_complete else [visit.text("privacy.not_all_yet")]
    return Reply(
        title=visit.text("privacy.deleted"),
        body=_counts(visit, report.counts) or visit.text("privacy.nothing"),
        fields=[_elsewhere(visit, report)],
        notices=notices,
    )


def _privacy(visit: Visit) -> Privacy:
    return visit.base.privacy(visit.who)


def _counts(visit: Visit, counts: dict[str, int]) -> str:
    keys = {
        "notes": "privacy.notes",
        "trashed": "privacy.trashed",
        "revisions": "privacy.revisions",
        "attachments": "privacy.attachments",
        "search_events": "privacy.searches",
        "questions": "privacy.questions",
        "conversations": "privacy.conversations",
        "review_cards": "privacy.cards",
        "preferences": "privacy.preferences",
        "digests": "privacy.digests",
        "inbox": "privacy.inbox",
        "ledger_calls": "privacy.calls",
    }
    return "\n".join(f"- {visit.text(key)}: {counts[name]:,}" for name, key in keys.items() if counts.get(name))


def _elsewhere(visit: Visit, found: PrivacySummary | ErasureReport) -> Field:
    """Where it still is, and until when."""
    lines = []
    if found.backups_forget_at is not None:
        lines.append(visit.text("privacy.forget_at", day=f"<t:{int(found.backups_forget_at.timestamp())}:D>"))
    if found.pinned:
        lines.append(visit.text("privacy.pinned", count=found.pinned))
    if found.off_site:
        lines.append(visit.text("privacy.off_site"))
    if found.merged:
        lines.append(visit.text("privacy.merged", count=found.merged))
    return Field(visit.text("privacy.backups"), "\n".join(lines) or visit.text("privacy.no_backups"))
