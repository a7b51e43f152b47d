"""The load: two people at Discord, one at a terminal, somebody who edits the vault, and guests who leave for good."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from benchmarks.soaking.people import Person
from benchmarks.soaking.world import OWNER, World
from tests.fakes.discord import MANAGE_GUILD, Guild, User

_ACTIONS: Mapping[str, int] = {
    "add": 24, "save": 8, "edit": 14, "delete": 8, "search": 20, "search_words": 6, "show": 8, "ask": 4,
    "list_notes": 4, "run_flow": 2,
}  # fmt: skip
"""How often each is chosen, beside the others."""
_PAUSE = (0.1, 1.2)
_AT_THE_TERMINAL = (4.0, 12.0)
_BETWEEN_COMMITS = (8.0, 25.0)
_BETWEEN_GUESTS = (40.0, 90.0)
_FILES = 30
_FLOW_STARTS = 20.0


class Load:
    """Everybody. `start`, and `join` once `world.stop` is set."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._threads: list[threading.Thread] = []
        self._gone: list[Person] = []
        discord = world.discord
        first, second, third = (discord.guild(number, name) for number, name in ((7, "One"), (8, "Two"), (9, "Three")))
        self._guests = first
        ada = discord.user(OWNER, "ada")
        ben = discord.user(1002, "ben", locale="ja")
        first.member(ada, MANAGE_GUILD)
        first.member(ben)
        second.member(ada)
        third.member(ben, MANAGE_GUILD)
        self.people = [
            self._person(ada, [first, second], "a", is_owner=True),
            self._person(ben, [third, first], "b"),
        ]

    def start(self) -> None:
        works: list[tuple[str, Callable[[], None]]] = [
            (each.user.name, partial(self._live, each)) for each in self.people
        ]
        works += [("terminal", self._type), ("vault", self._commit), ("guests", self._visit)]
        for name, work in works:
            thread = threading.Thread(target=self._guarded, args=(name, work), name=f"load-{name}")
            thread.start()
            self._threads.append(thread)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def look_again(self) -> None:
        """Take in what was answered after it was waited for."""
        for person in (*self.people, *self._gone):
            person.look_again()

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        """A thread that ends by an error would leave a soak that soaks nothing."""
        try:
            work()
        except Exception as error:
            self._world.ledger.violation(f"the soak's own {name} ended with {type(error).__name__}: {error}")
            raise

    def _person(self, user: User, guilds: list[Guild], letter: str, *, is_owner: bool = False) -> Person:
        world = self._world
        return Person(
            world.discord,
            world.ledger,
            user,
            guilds,
            letter,
            world.rng(f"person {letter}"),
            world.stop,
            is_owner,
        )

    def _live(self, person: Person) -> None:
        while not self._world.stop.is_set():
            name = person.rng.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
            getattr(person, name)()
            self._world.stop.wait(person.rng.uniform(*_PAUSE))

    def _type(self) -> None:
        """Commands in a terminal beside the service: captures, backups, flows."""
        world, rng = self._world, self._world.rng("terminal")
        number = 0
        while not world.stop.wait(rng.uniform(*_AT_THE_TERMINAL)):
            number += 1
            choice = rng.random()
            if choice < 0.6:
                self._capture(f"zqt{number:05}x", rng)
            elif choice < 0.8:
                self._back_up()
            else:
                flow = rng.choice(("ingest", "ingest", "backup", "verify", "digest", "maintain"))
                done = world.platform.cli("flows", "run", flow, seconds=_FLOW_STARTS)
                world.ledger.answered(f"flows run {flow}", f"exit {done.code}")

    def _capture(self, marker: str, rng: random.Random) -> None:
        world = self._world
        space = rng.choice(("personal", "personal", "guild:7", f"user:{OWNER}"))
        text = f"{marker} v1 typed into a terminal 端末から"
        act = world.ledger.ask("keep", marker, text, space, "terminal")
        done = world.platform.cli("capture", text, "--space", space, "--json", seconds=60)
        kept = done.document
        if isinstance(kept, dict) and kept.get("note_id"):
            world.ledger.acknowledge(act, str(kept["note_id"]), done.out)
            world.ledger.answered("capture", "acknowledged")
        else:
            world.ledger.unknown(act, done.err)
            world.ledger.answered("capture", f"exit {done.code}")

    def _back_up(self) -> None:
        world = self._world
        begun, life = time.monotonic(), len(world.ledger.lives) - 1
        done = world.platform.cli("backup", "create", "--json", seconds=180)
        world.ledger.answered("backup create", f"exit {done.code}")
        made = done.document
        if isinstance(made, dict) and made.get("id") and len(world.ledger.lives) - 1 == life:
            world.ledger.snapshot(str(made["id"]), begun, life=life)

    def _commit(self) -> None:
        """Files of the vault come, change, move and go."""
        world, rng = self._world, self._world.rng("vault")
        number = 0
        while True:
            changes: dict[str, str | None] = {}
            for _ in range(rng.randint(1, 4)):
                there = sorted(world.git.files.keys() - changes.keys())
                kind = rng.choice(("add", "edit", "rename", "delete")) if len(there) > _FILES // 2 else "add"
                if kind == "add":
                    number += 1
                    marker = f"zqg{number:05}x"
                    world.ledger.place(marker, "personal")
                    folder = rng.choice(("", "仕事/", "notes/"))
                    changes[f"{folder}{marker} ノート.md"] = (
                        f"# {marker} v1\n\nA file of the vault. 保管庫のファイル。\n"
                    )
                    continue
                path = rng.choice(there)
                text = world.git.files[path]
                if kind == "edit":
                    changes[path] = f"{text}\nOne more line {rng.getrandbits(32):x}.\n"
                else:
                    changes[path] = None
                    if kind == "rename":
                        changes[path.replace(".md", " moved.md")] = text
            with suppress(AssertionError):  # the repository is ours, but what git says is not
                world.git.push(changes)
                world.ledger.answered("commit", "acknowledged")
            if world.stop.wait(rng.uniform(*_BETWEEN_COMMITS)):
                return

    def _visit(self) -> None:
        """Guests keep a few notes, and have everything of theirs erased."""
        world, rng = self._world, self._world.rng("guests")
        number = 0
        while not world.stop.wait(rng.uniform(*_BETWEEN_GUESTS)):
            number += 1
            user = world.discord.user(2000 + number, f"guest{number}", locale=rng.choice(("ja", "en-US")))
            self._guests.member(user)
            guest = self._person(user, [self._guests], "v")
            guest._numbers = number * 10
            for _ in range(rng.randint(1, 3)):
                guest.add()
            guest.leave_for_good()
            self._gone.append(guest)
