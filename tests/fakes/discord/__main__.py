"""The fake in a process of its own: `python -m tests.fakes.discord [PORT]` from the root of the repository.

The first line of its output is its API's base, the second its Gateway, the third the token; it ends with its input.
"""

from __future__ import annotations

import sys

from tests.fakes.discord.server import DiscordFake

with DiscordFake(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as discord:
    print(discord.api_base, discord.gateway, discord.token, sep="\n", flush=True)
    sys.stdin.read()
