"""`nescord status`, `failures` and `config`: what is stored, what is wrong with files, what is set."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.finding import say_degraded
from nescord.cli.indexing import meaning_rows
from nescord.cli.output import Part, Screen, emit

if TYPE_CHECKING:
    from nescord.settings import Settings


def status(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show how much is stored."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        counts, meaning, path = knowledge.status(), knowledge.meaning(), knowledge.folder.path
    say_degraded(meaning.degraded)
    if call.as_json:
        emit(
            asdict(counts)
            | {"embeddings": meaning.embeddings, "pending": meaning.pending, "behind": meaning.behind}
            | {"refused": meaning.refused, "put_aside": meaning.put_aside}
            | {"index": {"kind": meaning.index_kind, "count": meaning.index_count}}
            | {"model_key": meaning.model_key}
            | {"second": {"model_key": meaning.second, "pending": meaning.second_pending}}
            | {"degraded": meaning.degraded}
        )
        return
    languages = ", ".join(f"{language or '?'} {count:,}" for language, count in counts.languages.items())
    rows = [
        ("knowledge base", str(path)),
        ("notes", f"{counts.notes:,}" + (f" ({languages})" if languages else "")),
        ("chunks", f"{counts.chunks:,}"),
        *meaning_rows(meaning),
        ("in the trash", f"{counts.trashed:,}"),
        ("sources", f"{counts.sources:,}"),
        ("files not stored", f"{counts.failed:,}" + (" (nescord failures)" if counts.failed else "")),
        ("files with warnings", f"{counts.warned:,}" + (" (nescord failures)" if counts.warned else "")),
        ("database", f"{counts.bytes / 1e6:,.1f} MB, schema {counts.schema}, SQLite {counts.sqlite}"),
        ("last change", counts.last_ingest or "never"),
    ]
    Screen().table(("", ""), rows)


def failures(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the files that could not be stored, or that something is wrong with, each with the reason."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        found = knowledge.failures()
    if call.as_json:
        keys = ("path", "reason", "source", "stored", "first_seen", "last_seen")
        emit([{key: getattr(failure, key) for key in keys} for failure in found])
        return
    screen = Screen()
    for failure in found:
        kind = Part("stored, but: ", "yellow") if failure.stored else Part("not stored: ", "red")
        screen.line(Part(f"{failure.source}/{failure.path}", "bold"), "  ", kind, failure.reason)
    if not found:
        screen.line("no file failed")


def config(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show every setting: its name in the environment, its value and where that comes from."""
    call = Call.of(context, data_dir, as_json)
    rows = setting_rows(call.settings(), call)
    if call.as_json:
        emit([{"name": name, "value": value, "from": origin} for name, value, origin in rows])
    else:
        Screen().table(("setting", "value", "from"), [(name, value or "-", origin) for name, value, origin in rows])


def setting_rows(settings: Settings, call: Call) -> list[tuple[str, str | None, str]]:
    """(environment name, value, where from) of every setting; of a secret only whether it is set."""
    from pydantic import SecretStr

    rows = []
    for field, described in type(settings).model_fields.items():
        name, value = str(described.validation_alias), getattr(settings, field)
        if described.annotation == SecretStr | None:
            shown: str | None = "not set" if value is None else "set"
        else:
            shown = None if value is None else str(value)
        if field not in settings.model_fields_set:
            origin = "default"
        elif field == "data_dir" and call.data_dir is not None:
            origin = "--data-dir"
        else:
            # Only whether it is there: what it says is for Settings alone to read.
            origin = "environment" if os.environ.get(name, "").strip() else ".env"
        rows.append((name, shown, origin))
    return rows
