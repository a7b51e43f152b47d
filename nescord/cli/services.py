"""`nescord services`: the Prefect server, the Chroma server and the served flows, until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import emit, say

if TYPE_CHECKING:
    from nescord.prefect_api import Run


def services(
    context: typer.Context,
    once: Annotated[
        str | None, typer.Option("--once", metavar="FLOW", help="Run this flow to its end, then stop everything.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of that flow; repeatable.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where the Prefect server and its UI are (0: anywhere).")
    ] = 4200,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Without Prefect's web pages.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run the Chroma server, the Prefect server and the served flows in the foreground, until Ctrl-C or SIGTERM.

    What dies is started again. The other commands work beside it. PREFECT_API_URL or CHROMA_URL names a server to use
    instead of starting one.
    """
    from nescord.errors import UsageError
    from nescord.serving import Once, serve

    call = Call.of(context, data_dir, as_json)
    if (param or as_json) and once is None:
        raise UsageError("--param and --json go with --once FLOW")

    def tell(run: Run) -> int:
        if as_json:
            emit({"flow": once, "run": run.name, "id": run.id, "state": run.state_name, "message": run.message})
        else:
            typer.echo(f"{once} {run.name}: {run.state_name}" + (f": {run.message}" if run.message else ""))
        return 0 if run.state == "COMPLETED" else 1

    code = serve(
        call.settings(),
        lambda message: say(f"services: {message}"),
        port=port,
        with_ui=not no_ui,
        once=Once(once, param or [], tell) if once else None,
    )
    if code:
        raise typer.Exit(code)
