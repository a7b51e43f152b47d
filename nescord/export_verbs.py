"""The owner's verb that lets everything out again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.errors import UsageError
from nescord.notes import Scope
from nescord.opened import OpenBase
from nescord.setting_rules import is_space

if TYPE_CHECKING:
    from nescord.export import ExportReport, Format


class ExportVerbs:
    """What `KnowledgeManager` has of it."""

    _base: OpenBase

    def export(
        self,
        folder: Path | str,
        *,
        kind: Format = "vault",
        spaces: Iterable[str] = (),
        revisions: bool = False,
        into: bool = False,
    ) -> ExportReport:
        """Write the living notes of these spaces (none named: of all) to a folder, as far as they are not there yet.

        `revisions` adds what notes said before; `into` allows a folder with other things in it.

        Raises:
            UsageError: there is no such space, the folder is not to be written to, or pyarrow is needed and not there.
            ExportError: it cannot be written.
        """
        from nescord.export import export

        named = frozenset(spaces)
        for space in sorted(named):
            if not is_space(space):
                raise UsageError(f'"{space}" is no space: personal, guild:<id> or user:<id>')
        scope = Scope(named or None)
        return export(self._base, Path(folder), scope=scope, kind=kind, revisions=revisions, into=into)
