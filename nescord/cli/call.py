"""What every command is called with (--data-dir, --json), and how it opens the knowledge base.

The order matters: settings first, then root gives itself up for the owner of the data folder, then anything is opened.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nescord.cli.output import say

if TYPE_CHECKING:
    from nescord.home import DataFolder
    from nescord.knowledge import KnowledgeManager
    from nescord.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="The data folder of the knowledge base."),
]
Vector = Literal["auto", "chroma", "exact"]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@dataclass(frozen=True, slots=True)
class Call:
    """The options that may stand before the command as well as after it, merged."""

    data_dir: Path | None
    as_json: bool

    @classmethod
    def of(cls, context: typer.Context, data_dir: Path | None, as_json: bool) -> Call:
        before = context.find_root().params
        return cls(data_dir or before["data_dir"], as_json or before["as_json"])

    def settings(self, *, vector: Vector | None = None) -> Settings:
        """The settings, with the privileges of root given up where the data folder is somebody else's."""
        from nescord.home import drop_privileges, locate
        from nescord.settings import Settings

        settings = Settings(data_dir=self.data_dir, vector=vector)
        drop_privileges(locate(settings))
        return settings

    def open(self, *, vector: Vector | None = None) -> KnowledgeManager:
        """The knowledge base that there is. `vector` wins over NESCORD_VECTOR."""
        from nescord.knowledge import KnowledgeManager

        return KnowledgeManager.open_existing(self.settings(vector=vector))

    def open_or_begin(self, *, warn: bool = False) -> KnowledgeManager:
        """The knowledge base, begun where there is none; says so, because it may be by mistake."""
        from nescord.knowledge import KnowledgeManager

        settings = self.settings()
        knowledge = KnowledgeManager.open(settings)
        if knowledge.is_new:
            say(f"new knowledge base at {knowledge.folder.path}")
        if warn:
            say_warnings(settings, knowledge.folder)
        return knowledge


def ask(question: str, call: Call) -> None:
    """Go on only if a person says so; a script says --yes.

    Raises:
        UsageError: nobody is there to ask.
    """
    from nescord.errors import UsageError

    if call.as_json or sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{question} Say so with --yes")
    typer.confirm(question, abort=True, err=True)


def say_warnings(settings: Settings, folder: DataFolder) -> None:
    """What is allowed and will surprise."""
    from nescord.home import warnings_for

    for warning in warnings_for(settings, folder):
        say(f"warning: {warning}")
