"""Nothing of another person, another guild or the owner shows where it may not: each way there is, walked by everybody.

What may be seen is written down here as DESIGN §9 says it, not asked of bot/scope.py. A reply that only I see: my
notes, those of the guild here, and the owner's own for an owner. One that others see: the guild's alone. In a direct
message or a group: mine, and the owner's own for an owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from answering_world import UNHURRIED
from hashing_embedder import HashingEmbedder

from bot.registry import _handlers, _openers
from nescord.digests import send_due
from tests.command_world import BotWorld, bot_world
from tests.fakes.discord import Call, User
from tests.walk_world import (
    AUTHORS,
    KINDS,
    NEEDLE,
    SPACES,
    WORDS,
    Act,
    Hidden,
    Walker,
    kinds_of,
    names_of,
    place_of,
    plant,
    quoting,
    searched,
    walk,
    words_in,
)

ENOUGH = {f"quota_{what}": "1000000/1000000" for what in ("searches", "answers", "notes", "flows")}


@dataclass(frozen=True)
class Visit:
    """Who stands where; which notes an answer to them alone may show, which an answer that others see, too, may; and
    which notes they may change here, which is also whose earlier versions they may see."""

    who: str
    place: str
    sees: frozenset[str]
    shared: frozenset[str]
    changes: frozenset[str]


def visit(who: str, place: str, sees: str, shared: str, changes: str) -> Visit:
    return Visit(who, place, *(frozenset(words.split()) for words in (sees, shared, changes)))


# Ada has kept the note of `home`, Mia manages that guild, Eve manages the other one, and has kept its note.
VISITS = [
    visit("ada", "home", sees="adas homes", shared="homes", changes="adas homes"),
    visit("ada", "other", sees="adas others", shared="others", changes="adas"),
    visit("ada", "dm", sees="adas", shared="adas", changes="adas"),
    visit("ada", "group", sees="adas", shared="adas", changes="adas"),
    visit("ben", "home", sees="bens homes", shared="homes", changes="bens"),
    visit("ben", "dm", sees="bens", shared="bens", changes="bens"),
    visit("ben", "group", sees="bens", shared="bens", changes="bens"),
    visit("mia", "home", sees="homes", shared="homes", changes="homes"),
    visit("mia", "dm", sees="", shared="", changes=""),
    visit("mia", "group", sees="", shared="", changes=""),
    visit("eve", "other", sees="others", shared="others", changes="others"),
    visit("eve", "dm", sees="", shared="", changes=""),
    visit("eve", "group", sees="", shared="", changes=""),
    visit("owner", "home", sees="owners homes", shared="homes", changes="owners homes"),
    visit("owner", "other", sees="owners others", shared="others", changes="owners others"),
    visit("owner", "dm", sees="owners", shared="owners", changes="owners"),
    visit("owner", "group", sees="owners", shared="owners", changes="owners"),
]

# Questions that were asked with their answers: by whom, where, whether others saw it, and who may come back to it from
# where: nobody else, unless it was shared; and from no place where less is seen than it was made of.
CONVERSATIONS = {
    "adas": ("ada", "home", False, {("ada", "home")}),
    "homes": ("ada", "home", True, {("ada", "home"), ("ben", "home"), ("mia", "home"), ("owner", "home")}),
    "bens": ("ben", "dm", False, {("ben", "home"), ("ben", "dm"), ("ben", "group")}),
    "others": ("eve", "other", True, {("ada", "other"), ("eve", "other"), ("owner", "other")}),
    "owners": ("owner", "group", False, {("owner", "home"), ("owner", "other"), ("owner", "dm"), ("owner", "group")}),
}

# What a person is handed out: what they have kept, with what they were told in answers. Of the owner's vault, nothing.
HANDED_OUT = {"ada": {"adas", "homes"}, "ben": {"bens"}, "mia": set(), "eve": {"others"}, "owner": {"owners"}}
DIGESTS = {"user:42": {"adas"}, "user:43": {"bens"}, "user:44": set(), "user:1": {"owners"}}

_FOUND = "title body task path"
NOTE = "title body task tag file content path"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        made.other.member(made.ada)
        made.other.member(made.owner)
        with made.bot(embedder=HashingEmbedder(), discord_token=made.fake.token, **ENOUGH, **UNHURRIED):
            yield made


@pytest.fixture
def hidden(world: BotWorld) -> dict[str, Hidden]:
    return plant(world)


def act(
    name: str, does: object, expected: frozenset[str], kinds: str, *, is_some: bool = False, typed: str = ""
) -> Act:
    return Act(name, does, expected, frozenset(kinds.split()), is_some, frozenset(typed.split()))  # type: ignore[arg-type]


def walker_of(world: BotWorld, there: Visit) -> Walker:
    user: User = getattr(world, there.who)
    return Walker(world, user, place_of(world, user, there.place))


def test_commands_and_choices(world: BotWorld, hidden: dict[str, Hidden]) -> None:
    generator = quoting(world.km)
    wrong = []
    for there in VISITS:
        walker = walker_of(world, there)
        asked = len(generator.prompts)
        acts = [*found(walker, there), *of_notes(walker, there, hidden), *about_nothing(walker)]
        wrong += [f"{there.who} in {there.place}: {each}" for each in walk(walker, acts)]
        prompts = "".join(prompt.text for prompt in generator.prompts[asked:])
        assert names_of(words_in(prompts)) == there.sees | there.shared
        assert not words_in(walker.besides())
    assert wrong == []
    world.fake.check()


def found(walker: Walker, there: Visit) -> Iterator[Act]:
    """What is looked for, and what is offered while typing."""
    slash, typing = walker.slash, walker.typing
    for share, seen in ((False, there.sees), (True, there.shared)):
        more = f" shared {share}"
        for mode in ("hybrid", "keyword", "vector"):
            options = {"query": NEEDLE, "limit": 10, "mode": mode, "share": share}
            yield act(f"search {mode}{more}", lambda options=options: slash("search", **options), seen, _FOUND)
        yield act(f"ask{more}", lambda share=share: slash("ask", question=NEEDLE, share=share), seen, f"{_FOUND} tag")
        for name in SPACES:
            tag = {"tag": f"{name}tag", "share": share}
            only = seen & {name}
            yield act(
                f"search {tag}", lambda tag=tag: slash("search", query=NEEDLE, **tag), only, _FOUND, typed=f"{name}tag"
            )
        for command, first in (("search", "query"), ("ask", "question")):
            typed = {first: "x", "tag": "tag", "share": share}
            yield act(
                f"{command} choices{more}",
                lambda command=command, typed=typed: typing(command, "tag", **typed),
                seen,
                "tag",
            )
    yield act("note list choices", lambda: typing("note list", "tag", tag="tag"), there.sees, "tag")
    for command in ("note show", "note edit", "note delete", "note history", "related"):
        yield act(
            f"{command} choices", lambda command=command: typing(command, "note", note="title"), there.sees, "title"
        )
    yield act("note list", lambda: slash("note list"), there.sees, "title")
    kept = there.sees & {name for name, author in AUTHORS.items() if author == f"user:{walker.user.id}"}
    yield act("note list mine", lambda: slash("note list", mine=True), frozenset(kept), "title")
    for period in ("daily", "weekly", "monthly"):
        yield act(
            f"review {period}",
            lambda period=period: slash("review", period=period),
            there.sees,
            "title body task tag asked",
        )
    yield act("review", lambda: slash("review"), there.sees, "title body task", is_some=True)
    said = walker.world.fake.message(walker.user, NEEDLE, channel=walker.place)
    yield act("Find related", lambda: walker.menu("Find related", said), there.sees, _FOUND)


def of_notes(walker: Walker, there: Visit, hidden: dict[str, Hidden]) -> Iterator[Act]:
    """One note each, by its id and by its title."""
    slash = walker.slash
    for name, places in hidden.items():
        sees, changes = there.sees & {name}, there.changes & {name}
        for note in (places.note, f"{name}title"):
            where = f" of {name} by {note}"
            yield act(f"note show{where}", lambda note=note: slash("note show", note=note), sees, NOTE)
            yield act(
                f"related{where}", lambda note=note: slash("related", note=note), there.sees if sees else sees, _FOUND
            )
            yield act(f"history{where}", lambda note=note: slash("note history", note=note), changes, "title old")
            yield act(f"delete{where}", lambda note=note: slash("note delete", note=note), changes, "title")
            yield act(f"edit{where}", lambda note=note: slash("note edit", note=note), changes, "title body task tag")
        for command in ("note show", "note edit", "note delete", "note history", "related"):
            yield act(
                f"{command} of the trash of {name}",
                lambda command=command, note=places.trashed: slash(command, note=note),
                frozenset(),
                "",
            )


def about_nothing(walker: Walker) -> Iterator[Act]:
    """What shows no notes at all."""
    commands: list[tuple[str, dict[str, object]]] = [
        ("status", {}), ("help", {}), ("settings", {}), ("privacy show", {}), ("digest", {"switch": "show"}),
        ("flow status", {}), ("flow run", {"flow": "verify"}), ("note add", {}), ("privacy delete", {}),
    ]  # fmt: skip
    for command, options in commands:
        yield act(command, lambda command=command, options=options: walker.slash(command, **options), frozenset(), "")


def test_buttons_and_forms_that_nobody_was_shown(world: BotWorld, hidden: dict[str, Hidden]) -> None:
    """Every action of a button and every kind of a form, with the id of every note and conversation, by everybody."""
    asked = conversations(world)
    quoting(world.km)
    before = bodies(world)
    wrong = []
    walked: set[str] = set()
    for there in VISITS:
        walker = walker_of(world, there)
        acts = [
            *pressed(walker, there, hidden, asked, is_seen_by_all=False),
            *pressed(walker, there, hidden, asked, is_seen_by_all=True),
            *sent(walker, there, hidden, asked),
        ]
        walked |= {re.split("[ :]", each.name)[0] for each in acts}
        wrong += [f"{there.who} in {there.place}: {each}" for each in walk(walker, acts)]
        assert not words_in(walker.besides())
    assert wrong == []
    buttons = {kind for kind in (*_handlers, *_openers) if kind.startswith("button.")}
    assert walked >= buttons | {kind for kind in _handlers if not kind.startswith("button.")}
    assert bodies(world) == before
    world.fake.check()


def conversations(world: BotWorld) -> dict[str, str]:
    """The ids of what was asked, by the space that its question names."""
    ids = {}
    for name, (who, place, share, _) in CONVERSATIONS.items():
        user: User = getattr(world, who)
        walker = Walker(world, user, place_of(world, user, place))
        message = walker.slash("ask", question=f"{name}asked {NEEDLE}", share=share).wait()
        (ids[name],) = {each["custom_id"].split(":")[2] for each in message.buttons if "ask_more" in each["custom_id"]}
    return ids


def bodies(world: BotWorld) -> dict[str, list[tuple[str, str]]]:
    view = {name: world.km.scoped({space}) for name, space in SPACES.items()}
    return {
        name: sorted((note.title, each.note(note.note_id).body) for note in each.recent_notes(limit=100))
        for name, each in view.items()
    }


# Actions of buttons: whose notes they show (those that may be seen, or only changed), and what of them.
SHOWING = {
    "note": ("sees", NOTE),
    "note_page": ("sees", "title body task tag path"),
    "note_file": ("sees", "title body task"),
    "note_edit": ("changes", "title body task tag"),
    "note_delete": ("changes", "title"),
    "note_history": ("changes", "title old"),
    "note_version": ("changes", "title old"),
}
# Those that take the place of their message, which shows no more than all may see who see it.
REPLACING = {"note_page"}


def pressed(
    walker: Walker, there: Visit, hidden: dict[str, Hidden], asked: dict[str, str], *, is_seen_by_all: bool
) -> Iterator[Act]:
    """Every action of a button, on a message that all see or one that is for the person alone."""
    shown = there.shared if is_seen_by_all else there.sees
    more = f" seen by all {is_seen_by_all}"

    def press(custom_id: str) -> Call:
        return walker.press(f"nb:{custom_id}", is_seen_by_all=is_seen_by_all)

    for name, places in hidden.items():
        for action, (whose, kinds) in SHOWING.items():
            seen = there.changes if whose == "changes" else shown if action in REPLACING else there.sees
            custom_id = f"{action}:{places.note}:{places.version if action == 'note_version' else '0'}"
            yield act(f"button.{custom_id}{more}", lambda i=custom_id: press(i), seen & {name}, kinds)
            gone = custom_id.replace(places.note, places.trashed)
            yield act(f"button.{gone} trashed{more}", lambda i=gone: press(i), frozenset(), "")
        # Who may do these is told by another test: it would change what this one looks at.
        if name not in there.changes:
            for custom_id in (f"note_deleted:{places.note}", f"note_undo:{places.trashed}"):
                yield act(f"button.{custom_id}{more}", lambda i=custom_id: press(i), frozenset(), "")
        yield act(
            f"button.note_cancel of {name}{more}", lambda i=places.note: press(f"note_cancel:{i}"), frozenset(), ""
        )
        listing = f"note_list:0:all|{name}tag"
        yield act(f"button.{listing}{more}", lambda i=listing: press(i), shown & {name}, "title", typed=f"{name}tag")
        card = f"grade:{places.note}:3-x"
        yield act(f"button.{card}{more}", lambda i=card: press(i), shown, "title body task", is_some=True)
    yield act(f"button.note_list{more}", lambda: press("note_list:0:all|"), shown, "title")
    for name, wanted in asked.items():
        _, _, _, comes_back = CONVERSATIONS[name]
        is_theirs = (there.who, there.place) in comes_back
        made_of = sees_at(name) if is_theirs else frozenset()
        for action, seen in (
            ("sources", made_of),
            ("useful", frozenset()),
            ("useless", frozenset()),
            ("more", frozenset()),
        ):
            custom_id = f"ask_{action}:{wanted}"
            yield act(f"button.{custom_id} {name}{more}", lambda i=custom_id: press(i), seen, _FOUND)


def sees_at(name: str) -> frozenset[str]:
    """Whose notes the answer to a question was made of."""
    who, place, share, _ = CONVERSATIONS[name]
    (there,) = [each for each in VISITS if (each.who, each.place) == (who, place)]
    return there.shared if share else there.sees


def sent(walker: Walker, there: Visit, hidden: dict[str, Hidden], asked: dict[str, str]) -> Iterator[Act]:
    """Forms of every kind of answer there is: those that we never show are no way to get it."""
    kinds = [kind for kind in _handlers if not kind.startswith("button.")]
    for kind, name in product(kinds, hidden):
        if kind == "note.edited" and name in there.changes:
            continue  # It would change what this walk looks at.
        note, seen, shown = hidden[name].note, frozenset[str](), ""
        wanted = f"{note}|2026-01-01" if kind == "note.edited" else note
        if kind == "ask.followed":
            wanted, shown = asked[name], f"{_FOUND} tag asked"
            seen = there.sees if (there.who, there.place) in CONVERSATIONS[name][3] else seen
        inputs = {
            "note": note, "query": NEEDLE, "question": NEEDLE, "text": NEEDLE if kind != "note.added" else " ",
            "title": "", "tags": "", "period": "spaced", "mode": "hybrid", "switch": "show", "word": "no",
        }  # fmt: skip
        form = f"nm:{kind}:{wanted}"
        yield act(f"{kind} {name}", lambda i=form, inputs=inputs: walker.send_form(i, **inputs), seen, shown)


def test_what_is_handed_out_is_ones_own(world: BotWorld, hidden: dict[str, Hidden]) -> None:
    conversations(world)
    for name, space in SPACES.items():
        user = {"user:42": world.ada, "user:43": world.ben, "personal": world.owner}.get(space)
        if user:
            searched(world, user, f"{name}searched")
    for who, expected in HANDED_OUT.items():
        user = getattr(world, who)
        walker = Walker(world, user, place_of(world, user, "dm"))
        words = words_in(walker.received(walker.slash("privacy export")))
        assert names_of(words) == expected, who
        for name in expected - {"homes", "others", "owners"}:
            assert words >= {f"{name}{kind}" for kind in KINDS if kind != "path"}, who


def test_digests(world: BotWorld, hidden: dict[str, Hidden]) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    walkers = {}
    for who in ("ada", "ben", "mia", "owner"):
        user = getattr(world, who)
        walkers[f"user:{user.id}"] = user
        Walker(world, user, place_of(world, user, "home")).slash("digest", switch="on", hour=0, zone="UTC").wait()
    for who, place in (("mia", "home"), ("eve", "other")):
        walker = Walker(world, getattr(world, who), place_of(world, getattr(world, who), place))
        walker.slash("digest", switch="on", hour=0, zone="UTC", where="channel").wait()
    send_due(world.km._base.settings, world.km, later)
    for target, expected in DIGESTS.items():
        told = "\n".join(each.text for each in world.fake.direct_messages(walkers[target]))
        assert names_of(words_in(told)) == expected, target
        assert kinds_of(words_in(told)) <= {"title", "task"}
    for channel, name in ((world.home.general, "homes"), (world.other.general, "others")):
        (message,) = world.fake.channel_messages(channel)
        assert names_of(words_in(message.text)) == {name}
    world.fake.check()


def test_a_message_that_somebody_else_has_saved(world: BotWorld) -> None:
    """Whether, and what they have made of it, is nobody's business."""
    said = world.fake.message(world.mia, "lunch at noon", guild=world.home)
    kept = world.fake.menu(world.ben, "Save to notes", said).wait()
    (note,) = {each["custom_id"].split(":")[2] for each in kept.buttons}
    world.km.scoped({"user:43"}).edit_note(note, text="bensbody", title="benstitle")
    for user in (world.ada, world.mia, world.owner):
        for name in ("Save to notes", "Find related"):
            walker = Walker(world, user, world.home.general)
            assert not words_in(walker.received(walker.menu(name, said)))


def test_the_words_are_told_apart(world: BotWorld, hidden: dict[str, Hidden]) -> None:
    """What this walk stands on: every word is there to be found, and is of one space alone."""
    stored = b"".join(path.read_bytes() for path in (world.folder / "kb").rglob("*") if path.is_file())
    for word in WORDS:
        assert word.encode() in stored or word.endswith(("searched", "path")), word
        assert names_of({word}) == {word.removesuffix(next(kind for kind in KINDS if word.endswith(kind)))}
