"""Discord on the loopback: REST v10, Gateway v10 and CDN, what people do in their clients, and all that goes wrong."""

from tests.fakes.discord.commands import CannotError
from tests.fakes.discord.interactions import Ack, Call
from tests.fakes.discord.messages import Attachment, File, Message
from tests.fakes.discord.people import ADMINISTRATOR, MANAGE_GUILD, Channel, Guild, Member, User
from tests.fakes.discord.recording import Problem, Recorded
from tests.fakes.discord.server import DiscordFake

__all__ = [
    "ADMINISTRATOR",
    "MANAGE_GUILD",
    "Ack",
    "Attachment",
    "Call",
    "CannotError",
    "Channel",
    "DiscordFake",
    "File",
    "Guild",
    "Member",
    "Message",
    "Problem",
    "Recorded",
    "User",
]
