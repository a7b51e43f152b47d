"""The `nescord` command: from the arguments to an exit code and nothing else on the way out.

Whatever goes wrong that a person can mend leaves as one line on stderr (with --json also as a document on stdout) and
the exit code that the error carries. Modules of commands import the knowledge base only when they run: `nescord --help`
must answer at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_NOBODY_READS = 141  # 128 + SIGPIPE


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code."""
    _prepare_streams()
    as_json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    try:
        code = _outcome(arguments, as_json)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _NOBODY_READS
    except KeyboardInterrupt:
        from nescord.cli.output import fail

        return fail("interrupted", _INTERRUPTED, as_json)
    return code


def _outcome(arguments: Sequence[str], as_json: bool) -> int:
    import typer

    from nescord.cli.app import command
    from nescord.cli.output import fail
    from nescord.errors import NescordError

    try:
        with command.make_context("nescord", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        where = getattr(error, "ctx", None)
        hint = f" (see {where.command_path} --help)" if where is not None else ""
        return fail(error.format_message() + hint, error.exit_code, as_json)
    except NescordError as error:
        return fail(str(error), error.exit_code, as_json)
    except UnicodeEncodeError:
        # The shell passes any bytes. Paths may hold them, text in the database cannot.
        strange = next((each for each in arguments if not _is_text(each)), None)
        if strange is None:
            raise
        return fail(f"an argument is not UTF-8 text: {strange}", 2, as_json)
    return 0


def _is_text(argument: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _prepare_streams() -> None:
    """No note, file name or argument may break the output, whatever the locale can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when the shell closed it
            stream.reconfigure(errors="replace")
