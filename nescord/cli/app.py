"""The tree of commands: which name calls what. Options and help stand beside each command."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.main import get_command

from nescord.cli import (
    agents,
    answering,
    backups,
    bot,
    budget,
    connecting,
    diagnosis,
    exporting,
    finding,
    flows,
    importing,
    importing_discord,
    indexing,
    ingesting,
    keeping,
    knowing,
    maintaining,
    marts,
    noting,
    off_site,
    privacy,
    reports,
    services,
    telling,
    up,
    verifying,
    watching,
    writing_back,
)
from nescord.cli.call import DataDir, Json


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nescord {version('nescordbot')}")
        raise typer.Exit


def _nescord(
    context: typer.Context,
    data_dir: DataDir = None,
    as_json: Json = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Keep notes and find them again by their words and their meaning, in Japanese and English.

    --data-dir and --json may stand before or after the command.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def _tree() -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_nescord)
    app.command("init")(keeping.init)
    app.command("ingest")(ingesting.ingest)
    app.command("watch")(watching.watch)
    app.command("writeback")(writing_back.writeback)
    imports = typer.Typer(help="Take in notes from elsewhere: what was said in Discord.", rich_markup_mode=None)
    imports.command("discord")(importing_discord.discord)
    app.add_typer(imports, name="import")
    imports_from = typer.Typer(
        help="Take in all notes of another program or an export, with what they said before.", rich_markup_mode=None
    )
    imports_from.command("nescordbot")(importing.nescordbot)
    imports_from.command("jsonl")(importing.jsonl)
    app.add_typer(imports_from, name="import-from")
    app.command("search")(finding.search)
    app.command("ask")(answering.ask)
    app.command("related")(finding.related)
    app.command("show")(finding.show)
    app.command("capture")(keeping.capture)
    app.command("export")(exporting.export)
    app.command("links")(knowing.links)
    app.command("tags")(knowing.tags)
    app.command("summarize")(knowing.summarize)
    app.command("review")(knowing.review)
    app.command("duplicates")(connecting.duplicates)
    app.command("merge")(connecting.merge)
    app.command("graph")(connecting.graph)
    app.command("secrets")(knowing.secrets)
    app.command("status")(telling.status)
    app.command("failures")(telling.failures)
    app.command("verify")(verifying.verify)
    app.command("maintain")(maintaining.maintain)
    source = typer.Typer(help="The vaults that notes come from: list, move or remove one.", rich_markup_mode=None)
    source.command("list")(keeping.source_list)
    source.command("move")(keeping.source_move)
    source.command("remove")(keeping.source_remove)
    app.add_typer(source, name="source")
    note = typer.Typer(help="One note: change it, trash it, bring it back, or erase it.", rich_markup_mode=None)
    note.command("edit")(noting.note_edit)
    note.command("history")(noting.note_history)
    note.command("files")(noting.note_files)
    note.command("delete")(noting.note_delete)
    note.command("undelete")(noting.note_undelete)
    note.command("trash")(keeping.note_trash)
    note.command("restore")(keeping.note_restore)
    note.command("erase")(keeping.note_erase)
    app.add_typer(note, name="note")
    person = typer.Typer(
        help="What is kept of a person who uses the bot: show, export or erase it.", rich_markup_mode=None
    )
    person.command("show")(privacy.show)
    person.command("export")(privacy.export)
    person.command("erase")(privacy.erase)
    app.add_typer(person, name="privacy")
    index = typer.Typer(help="The index for searching by meaning: how far it is, build it anew.", rich_markup_mode=None)
    index.command("status")(indexing.index_status)
    index.command("rebuild")(indexing.index_rebuild)
    index.command("retry")(indexing.index_retry)
    index.command("migrate")(indexing.index_migrate)
    app.add_typer(index, name="index")
    backup = typer.Typer(help="Backups: make, prove, list, restore, prune.", rich_markup_mode=None)
    backup.command("create")(backups.create)
    backup.command("list")(backups.list_)
    backup.command("check")(backups.check)
    backup.command("drill")(backups.drill)
    backup.command("restore")(backups.restore)
    backup.command("prune")(backups.prune)
    backup.command("pin")(backups.pin)
    backup.command("unpin")(backups.unpin)
    backup.command("replicate")(off_site.backup_replicate)
    backup.command("keygen")(off_site.backup_keygen)
    app.add_typer(backup, name="backup")
    spending = typer.Typer(
        help="What models elsewhere have cost this month, and what they may cost.",
        rich_markup_mode=None,
        invoke_without_command=True,
    )
    spending.callback()(budget.budget)
    spending.command("allow")(budget.budget_allow)
    app.add_typer(spending, name="budget")
    app.command("services")(services.services)
    app.command("up")(up.up)
    app.command("mcp")(agents.mcp)
    discord = typer.Typer(help="The Discord bot: run it, tell Discord of its commands.", rich_markup_mode=None)
    discord.command("run")(bot.run)
    discord.command("sync")(bot.sync)
    app.add_typer(discord, name="bot")
    flow = typer.Typer(help="What runs in the background: list, run, watch, stop.", rich_markup_mode=None)
    flow.command("list")(flows.list_)
    flow.command("run")(flows.run)
    flow.command("status")(flows.status)
    flow.command("logs")(flows.logs)
    flow.command("cancel")(flows.cancel)
    app.add_typer(flow, name="flows")
    tables = typer.Typer(help="The knowledge base as tables: make them anew.", rich_markup_mode=None)
    tables.command("build")(marts.build)
    app.add_typer(tables, name="marts")
    app.command("sql")(marts.sql)
    report = typer.Typer(help="Reports: notebooks over the marts, as pages.", rich_markup_mode=None)
    report.command("build")(reports.build)
    report.command("open")(reports.open_)
    app.add_typer(report, name="report")
    app.command("config")(telling.config)
    app.command("doctor")(diagnosis.doctor)
    return app


command = get_command(_tree())
