"""Secrets in every corner of a knowledge base, and all that somebody at Discord can do to get at them: also buttons and
forms that no client would show them."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripted_generator import ScriptedGenerator, let_write
from vaults import write_notes

from nescord import KnowledgeManager
from nescord.generation import Prompt
from nescord.notes import Attachment
from tests.command_world import BotWorld
from tests.fakes.discord import Call, Channel, Message, Recorded, User
from tests.fakes.discord.interactions import COMPONENT, DEFER, DEFER_UPDATE, MODAL

# The names of the spaces that secrets lie in, with who has kept the note there, and what kinds of secrets there are.
SPACES = {"adas": "user:42", "bens": "user:43", "homes": "guild:7", "others": "guild:8", "owners": "personal"}
AUTHORS = {"adas": "user:42", "bens": "user:43", "homes": "user:42", "others": "user:45", "owners": ""}
KINDS = ("title", "body", "task", "tag", "file", "content", "old", "trash", "path", "asked", "searched")
WORDS = frozenset(f"{name}{kind}" for name in SPACES for kind in KINDS)
# In every note, and in what is asked: everything is found by it that may be found.
NEEDLE = "needle"
_PASSAGE = re.compile(r"^\[(\d+)\](.*?)(?=^\[\d+\]|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What lies in one space: the note, a note in its trash, and the number of the version before the last."""

    note: str
    trashed: str
    version: str


def names_of(words: Iterable[str]) -> set[str]:
    """The spaces that these words are from."""
    return {name for word in words for name in SPACES if word.startswith(name)}


def kinds_of(words: Iterable[str]) -> set[str]:
    return {word.removeprefix(name) for word in words for name in SPACES if word.startswith(name)}


def words_in(text: str) -> set[str]:
    return {word for word in WORDS if word in text}


def plant(world: BotWorld) -> dict[str, Hidden]:
    """A note with all kinds of secrets in each space, one in its trash, and one that comes from the owner's vault."""
    km = world.km
    hidden = {}
    for name, space in SPACES.items():
        # Before there is any note: nothing answers it.
        km.scoped({space}).answer(f"{name}asked?")
    write_notes(world.folder / "vault", {"ownerspath/Vault.md": f"# Vault\n\n{NEEDLE} of the vault"})
    km.ingest(world.folder / "vault")
    for name, space in SPACES.items():
        view, author = km.scoped({space}), AUTHORS[name]
        file = Attachment(f"{name}file.txt", "text/plain", f"{name}content".encode(), 20)
        note = view.add_note(
            f"{name}old {NEEDLE}",
            title=f"{name}title",
            space=space,
            author=author,
            tags=[f"{name}tag"],
            attachments=[file],
        )
        view.edit_note(note.id, text=f"{name}body {NEEDLE}\n\n- [ ] {name}task")
        trashed = view.add_note(f"{name}trash {NEEDLE}", title=f"{name}trash", space=space, author=author)
        view.delete_note(trashed.id)
        (version,) = view.note_history(note.id)
        hidden[name] = Hidden(note.id, trashed.id, str(version.number))
    km.catch_up()
    return hidden


def quoting(km: KnowledgeManager) -> ScriptedGenerator:
    """A model that says all that it is given, and cites it."""

    def writes(prompt: Prompt) -> str:
        said = [
            f"{line.lstrip('> ')} [{number}]"
            for number, passage in _PASSAGE.findall(prompt.text)
            for line in passage.splitlines()
            if line.strip("> ")
        ]
        return "\n".join(said) or "nothing"

    return let_write(km, ScriptedGenerator(writes, rewritten=lambda prompt: NEEDLE))


