"""What every tool works with: the view, how text leaves it, and a note as an agent names it."""

from __future__ import annotations

from dataclasses import dataclass

from nescord.agents.quoting import Cleaner
from nescord.agents.view import View
from nescord.errors import NotFoundError, UsageError
from nescord.notes import Note
from nescord.scoped import ScopedKnowledge

URI = "nescord://note/"


class AmbiguousError(UsageError):
    """Several notes fit. `choices` are quoted: they hold paths of notes."""

    def __init__(self, choices: str) -> None:
        super().__init__("several notes fit: name one by its id")
        self.choices = choices


@dataclass(frozen=True, slots=True)
class Desk:
    """What tools are given. `can_capture` is whether agents may keep notes."""

    view: View
    cleaner: Cleaner
    can_capture: bool
    version: str

    @property
    def notes(self) -> ScopedKnowledge:
        """The verbs, as far as the view goes."""
        return self.view.notes

    def link(self, link: str) -> str:
        """A link that opens a note wherever one is; "" for a file of this machine, and for one that cannot be shown
        as it is: a part of it would lead elsewhere.
        """
        return link if link.startswith("https://") and self.cleaner.line(link) == link else ""

    def note(self, wanted: str) -> Note:
        """The living note of that id, URI, path or name.

        Raises:
            NotFoundError: there is none, here. AmbiguousError: several fit.
        """
        name = wanted.removeprefix(URI)
        try:
            note = self.notes.note(name)
        except UsageError as error:
            raise AmbiguousError(self.cleaner.text(str(error))) from None
        if note.trashed_at:
            raise NotFoundError(f'no note "{name}": it is in the trash')
        return note
