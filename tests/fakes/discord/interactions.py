"""One interaction from the press of a key to its last reply, and the rules that Discord holds its answers to."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord import refusals
from tests.fakes.discord.messages import EPHEMERAL, LOADING, File, Message
from tests.fakes.discord.people import Channel, Guild, User
from tests.fakes.discord.refusals import Violation
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, OPEN_MODAL = 4, 5, 6, 7, 8, 9
SECONDS_TO_ACKNOWLEDGE = 3.0
_FITTING = {
    COMMAND: {REPLY, DEFER, OPEN_MODAL},
    COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, OPEN_MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL: {REPLY, DEFER, DEFER_UPDATE, UPDATE},
}


@dataclass(frozen=True, slots=True)
class Ack:
    """The first answer: its type, flags and body, and the seconds that it took since the interaction was made."""

    type: int
    flags: int
    seconds: float
    body: JsonObject

    @property
    def is_ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)


@dataclass(eq=False)
class Call:
    """The handle of one interaction. Reading `ack`, `modal`, `choices` or `wait()` waits for them.

    `replied_after`: the seconds until the first reply that is more than "thinking…".
    """

    id: int
    kind: int
    name: str
    user: User
    guild: Guild | None
    channel: Channel
    payload: JsonObject
    world: World
    clicked: Message | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(60))
    made_at: float = field(default_factory=time.monotonic)
    messages: list[Message] = field(default_factory=list)
    original: Message | None = None
    acknowledged: Ack | None = None
    replied_after: float | None = None
    is_excused: bool = False

    def __str__(self) -> str:
        return f"{self.name!r} by {self.user.name} ({self.id})"

    @property
    def age(self) -> float:
        return time.monotonic() - self.made_at

    @property
    def ack(self) -> Ack:
        """The first answer; AssertionError if none comes within 10 s."""
        self.world.changes.wait(lambda: self.acknowledged, 10, f"an acknowledgement of {self}")
        assert self.acknowledged is not None
        return self.acknowledged

    @property
    def modal(self) -> JsonObject:
        """The form that was opened."""
        ack = self.ack
        assert ack.type == OPEN_MODAL, f"{self} was answered with type {ack.type}, not with a modal: {ack.body}"
        modal: JsonObject = ack.body["data"]
        return modal

    @property
    def choices(self) -> list[JsonObject]:
        """What autocomplete offered."""
        ack = self.ack
        assert ack.type == CHOICES, f"{self} was answered with type {ack.type}, not with choices"
        choices: list[JsonObject] = ack.body["data"].get("choices") or []
        return choices

    @property
    def message(self) -> Message:
        return self.wait()

    def wait(self, timeout: float = 10, until: Callable[[Message], object] | str | None = None) -> Message:
        """The (last) reply once it is written; `until` it says that text, or fulfils that.

        A deferred reply counts once it has been edited or followed up.
        """

        def found() -> Message | None:
            for message in reversed(self.messages):
                if message.is_loading or message.is_deleted:
                    continue
                if until is None or (until in message.text if isinstance(until, str) else until(message)):
                    return message
            return None

        self.world.changes.wait(found, timeout, lambda: f"a reply to {self}, which has {self._so_far()}")
        message = found()
        assert message is not None
        return message

    def excuse(self) -> None:
        """It need not be answered: the bot was killed on purpose, or the test has held the answer up."""
        self.is_excused = True

    def _so_far(self) -> str:
        ack = self.acknowledged
        replies = [f"{m.text[:200]!r}{' (loading)' if m.is_loading else ''}" for m in self.messages]
        return f"{'no acknowledgement' if ack is None else f'type {ack.type}'} and the messages {replies}"


@dataclass
class Interactions:
    """All interactions so far, and what the app may do with their tokens."""

    world: World
    seconds_to_acknowledge: float = SECONDS_TO_ACKNOWLEDGE
    token_seconds: float = 15 * 60.0
    calls: list[Call] = field(default_factory=list)
    _by_token: dict[str, Call] = field(default_factory=dict)
    _by_id: dict[int, Call] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self._by_token[call.token] = call
        self._by_id[call.id] = call

    def acknowledge(self, interaction_id: int, token: str, body: JsonObject, files: Sequence[File]) -> JsonObject:
        """The callback's answer. Raises RefusalError 10062 when it is too late, 40060 the second time."""
        call = self._by_id.get(interaction_id)
        if call is None or call.token != token:
            raise refusals.unknown_interaction()
        if call.acknowledged is not None:
            raise refusals.already_acknowledged()
        if call.age > self.seconds_to_acknowledge:
            raise refusals.unknown_interaction()
        kind: int = body.get("type", 0)
        fitting = _FITTING[call.kind] if call.clicked or call.kind == COMPONENT else _FITTING[call.kind] - {6, 7}
        if kind not in fitting:
            why = f"Value must be one of {{{', '.join(map(str, sorted(fitting)))}}}."
            raise refusals.invalid([Violation(("type",), "BASE_TYPE_CHOICES", why)])
        written = body.get("data") or {}
        call.acknowledged = Ack(kind, written.get("flags") or 0, call.age, body)
        message = self._first_message(call, kind, written, files)
        self.world.changes.tell()
        return _answer(call, kind, message)

    def _first_message(self, call: Call, kind: int, written: JsonObject, files: Sequence[File]) -> Message | None:
        message: Message | None
        if kind == REPLY:
            message = self._post(call, written, files)
        elif kind == DEFER:
            message = self._post(call, {"flags": (written.get("flags") or 0) & EPHEMERAL | LOADING}, ())
        elif kind in (UPDATE, DEFER_UPDATE):
            message = call.clicked
            if kind == UPDATE and message is not None:
                self.world.edit(message, written, files)
                call.messages.append(message)
        else:
            return None
        call.original = message
        return message

    def call_of(self, application_id: int, token: str) -> Call:
        """Whose token this is, if it is valid and the interaction was acknowledged."""
        call = self._by_token.get(token)
        if call is None or call.acknowledged is None or application_id != self.world.bot.id:
            raise refusals.unknown_webhook()
        if call.age > self.token_seconds:
            raise refusals.invalid_webhook_token()
        return call

    def follow_up(self, call: Call, body: JsonObject, files: Sequence[File]) -> Message:
        """One more message; the first one after a defer takes the place of the deferred reply."""
        if call.original is not None and call.original.is_loading:
            return self.edit(call, call.original, body, files)
        return self._post(call, body, files)

    def edit(self, call: Call, message: Message, body: JsonObject, files: Sequence[File]) -> Message:
        self.world.edit(message, body, files)
        call.replied_after = call.replied_after or call.age
        if message not in call.messages:  # the message of the button, after a deferred update
            call.messages.append(message)
            self.world.changes.tell()
        return message

    def find(self, call: Call, message_id: str) -> Message:
        """`@original` or one of the interaction's messages by its id."""
        if message_id == "@original":
            found = call.original
        else:
            found = next((each for each in call.messages if str(each.id) == message_id), None)
        if found is None or found.is_deleted:
            raise refusals.unknown("message")
        return found

    def delete(self, message: Message) -> None:
        message.is_deleted = True
        self.world.changes.tell()

    def _post(self, call: Call, body: JsonObject, files: Sequence[File]) -> Message:
        is_first = not call.messages
        message = self.world.post(
            call.channel,
            self.world.bot,
            body,
            files,
            application_id=self.world.bot.id,
            type=(23 if call.payload["data"].get("target_id") else 20) if call.kind == COMMAND and is_first else 0,
            seen_by=call.user if (body.get("flags") or 0) & EPHEMERAL else None,
        )
        call.messages.append(message)
        if not message.is_loading:
            call.replied_after = call.replied_after or call.age
        self.world.changes.tell()
        return message


def _answer(call: Call, kind: int, message: Message | None) -> JsonObject:
    interaction: JsonObject = {"id": str(call.id), "type": call.kind}
    answer: JsonObject = {"interaction": interaction}
    if message is not None:
        interaction |= {
            "response_message_id": str(message.id),
            "response_message_loading": message.is_loading,
            "response_message_ephemeral": message.is_ephemeral,
        }
        if kind in (REPLY, UPDATE):
            answer["resource"] = {"type": kind, "message": message.payload()}
    return answer
