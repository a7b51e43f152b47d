"""NescordBot's knowledge base: `from nescord import KnowledgeManager, Settings`.

Names are loaded when they are first used: `nescord --help` must not pay for SQLite and a Markdown parser.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nescord.knowledge import KnowledgeManager
    from nescord.settings import Settings

__all__ = ["KnowledgeManager", "Settings"]

_HOMES = {"KnowledgeManager": "nescord.knowledge", "Settings": "nescord.settings"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
