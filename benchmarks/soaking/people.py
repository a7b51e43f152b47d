"""Somebody who uses the bot: what they type and click, what they are told, and what the ledger learns from it.

Each works alone in a thread, one action after the other, and only on notes whose state is certain. Everything that
they are shown is searched for markers of notes that they may not see.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.soaking.ledger import Act, Ledger
from bot.texts import catalogue
from tests.fakes.discord import Call, CannotError, DiscordFake, Guild, Message, User

MARKER = re.compile(r"zq[a-z]\d{5}x")
_NOTE_ID = re.compile(r"nb:[a-z_]+:([0-9a-f]{8}-[0-9a-f-]{27})(?::|$)")
_REFERENCE = re.compile(r"`([0-9a-f]{8})`")
_NO_ANSWERS = (*(key for key in catalogue() if key.startswith("errors.")), "frame.too_slow")
PATIENCE = 45.0
_SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "The kettle by the window sings before it boils.",
        "Rent is due on the third, and the plumber comes on Tuesday.",
        "A longer table needs another leg in the middle.",
        "Ask Martha about the seeds she dried last autumn.",
        "The train at seven is late whenever it rains.",
    ),
    "ja": (
        "窓辺の薬缶は沸く前に歌う。",
        "家賃は三日まで、配管工は火曜日に来る。",
        "長い机には真ん中にもう一本の脚が要る。",
        "去年の秋に干した種のことを叔母に聞く。",
        "七時の電車は雨の日には必ず遅れる。",
    ),
}


class NotAnsweredError(Exception):
    """The service has not answered yet; `call` is what was sent, if it was."""

    def __init__(self, why: str, call: Call | None = None) -> None:
        super().__init__(why)
        self.call = call


@dataclass
class Person:
    """One person: the servers they are in (a manager of the first), their language, and what they may see."""

    discord: DiscordFake
    ledger: Ledger
    user: User
    guilds: list[Guild]
    letter: str
    rng: random.Random
    stop: threading.Event
    is_owner: bool = False
    notes: list[Act] = field(default_factory=list)
    """The last act on each note of theirs."""

    waiting: list[tuple[Act, Call, tuple[str, ...]]] = field(default_factory=list)
    """What was not answered in time, and how an answer would begin that says that it is done."""

    _numbers: int = 0

    @property
    def language(self) -> str:
        return "ja" if self.user.locale == "ja" else "en"

    @property
    def who(self) -> str:
        return f"user:{self.user.id}"

    # What they do.

    def add(self) -> None:
        """`/note add`, for themselves or for a server."""
        place = self._place()
        is_shared = place is not None and self.rng.random() < 0.5
        space = f"guild:{place.id}" if place is not None and is_shared else self.who
        marker = self._new_marker()
        act = self.ledger.ask("keep", marker, self._text(marker), space, self.who)
        assert act.text is not None
        where = {"where": "server" if is_shared else "me"} if place is not None else {}
        self._act(act, lambda: self._slash("note add", place, text=act.text, **where), ("note.kept",))

    def save(self) -> None:
        """The menu "Save to notes" of a message."""
        marker = self._new_marker()
        said = self._text(marker)
        guild = self.rng.choice(self.guilds)
        message = self.discord.message(self.user, said, guild=guild)
        act = self.ledger.ask("keep", marker, said, self.who, self.who)
        self._act(
            act, lambda: self.discord.menu(self.user, "Save to notes", message), ("note.kept", "save.already"), "save"
        )

    def edit(self) -> None:
        """`/note edit`: the form must hold what was kept last."""
        if (last := self._some_note()) is None or last.text is None:
            self.add()
            return
        opened = self._opened(last)
        if opened is None:
            return
        version = int(last.text.partition(" v")[2].partition(" ")[0]) + 1
        act = self.ledger.ask("edit", last.marker, self._text(last.marker, version), last.space, self.who, last.note)
        assert act.text is not None
        new = act.text
        self._act(act, lambda: self.discord.submit(self.user, opened, {"text": new}), ("note.changed",))

    def delete(self) -> None:
        """`/note delete`, and sometimes its undo."""
        last = self._some_note()
        if last is None:
            self.add()
            return
        place = self._place_of(last.space)
        asked = self._told("delete", lambda: self._slash("note delete", place, note=last.note), ("note.confirm",))
        if asked is None:
            return
        act = self.ledger.ask("delete", last.marker, None, last.space, self.who, last.note)
        gone = self._act(act, lambda: self._click(asked, "note.delete"), ("note.deleted",))
        if gone is None or self.rng.random() < 0.5:
            return
        act = self.ledger.ask("undo", last.marker, last.text, last.space, self.who, last.note)
        self._act(act, lambda: self._click(gone, "note.undo"), ("note.undone",))

    def search(self) -> None:
        """`/search` for a note that is certainly there: it must be found; or for one that was deleted: it must not."""
        if (last := self.rng.choice(self.notes) if self.notes else None) is None:
            self.add()
            return
        place = self._place_of(last.space)
        before = self.ledger.must_have(last.marker)
        reply = self._told("search", lambda: self._slash("search", place, query=last.marker))
        if reply is None or self.ledger.must_have(last.marker) != before:
            return
        title = self._said("search.title")
        is_answer = title in reply.text or self._said("search.none") in reply.text
        if not is_answer:
            self.ledger.answered("search", "no hits and no answer")
            return
        is_found = last.note in note_ids(reply)
        if before is not None and not is_found:
            self.ledger.violation(f"/search by {self.user.name} did not find {last.marker} ({last.note}): {reply.text}")
        if before is None and is_found and self.ledger.is_gone(last.marker):
            self.ledger.violation(f"/search by {self.user.name} found {last.marker}, which is deleted: {reply.text}")

    def search_words(self) -> None:
        """`/search` for common words, which many notes of everybody have."""
        words = self.rng.choice(_SENTENCES[self.language])
        self._told("search words", lambda: self._slash("search", self._place(), query=words, limit=10))

    def show(self) -> None:
        """`/note show`: it says what was kept last."""
        if (last := self._some_note()) is None or last.text is None:
            self.add()
            return
        place = self._place_of(last.space)
        reply = self._told("show", lambda: self._slash("note show", place, note=last.note))
        if reply is None or self.ledger.must_have(last.marker) != last.text:
            return
        version = last.text.split(" ")[:2]
        if " ".join(version) not in reply.text:
            self.ledger.violation(f"/note show of {last.marker} does not say {version}: {reply.text}")

    def ask(self) -> None:
        """`/ask`."""
        topic = self.rng.choice(_SENTENCES[self.language])
        self._told("ask", lambda: self._slash("ask", self._place(), question=f"{topic} ?"))

    def list_notes(self) -> None:
        """`/note list`."""
        self._told("list", lambda: self._slash("note list", self._place()))

    def run_flow(self, flow: str = "ingest") -> None:
        """`/flow run`, by a manager; its first answer is enough."""
        self._told(f"flow {flow}", lambda: self._slash("flow run", self.guilds[0], flow=flow))

    def leave_for_good(self) -> bool:
        """`/privacy delete`, by somebody who does not come back."""
        opened = self._opened_by(lambda: self._slash("privacy delete", None))
        if opened is None:
            return False
        self.ledger.erase_asked(self.who)
        word = {"word": self._said("privacy.word_hint")}
        reply = self._told("erase", lambda: self.discord.submit(self.user, opened, word), ("privacy.deleted",))
        if reply is None or self._said("privacy.not_all_yet")[:20] in reply.text:
            return False
        self.ledger.erased(self.who)
        return True

    def look_again(self) -> None:
        """Answers that have come since are promises, too."""
        for act, call, good in self.waiting:
            for message in call.messages:
                if not message.is_loading and any(message.text.startswith(self._said(key)) for key in good):
                    self.ledger.acknowledge(act, next(iter(note_ids(message)), ""), message.text)
                    self.ledger.answered(act.kind, "acknowledged late")
            self._look_at(call)
        self.waiting.clear()

    # How.

    def _act(self, act: Act, do: Callable[[], Call], good: tuple[str, ...], name: str = "") -> Message | None:
        """Do it, and let the ledger know what it came to."""
        try:
            reply = self._reply(do)
        except NotAnsweredError as error:
            self.ledger.unknown(act, str(error))
            self.ledger.answered(name or act.kind, str(error).partition(":")[0])
            if error.call is not None:
                self.waiting.append((act, error.call, good))
            self.notes = [each for each in self.notes if each.marker != act.marker]
            return None
        if not any(reply.text.startswith(self._said(key)) for key in good):
            self.ledger.unknown(act, reply.text)
            self.ledger.answered(name or act.kind, self._outcome(act.kind, reply))
            self.notes = [each for each in self.notes if each.marker != act.marker]
            return None
        self.ledger.acknowledge(act, next(iter(note_ids(reply)), ""), reply.text)
        self.ledger.answered(name or act.kind, "acknowledged")
        self.notes = [each for each in self.notes if each.marker != act.marker] + [act]
        return reply

    def _told(self, name: str, do: Callable[[], Call], good: tuple[str, ...] = ()) -> Message | None:
        """What is said to something that changes nothing; None: nothing, or an error."""
        try:
            reply = self._reply(do)
        except NotAnsweredError as error:
            self.ledger.answered(name, str(error).partition(":")[0])
            return None
        if self._is_an_error(reply) or (good and not any(self._said(key) in reply.text for key in good)):
            self.ledger.answered(name, self._outcome(name, reply))
            return None
        self.ledger.answered(name, "acknowledged")
        return reply

    def _opened(self, last: Act) -> Call | None:
        opened = self._opened_by(lambda: self._slash("note edit", self._place_of(last.space), note=last.note))
        if opened is None or self.ledger.must_have(last.marker) != last.text or last.text is None:
            return None
        held = next((each for each in _inputs(opened.modal) if each.get("custom_id") == "text"), None)
        if held is None or _plain(last.text) not in _plain(held.get("value") or ""):
            self.ledger.violation(f"the form of {last.marker} does not hold {last.text!r}: {held}")
        return opened

    def _opened_by(self, do: Callable[[], Call]) -> Call | None:
        """The interaction that was answered with a form."""
        try:
            call = self._sent(do)
            ack = call.ack
        except (NotAnsweredError, AssertionError):
            self.ledger.answered("form", "no form")
            return None
        if ack.type != 9:
            self.ledger.answered("form", "another answer")
            return None
        return call

    def _reply(self, do: Callable[[], Call]) -> Message:
        """The answer once it is a final one: what is not kept yet is waited for. Raises NotAnsweredError."""
        call = self._sent(do)
        not_yet = self._said("frame.not_kept_yet")
        try:
            reply = call.wait(PATIENCE, lambda message: not message.text.startswith(not_yet))
        except AssertionError:
            call.excuse()
            is_heard = call.acknowledged is not None
            raise NotAnsweredError("no answer" if is_heard else "no acknowledgement", call) from None
        finally:
            self._look_at(call)
        return reply

    def _sent(self, do: Callable[[], Call]) -> Call:
        side = self.discord.gateway_side
        while not side.is_connected or not self.discord.commands.registered:
            if self.stop.wait(0.2):
                raise NotAnsweredError("not sent: the end")
        try:
            return do()
        except (AssertionError, CannotError, TimeoutError) as error:
            raise NotAnsweredError(f"not sent: {error}") from None

    def _look_at(self, call: Call) -> None:
        """Nothing that they were shown may be of a space that they do not see there."""
        allowed = {self.who}
        if call.guild is not None:
            allowed.add(f"guild:{call.guild.id}")
        if self.is_owner:
            allowed.add("personal")
        for message in call.messages:
            shown = message.text + "".join(file.content.decode("utf-8", "replace") for file in message.files)
            for marker in set(MARKER.findall(shown)):
                space = self.ledger.marker_spaces.get(marker)
                if space not in allowed:
                    self.ledger.violation(f"{call} was shown {marker} of {space}: {shown[:500]}")

    def _outcome(self, kind: str, reply: Message) -> str:
        """What to call an answer that is not the one that was hoped for."""
        for key in ("unexpected", "failed", "usage", "not_found", "conflict", "busy", "store", "disk", "service"):
            if reply.text.startswith(self._said(f"errors.{key}")):
                if key in ("unexpected", "failed", "usage"):
                    found = _REFERENCE.search(reply.text)
                    self.ledger.violation(f"{kind}: errors.{key}, reference {found[1] if found else '?'}")
                return key
        return f"“{reply.text[:60]}”"

    def _is_an_error(self, reply: Message) -> bool:
        return not reply.text or any(reply.text.startswith(self._said(key)) for key in _NO_ANSWERS)

    def _slash(self, name: str, guild: Guild | None, **options: object) -> Call:
        return self.discord.slash(self.user, name, options, guild=guild)

    def _click(self, message: Message, key: str) -> Call:
        return self.discord.click(self.user, message, self._said(key))

    def _said(self, key: str) -> str:
        """How an answer begins that is this text."""
        return catalogue()[key][1 if self.language == "ja" else 0].partition("{")[0]

    def _some_note(self) -> Act | None:
        """One of theirs that is certainly there, as they have left it."""
        there = [
            act
            for act in self.notes
            if act.text is not None and act.note and self.ledger.must_have(act.marker) == act.text
        ]
        return self.rng.choice(there[-40:]) if there else None

    def _place(self) -> Guild | None:
        """Where they type: in one of their servers, or to the bot alone."""
        return self.rng.choice([*self.guilds, None])

    def _place_of(self, space: str) -> Guild | None:
        """Where a note of that space can be seen."""
        for guild in self.guilds:
            if space == f"guild:{guild.id}":
                return guild
        return self._place()

    def _new_marker(self) -> str:
        self._numbers += 1
        return f"zq{self.letter}{self._numbers:05}x"

    def _text(self, marker: str, version: int = 1) -> str:
        sentences = self.rng.choices(_SENTENCES[self.language], k=self.rng.randint(1, 4))
        return f"{marker} v{version} " + "\n".join(sentences)


def note_ids(message: Message) -> Iterator[str]:
    """The notes that its buttons lead to."""
    for button in message.buttons:
        if found := _NOTE_ID.match(str(button.get("custom_id") or "")):
            yield found[1]


def _inputs(modal: Mapping[str, object]) -> Iterator[dict[str, object]]:
    from tests.fakes.discord.messages import walk

    yield from walk(modal["components"])


def _plain(text: object) -> str:
    return "\n".join(str(text).splitlines()).strip()
