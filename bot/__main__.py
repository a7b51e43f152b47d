"""`python -m bot run [--pulse FD]` and `python -m bot sync [--force] [--json]`, for `nescord up` and `nescord bot`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading

from nescord.errors import NescordError
from nescord.packages import is_installed
from nescord.redaction import Redactor, secrets_of
from nescord.settings import Settings

_NOT_INSTALLED = 78
# A store that hangs must not make the supervisor kill us (nescord/services.py): whatever was accepted is on disk.
_GONE_WITHIN = 11.0


def main() -> int:
    """The exit code."""
    if missing := [each for each in ("discord", "fsrs", "regex") if not is_installed(each)]:
        sys.stderr.write(
            f"the bot needs packages that are not installed ({', '.join(missing)}): install nescordbot[bot]\n"
        )
        return _NOT_INSTALLED
    from bot import log

    arguments = _arguments()
    try:
        settings = Settings()
    except NescordError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    log.begin(Redactor(secrets_of(settings)), with_time=arguments.command == "run" and arguments.pulse is None)
    if arguments.command == "run":
        from bot.run import run

        return run(settings, pulse_fd=arguments.pulse, when_told=_be_gone_soon)
    from bot.syncing import sync_once

    try:
        done = sync_once(settings, force=arguments.force)
    except NescordError as error:
        sys.stderr.write(f"nescord: {error}\n")
        return error.exit_code
    if arguments.json:
        sys.stdout.write(json.dumps({"commands": done.commands, "changed": done.is_changed}) + "\n")
    else:
        what = "registered with Discord" if done.is_changed else "nothing to change"
        sys.stdout.write(f"{done.commands} commands: {what}\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bot", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("--pulse", type=int)
    sync = commands.add_parser("sync")
    sync.add_argument("--force", action="store_true")
    sync.add_argument("--json", action="store_true")
    return parser.parse_args()


def _be_gone_soon() -> None:
    timer = threading.Timer(_GONE_WITHIN, os._exit, (0,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
