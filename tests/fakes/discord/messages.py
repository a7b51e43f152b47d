"""Messages and the files on them, as they lie in a channel and as a test looks at them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord.people import Channel, User

JsonObject = dict[str, Any]

EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 15
BUTTON, LINK_STYLE = 2, 5


@dataclass(frozen=True, slots=True)
class File:
    """A file on a message or in an option. `size`: what Discord claims, if not the truth; `status`: of its download."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"
    size: int | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that lies on the fake's CDN."""

    id: int
    file: File
    url: str

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def content(self) -> bytes:
        return self.file.content

    def payload(self) -> JsonObject:
        size = len(self.file.content) if self.file.size is None else self.file.size
        return {
            "id": str(self.id),
            "filename": self.file.name,
            "size": size,
            "url": self.url,
            "proxy_url": self.url,
            "content_type": self.file.media_type,
        }


@dataclass(slots=True, eq=False)
class Message:
    """One message; it changes in place when it is edited. `seen_by`: who sees an ephemeral one."""

    id: int
    channel: Channel
    author: User
    sent_at: str
    content: str = ""
    embeds: list[JsonObject] = field(default_factory=list)
    components: list[JsonObject] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: int = 0
    type: int = 0
    edited_at: str | None = None
    edits: int = 0
    nonce: str | None = None
    application_id: int | None = None
    seen_by: User | None = None
    is_deleted: bool = False
    allowed_mentions: JsonObject | None = None

    @property
    def is_ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    @property
    def is_loading(self) -> bool:
        return bool(self.flags & LOADING)

    @property
    def files(self) -> list[File]:
        return [attachment.file for attachment in self.attachments]

    @property
    def text(self) -> str:
        """All that a person reads in it: the content, then the embeds, then text components."""
        parts = [self.content]
        for embed in self.embeds:
            parts += [embed.get("author", {}).get("name", ""), embed.get("title", ""), embed.get("description", "")]
            for row in embed.get("fields", ()):
                parts += [row["name"], row["value"]]
            parts.append(embed.get("footer", {}).get("text", ""))
        parts += [each["content"] for each in walk(self.components) if each["type"] == 10]
        return "\n".join(part for part in parts if part)

    @property
    def buttons(self) -> list[JsonObject]:
        """The button components, link buttons too."""
        return [each for each in walk(self.components) if each["type"] == BUTTON]

    @property
    def labels(self) -> list[str]:
        """What is written on the buttons that can be clicked."""
        live = (each for each in self.buttons if not each.get("disabled") and each.get("style") != LINK_STYLE)
        return [each.get("label", "") for each in live]

    def payload(self) -> JsonObject:
        message: JsonObject = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "author": self.author.payload(),
            "content": self.content,
            "timestamp": self.sent_at,
            "edited_timestamp": self.edited_at,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [attachment.payload() for attachment in self.attachments],
            "embeds": [{"type": "rich", **embed} for embed in self.embeds],
            "pinned": False,
            "type": self.type,
            "flags": self.flags,
            "components": self.components,
        }
        if self.nonce is not None:
            message["nonce"] = self.nonce
        if self.application_id is not None:
            message |= {"application_id": str(self.application_id), "webhook_id": str(self.application_id)}
        return message


def numbered(components: Any) -> list[JsonObject]:
    """Components as Discord gives them back: each has an id."""
    found: list[JsonObject] = copy.deepcopy(list(components or ()))
    places, number = [*found], 0
    while places:
        place = places.pop(0)
        number += 1
        place.setdefault("id", number)
        places += [*place.get("components", ()), *(place[name] for name in ("component", "accessory") if name in place)]
    return found


def walk(components: Any) -> Iterator[JsonObject]:
    """Every component, those within rows, sections, containers and labels too."""
    for each in components or ():
        if not isinstance(each, Mapping):
            continue
        yield dict(each)
        yield from walk(each.get("components"))
        for name in ("component", "accessory"):
            if isinstance(each.get(name), Mapping):
                yield from walk([each[name]])
