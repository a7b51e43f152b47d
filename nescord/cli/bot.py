"""`nescord bot`: the Discord bot by itself, and telling Discord of its commands.

The bot is another program, which knows this one (`python -m bot`): this process becomes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from nescord.cli.call import Call, DataDir, Json


def run(context: typer.Context, data_dir: DataDir = None) -> None:
    """Run the Discord bot in the foreground, until Ctrl-C or SIGTERM. `nescord up` runs it with everything else.

    It needs DISCORD_TOKEN. It waits for Discord as long as that takes, and finishes what it had accepted before.
    """
    _become(Call.of(context, data_dir, as_json=False), ["run"])


def sync(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Also if Discord was told of the same commands before.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Tell Discord of the bot's commands, if they are new to it. The bot does so at each start.

    With --force also what somebody else has changed there meanwhile is set right.
    """
    call = Call.of(context, data_dir, as_json)
    _become(call, ["sync", *(["--force"] if force else []), *(["--json"] if call.as_json else [])])


def _become(call: Call, words: Sequence[str]) -> None:
    environment = dict(os.environ)
    if call.data_dir is not None:
        environment["NESCORD_DATA_DIR"] = str(call.data_dir)
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder in the working directory must not hide a module of that name.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "bot", *words], environment)
