"""An agent sees the spaces that its owner has named, by no tool and no resource more than those."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_runs import nescord
from mcp import MCPError
from mcp_world import Agent, agent, near, text_of
from vaults import open_base

from nescord.agents.view import scope_of
from nescord.errors import UsageError

AGENTS = Path(__file__).parent.parent / "nescord" / "agents"
# A word that is in no other space's notes.
NEEDLES = {
    "personal": "pangolin",
    "guild:7": "guanaco",
    "guild:8": "galago",
    "user:42": "urial",
    "user:43": "uakari",
}


@dataclass(frozen=True)
class Planted:
    """A note of a space, and all that may tell of it."""

    note_id: str
    traces: tuple[str, ...]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scope") / "state"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("empty") / "state"
    assert nescord("--data-dir", state, "init").code == 0
    return state


@pytest.fixture(scope="module")
def planted(state: Path) -> dict[str, list[Planted]]:
    """Notes in every space that name each other and have the same titles and words; all of them have vectors."""
    found: dict[str, list[Planted]] = {space: [] for space in NEEDLES}
    with open_base(state, embedder="local", vector="exact") as km:
        for space, needle in NEEDLES.items():
            for number in range(3):
                links = " ".join(f"[[{other} {number}]] [[Same title]]" for other in NEEDLES.values())
                note = km.add_note(
                    f"The {needle} and the common words of everybody. 共通の言葉。 {links}",
                    title="Same title" if number == 2 else f"{needle} {number}",
                    tags=[f"tag-{needle}", "shared"],
                    space=space,
                    author=f"author-{needle}",
                    source=f"https://chat.example/{needle}",
                )
                km.embed_note(note.id)
                found[space].append(Planted(note.id, (note.id, f"tag-{needle}", f"author-{needle}", f"/{needle}")))
        trashed = km.capture(f"A deleted {NEEDLES['personal']} numbat.")
        km.delete_note(trashed.id)
    return found


def walk(reader: Agent, planted: Iterable[Planted]) -> str:
    """All that the agent can bring to light, in one text."""
    said = []
    words = [*NEEDLES.values(), "common words", "共通の言葉", "Same title", "#shared", "numbat"]
    for word in words:
        for mode in ("hybrid", "keyword", "vector"):
            said.append(reader.call("search", query=word, mode=mode, limit=50))
        said.append(reader.call("ask", question=f"What is {word}?"))
        said.append(reader.call("related", note=word))
        said.append(reader.call("show", note=word))
    for needle in NEEDLES.values():
        said.append(reader.call("search", tags=[f"tag-{needle}"]))
        said.append(reader.call("search", query="common", source=needle))
    for note in planted:
        for name in (note.note_id, f"nescord://note/{note.note_id}"):
            said += [reader.call("show", note=name), reader.call("related", note=name)]
    said.append(reader.call("status"))
    texts = [text_of(answer) for answer in said]
    texts += [json.dumps(answer.structured_content, ensure_ascii=False) for answer in said]
    listed = reader.run(lambda: reader.client.list_resources())
    texts.append(listed.model_dump_json())
    for note in planted:
        try:
            texts.append(
                reader.run(
                    lambda uri=f"nescord://note/{note.note_id}": reader.client.read_resource(uri)
                ).model_dump_json()
            )
        except MCPError as error:
            texts.append(f"error {error}")
    return "\n".join(texts)


def shows_only(reader: Agent, planted: dict[str, list[Planted]], spaces: set[str]) -> None:
    """All of these spaces can be brought to light, and nothing of any other."""
    shown = walk(reader, [note for notes in planted.values() for note in notes])
    assert reader.said("status")["notes"] == 3 * len(spaces)
    for space in spaces:
        assert len(reader.said("related", note=planted[space][0].note_id, limit=50)["notes"]) == 3 * len(spaces) - 1
    for space, notes in planted.items():
        for note in notes:
            if space in spaces:
                assert f'"note_id": "{note.note_id}"' in shown, f"{space} is to be seen"
                continue
            # An id, and a word, are in the answers that it is unknown: the agent has said them itself.
            unknown = re.compile(rf'no note "(nescord://note/)?{note.note_id}"')
            assert note.note_id not in unknown.sub("", shown)
            for trace in note.traces[1:]:
                assert trace not in shown, f"{space} shows"
    for space in set(NEEDLES) - spaces:
        assert f"The {NEEDLES[space]} and" not in shown
    assert "deleted" not in shown


@pytest.mark.parametrize(
    ("scope", "spaces"),
    [
        (scope_of(["guild:7"]), {"personal", "guild:7"}),
        (scope_of(["guild:7"], with_personal=False), {"guild:7"}),
        (scope_of(["guild:999"], with_personal=False), set()),
        (scope_of((), everything=True), set(NEEDLES)),
    ],
)
def test_what_other_spaces_hold_never_shows(
    state: Path, planted: dict[str, list[Planted]], scope: frozenset[str] | None, spaces: set[str]
) -> None:
    with near(state, scope, embedder="local", vector="exact") as reader:
        shows_only(reader, planted, spaces)


@pytest.mark.parametrize(
    ("options", "spaces"),
    [((), {"personal"}), (("--space", "user:42", "--space", "guild:8", "--no-personal"), {"user:42", "guild:8"})],
)
def test_what_other_spaces_hold_never_leaves_the_process(
    state: Path, planted: dict[str, list[Planted]], options: tuple[str, ...], spaces: set[str]
) -> None:
    with agent(state, *options, env={"NESCORD_EMBEDDER": "local", "NESCORD_VECTOR": "exact"}) as reader:
        shows_only(reader, planted, spaces)
        logged = reader.logged()
    assert not any(needle in logged for needle in NEEDLES.values())


def test_an_unknown_note_and_one_of_another_space_are_refused_alike(
    state: Path, planted: dict[str, list[Planted]]
) -> None:
    hidden, unknown = planted["guild:7"][0].note_id, "01a22180-0000-7000-8000-000000000000"
    with near(state, scope_of(())) as reader:
        assert reader.refused("show", note=hidden).replace(hidden, unknown) == reader.refused("show", note=unknown)


@pytest.mark.parametrize(
    ("scope", "space", "kept_in"),
    [
        (scope_of(["guild:7"]), "", "personal"),
        (scope_of(["guild:7"]), "guild:7", "guild:7"),
        (scope_of(["guild:7"], with_personal=False), "", "guild:7"),
        (None, "", "personal"),
    ],
)
def test_captures_go_to_a_space_that_is_seen(
    empty: Path, scope: frozenset[str] | None, space: str, kept_in: str
) -> None:
    with near(empty, scope, can_capture=True) as writer:
        assert writer.said("capture", text="here", space=space)["space"] == kept_in
        if scope is not None:
            assert "from here" in writer.refused("capture", text="there", space="guild:8")


def test_a_capture_that_could_go_to_several_spaces_has_to_say_where(empty: Path) -> None:
    with near(empty, scope_of(["guild:7", "guild:8"], with_personal=False), can_capture=True) as writer:
        assert "guild:7, guild:8" in writer.refused("capture", text="x")


def test_a_capture_with_the_id_of_a_hidden_note_neither_shows_nor_changes_it(
    state: Path, planted: dict[str, list[Planted]]
) -> None:
    hidden = planted["guild:7"][1].note_id
    with near(state, scope_of(()), can_capture=True) as writer:
        refused = writer.refused("capture", text="mine", note_id=hidden)
    assert NEEDLES["guild:7"] not in refused
    assert "guild" not in refused
    with near(state, scope_of(["guild:7"])) as reader:
        assert NEEDLES["guild:7"] in reader.said("show", note=hidden)["text"]


def test_the_scope_is_the_owners_own_and_what_is_added() -> None:
    assert scope_of(()) == {"personal"}
    assert scope_of(["guild:7"]) == {"personal", "guild:7"}
    assert scope_of(["guild:7", "user:1"], with_personal=False) == {"guild:7", "user:1"}
    assert scope_of((), everything=True) is None


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        (("--space", "guild"), "guild:<id>"),
        (("--space", "personal,guild:7"), "guild:<id>"),
        (("--no-personal",), "--space"),
        (("--all-spaces", "--space", "guild:7"), "leave out --space"),
        (("--all-spaces", "--no-personal"), "leave out"),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused_before_anything_is_served(
    tmp_path: Path, options: tuple[str, ...], mend: str
) -> None:
    done = nescord("--data-dir", tmp_path / "state", "mcp", *options)
    assert (done.code, done.out) == (UsageError.exit_code, "")
    assert mend in done.err


def test_only_one_place_of_the_server_holds_the_whole_knowledge_base() -> None:
    sources = {path.name: path.read_text("utf-8") for path in AGENTS.rglob("*.py")}
    whole = re.compile(r"\bKnowledgeManager\b|nescord\.knowledge\b|\bOpenBase\b|\b_km\b|\b_base\b|nescord\.catalog\b")
    assert {name for name, text in sources.items() if whole.search(text)} == {"view.py"}
    assert {name: len(re.findall(r"\.scoped\(", text)) for name, text in sources.items() if ".scoped(" in text} == {
        "view.py": 1
    }
    assert [name for name, text in sources.items() if re.search(r"[\"']personal[\"']", text)] == ["view.py"]
    shell = (AGENTS.parent / "cli" / "agents.py").read_text("utf-8")
    assert not whole.search(shell)
    assert "call.open" not in shell
