"""`nescord export`: everything back out, whole, in files that other programs read.

The same notes give the same bytes, whenever and however often they are exported: only what differs is written.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nescord.catalog import exporting as sql
from nescord.errors import UsageError
from nescord.export.folder import ExportFolder, Filing, Kept
from nescord.export.reading import Reading
from nescord.home import read_identity
from nescord.notes import Scope
from nescord.opened import OpenBase

Format = Literal["vault", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("vault", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did. `filing` counts files; `remarks` are files from which a note would not come back quite as it
    is, and why."""

    format: Format
    folder: Path
    notes: int
    filing: Filing
    remarks: list[Kept] = field(default_factory=list)
    seconds: float = 0.0


def export(
    base: OpenBase,
    target: Path,
    *,
    scope: Scope,
    kind: Format = "vault",
    revisions: bool = False,
    into: bool = False,
) -> ExportReport:
    """Write the living notes of a scope to a folder, as far as they are not there yet.

    `revisions` adds what notes said before; `into` allows a folder with other things in it.

    Raises:
        UsageError: the folder is not to be written to, or pyarrow is needed and not there. ExportError: it cannot be.
    """
    if kind not in FORMATS:
        raise UsageError(f'format "{kind}" is not known: the formats are {", ".join(FORMATS)}')
    if kind == "parquet":
        from nescord.packages import GET_NOTEBOOKS, is_installed

        if not is_installed("pyarrow"):
            raise UsageError(f"an export as parquet needs pyarrow, which is not installed: {GET_NOTEBOOKS}")
    begun, root, remarks = time.perf_counter(), target.absolute(), list[Kept]()
    uuid = read_identity(base.folder).uuid
    with ExitStack() as stack:
        with base.verb() as catalog, catalog.read() as connection:
            _refuse_where_notes_are_read(root, [*_read_from(base), *map(Path, sql.folders(connection))])
            folder = stack.enter_context(ExportFolder(root, base=uuid, kind=kind, into=into))
            reading = Reading(connection, scope, revisions)
            if kind == "vault":
                from nescord.export import vault

                count, remarks = vault.export(reading, folder, base.drafting)
            elif kind == "jsonl":
                from nescord.export import jsonl

                count = jsonl.export(reading, folder)
            else:
                from nescord.export import parquet

                count = parquet.export(reading, folder)
        # The view is closed before the disk is waited for: as long as it is open the write-ahead log only grows.
        filing = folder.finish()
    return ExportReport(kind, root, count, filing, remarks, round(time.perf_counter() - begun, 3))


def _read_from(base: OpenBase) -> list[Path]:
    """The data folder, and the vault of the settings: it may not have been read yet."""
    vault = base.settings.vault
    return [base.folder.path, *([] if vault is None else [Path(vault)])]


def _refuse_where_notes_are_read(root: Path, others: list[Path]) -> None:
    """A vault is read-only to us, and nobody else writes into the data folder."""
    real = root.resolve()
    for other in (each.resolve() for each in others):
        if real.is_relative_to(other) or other.is_relative_to(real):
            raise UsageError(f"{root} is, holds or lies in {other}, where notes are read from: name another folder")
