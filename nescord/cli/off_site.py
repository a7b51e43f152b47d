"""`nescord backup replicate` and `keygen`: copies elsewhere, and the key that they are encrypted to."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nescord.cli.backups import progress
from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Screen, emit


def backup_replicate(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Copy good backups to NESCORD_OFF_SITE. What is there already is left alone, and never overwritten."""
    from nescord.backup.replicate import replicate
    from nescord.home import DataFolder
    from nescord.opened import OpenBase

    call = Call.of(context, data_dir, as_json)
    settings = call.settings()
    with closing(OpenBase(DataFolder.find(settings), settings, is_new=False)) as base, progress(call) as tell:
        done = replicate(base, progress=tell)
    if call.as_json:
        emit(asdict(done))
    elif done.sent:
        megabytes = f"{done.bytes / 1e6:,.1f} MB in {done.seconds:,.1f} s"
        Screen().line(f"{len(done.sent)} backups copied to {done.target}: {megabytes}, the newest {done.sent[-1]}")
    else:
        Screen().line(f"all good backups are at {done.target} already")


def backup_keygen(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the identity, the private key, is written.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a key that copies elsewhere are encrypted to."""
    from nescord.backup.encryption import keygen

    call = Call.of(context, data_dir, as_json)
    public = keygen(file)
    if call.as_json:
        emit({"file": str(file), "recipient": public})
        return
    screen = Screen()
    screen.line(f"NESCORD_BACKUP_RECIPIENT={public}")
    screen.line(f"Set that where nescord runs, and keep {file} elsewhere: without it the copies cannot be read.")
