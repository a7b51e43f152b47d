"""What only a person can mend: Discord refuses the token, or the bot as it is set up. Each says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import discord

from nescord.errors import NescordError

PORTAL = "https://discord.com/developers/applications"
# EX_NOPERM and EX_CONFIG: the supervisor then waits for a person (nescord/lives.py).
_TOKEN, _CONFIGURATION = 77, 78
_TOKEN_REFUSED = 4004
_CONFIGURATION_REFUSED = frozenset({4010, 4011, 4012, 4013})


class RefusedTokenError(NescordError):
    """Discord does not know the token."""

    exit_code = _TOKEN

    def __init__(self) -> None:
        super().__init__(
            "DISCORD_TOKEN is refused by Discord: it is not the token of a bot, or was reset; copy the one that "
            f"{PORTAL} shows (Bot, Reset Token) into DISCORD_TOKEN and start again"
        )


class RefusedConfigurationError(NescordError):
    """Discord knows the bot and will not have it connect like this; or what it needs is not installed."""

    exit_code = _CONFIGURATION


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What discord.py raises where Discord refuses us, as errors that name the mend."""
    try:
        yield
    except discord.LoginFailure:
        raise RefusedTokenError from None
    except discord.PrivilegedIntentsRequired:
        raise RefusedConfigurationError(
            "Discord refuses the intents of the bot (close code 4014): it asks for none that is privileged, so see at "
            f"{PORTAL} whether the application is disabled or limited"
        ) from None
    except discord.ConnectionClosed as error:
        if error.code == _TOKEN_REFUSED:
            raise RefusedTokenError from None
        if error.code in _CONFIGURATION_REFUSED:
            raise RefusedConfigurationError(
                f"Discord's gateway refuses the bot (close code {error.code}): it is in more than 2,500 guilds, or "
                "this version of nescord is too old; install a newer one"
            ) from None
        raise
