"""The knowledge base as the bot holds it: the one place of this room that names `KnowledgeManager`.

Handlers get views with a scope (`view`), and what belongs to people and guilds; the owner's verbs stay behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nescord.catalog.status import Status
from nescord.knowledge import KnowledgeManager
from nescord.locks import Locks
from nescord.scoped import ScopedKnowledge
from nescord.settings import Settings

if TYPE_CHECKING:
    from nescord.budget import BudgetState
    from nescord.conversations import Conversations
    from nescord.digests import Digests
    from nescord.inbox import Inbox
    from nescord.meaning import MeaningStatus
    from nescord.preferences import Preferences
    from nescord.privacy import Privacy
    from nescord.quotas import Quotas
    from nescord.web.condition import Part


@dataclass(frozen=True, slots=True)
class ServiceCondition:
    """The parts of the service (none where the bot runs by itself), and how long a heartbeat takes (ms)."""

    parts: tuple[Part, ...]
    latency: int | None


class Base(AbstractContextManager["Base"]):
    """What the bot may do with a knowledge base. All of it blocks: `Visit.call` takes it to a thread."""

    def __init__(self, km: KnowledgeManager, settings: Settings) -> None:
        self._km = km
        self.settings = settings

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the knowledge base of the settings; begin one where there is nothing yet. Raises as the manager does."""
        return cls(KnowledgeManager.open(settings), settings)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._km.close()

    def view(self, spaces: Iterable[str]) -> ScopedKnowledge:
        """The verbs of the knowledge base as far as these spaces go (`bot.scope`)."""
        return self._km.scoped(spaces)

    @property
    def inbox(self) -> Inbox:
        """What was accepted and is not done."""
        return self._km.inbox

    @property
    def preferences(self) -> Preferences:
        """What people and guilds have set."""
        return self._km.preferences

    @property
    def quotas(self) -> Quotas:
        """How much of what may be done a day."""
        return self._km.quotas

    @property
    def conversations(self) -> Conversations:
        """Questions with their answers, for the buttons below them."""
        return self._km.conversations

    @property
    def digests(self) -> Digests:
        """Who gets a digest."""
        return self._km.digests

    def privacy(self, who: str) -> Privacy:
        """What is stored of a person."""
        return self._km.privacy(who)

    def meaning(self) -> MeaningStatus:
        """How many passages wait for a vector, and what of searching by meaning is missing."""
        return self._km.meaning()

    def budget(self) -> BudgetState:
        """What calls to models have cost this month: not to be shown to anybody but an owner."""
        return self._km.budget.state()

    def service(self) -> ServiceCondition:
        """How the services around the bot are, as anybody may know it, and its latency (ms; None: not known yet)."""
        from nescord import bot_state, service_state
        from nescord.web.condition import Database, condition_of

        folder = self._km.folder
        state, bot = service_state.running(folder, Locks(folder.run, timeout=0)), bot_state.read(folder.run)
        latency = bot.latency if bot is not None and not bot.is_old else None
        if state is None or state.is_old:  # the bot runs by itself
            return ServiceCondition((), latency)
        return ServiceCondition(condition_of(state, Database.READABLE, bot).parts, latency)

    def status(self) -> Status:
        """How much is stored, in all spaces: not to be shown to anybody but an owner."""
        return self._km.status()
