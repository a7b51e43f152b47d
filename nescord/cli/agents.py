"""`nescord mcp`: the knowledge base for agents, over the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from nescord.cli.call import Call, DataDir
from nescord.errors import UsageError

_GET = 'pip install "nescordbot[agents]"'


def mcp(
    context: typer.Context,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="SPACE", help="Also these notes: guild:<id>, user:<id>; may be repeated."),
    ] = None,
    no_personal: Annotated[
        bool, typer.Option("--no-personal", help="Not the owner's own notes: only those of --space.")
    ] = False,
    all_spaces: Annotated[bool, typer.Option("--all-spaces", help="All notes, whosever they are.")] = False,
    allow_capture: Annotated[
        bool, typer.Option("--allow-capture", help="Let agents keep new notes. They change and delete none.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Serve notes to an agent that speaks the Model Context Protocol, on stdin and stdout, until it leaves.

    Agents start it themselves: docs/agents.md shows how they are told to. They see the space "personal" and what
    --space adds, and change nothing unless --allow-capture is given.
    """
    from nescord.packages import is_installed

    if not is_installed("mcp"):
        raise UsageError(f"the package mcp is not installed: {_GET}")
    from nescord.agents.serving import serve
    from nescord.agents.view import scope_of

    spaces = scope_of(space or (), with_personal=not no_personal, everything=all_spaces)
    serve(Call.of(context, data_dir, as_json=False).settings(), spaces, can_capture=allow_capture)