@dataclass
class Walker:
    """One person in one place, and what Discord is sent because of what they do."""

    world: BotWorld
    user: User
    place: Channel
    _from: int = field(init=False)
    _answered: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._from = len(self.world.fake.requests)

    def slash(self, command: str, **options: object) -> Call:
        return self.world.fake.slash(self.user, command, options, channel=self.place)

    def typing(self, command: str, focused: str, **options: object) -> str:
        """All that is offered while they type."""
        offered = self.world.fake.autocomplete(self.user, command, options, focused=focused, channel=self.place)
        self._answered.append(self.world.fake.calls[-1])
        return json.dumps(offered, ensure_ascii=False)

    def menu(self, name: str, message: Message) -> Call:
        return self.world.fake.menu(self.user, name, message)

    def press(self, custom_id: str, *, is_seen_by_all: bool) -> Call:
        """A button with that custom id, on a message of the bot that it never wrote."""
        fake = self.world.fake
        button = {"type": 2, "style": 1, "label": "forged", "custom_id": custom_id}
        body = {"content": "forged", "flags": 0 if is_seen_by_all else 64}
        message = fake.world.post(
            self.place,
            fake.world.bot,
            {**body, "components": [{"type": 1, "components": [button]}]},
            application_id=fake.world.bot.id,
            seen_by=None if is_seen_by_all else self.user,
        )
        chosen = {"component_type": 2, "custom_id": custom_id}
        return fake._send(COMPONENT, custom_id, self.user, self.place, chosen, message=message)

    def send_form(self, custom_id: str, **inputs: str) -> Call:
        """A form with that custom id, which nobody has opened."""
        rows = [
            {"type": 1, "id": 0, "components": [{"type": 4, "id": 0, "custom_id": name, "value": value}]}
            for name, value in inputs.items()
        ]
        return self.world.fake._send(
            MODAL, custom_id, self.user, self.place, {"custom_id": custom_id, "components": rows}
        )

    def received(self, call: Call) -> str:
        """All that Discord was sent as an answer to that, files and all, once it is answered."""
        if call.ack.type in (DEFER, DEFER_UPDATE):
            call.wait(30)
        self._answered.append(call)
        return self._sent(lambda record: _is_about(record, call))

    def besides(self) -> str:
        """All that Discord was sent since this walk began and that is no answer to any of it."""
        return self._sent(lambda record: not any(_is_about(record, call) for call in self._answered))

    def _sent(self, is_wanted: Callable[[Recorded], bool]) -> str:
        return "\n".join(_written(record) for record in self.world.fake.requests[self._from :] if is_wanted(record))


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does; `expected` are the spaces of which there must be words in the answer, and no
    others; `kinds` are those of the words that may be there. With `is_some`, some of the expected do. What they have
    `typed` themselves may be said back to them."""

    name: str
    does: Callable[[], Call | str]
    expected: frozenset[str]
    kinds: frozenset[str]
    is_some: bool = False
    typed: frozenset[str] = frozenset()


def walk(walker: Walker, acts: Sequence[Act], *, at_once: int = 16) -> list[str]:
    """Do all of it; what was shown that must not be, or not shown that must be."""
    wrong: list[str] = []
    for begin in range(0, len(acts), at_once):
        batch = [(act, act.does()) for act in acts[begin : begin + at_once]]
        for act, done in batch:
            text = done if isinstance(done, str) else walker.received(done)
            wrong += _complaints(act, words_in(text), text)
    return wrong


def _complaints(act: Act, words: set[str], text: str) -> list[str]:
    words = words - act.typed
    found = names_of(words)
    is_right = found <= act.expected if act.is_some else found == act.expected
    if is_right and (not act.is_some or found or not act.expected) and kinds_of(words) <= act.kinds:
        return []
    return [f"{act.name}: {sorted(words)}, not of {sorted(act.expected)} {sorted(act.kinds)}: {text[:300]}"]


def _is_about(record: Recorded, call: Call) -> bool:
    return call.token in record.path or f"/{call.id}/" in record.path


def _written(record: Recorded) -> str:
    parts = [json.dumps(record.body, ensure_ascii=False)]
    for file in record.files:
        parts.append(file.name)
        if zipfile.is_zipfile(io.BytesIO(file.content)):
            with zipfile.ZipFile(io.BytesIO(file.content)) as exported:
                parts += [f"{name}\n{exported.read(name).decode('utf-8', 'replace')}" for name in exported.namelist()]
        else:
            parts.append(file.content.decode("utf-8", "replace"))
    return "\n".join(parts)


def place_of(world: BotWorld, user: User, place: str) -> Channel:
    """`home` and `other` are guilds, `dm` the direct message, `group` one with others."""
    guilds: dict[str, Any] = {"home": world.home, "other": world.other}
    if place in guilds:
        return world.fake.world.guilds[guilds[place].id].general
    return world.fake.world.group(user) if place == "group" else world.fake.world.direct(user)


def searched(world: BotWorld, user: User, query: str) -> None:
    """Search for it until the search is remembered, which no search waits for on a busy machine."""
    walker = Walker(world, user, place_of(world, user, "dm"))
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        walker.slash("search", query=query).wait()
        with world.km._base.verb() as catalog, catalog.read() as connection:
            if connection.execute("SELECT 1 FROM search_event WHERE query = ?", (query,)).get:
                return
    raise AssertionError(f"{query} is not remembered")
