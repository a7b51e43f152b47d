"""Which spaces an interaction may see and write to: the one place where that is decided (docs/bot.md, "Who sees what").

Nothing else in the bot adds a space to a scope.
"""

from __future__ import annotations

from bot.request import Request

PERSONAL = "personal"


def scope_of(request: Request, owners: frozenset[int]) -> frozenset[str]:
    """The spaces of an answer: what others can see holds the guild's notes alone.

    In a direct message, or one among several people outside a guild, answers are private whatever was asked for.
    """
    if request.context == "guild":
        if request.is_shared:
            return frozenset({request.guild_space})
        spaces = {request.who, request.guild_space}
    else:
        spaces = {request.who}
    if request.user in owners:
        spaces.add(PERSONAL)
    return frozenset(spaces)
