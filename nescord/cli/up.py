"""`nescord up`: everything that one machine or container runs, until told to stop."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from nescord.cli.call import Call, DataDir


def up(
    context: typer.Context,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where the Prefect server and its UI are (0: anywhere).")
    ] = 4200,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Without Prefect's web pages.")] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option("--log-format", help="How the log on stdout looks; default: NESCORD_LOG_FORMAT, else text."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Run everything in the foreground, as a container does: the services and a status page at PORT.

    Begins a knowledge base where there is none, waits up to 120 s for a service that still runs there, verifies, and
    refuses a place that keeps nothing. The log of all services goes to stdout.
    """
    from nescord.errors import NescordError
    from nescord.log_lines import OURS, Printer
    from nescord.redaction import Redactor, secrets_of
    from nescord.settings import Settings
    from nescord.up import up as run

    settings = Settings(data_dir=Call.of(context, data_dir, as_json=False).data_dir, log_format=log_format)
    redact = Redactor(secrets_of(settings))
    with Printer(sys.stdout, settings.log_format, redact) as printer:
        try:
            code = run(settings, printer, port=port, with_ui=not no_ui)
        except NescordError as error:
            error.args = (redact(str(error)),)
            if settings.log_format == "text":
                raise  # and said on stderr
            printer(OURS, f"ERROR {error}")
            code = error.exit_code
    if code:
        raise typer.Exit(code)
