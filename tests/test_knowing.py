"""Links and tags that a note might have, duplicates, the graph, and no word of another space: all without a model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from knowing_world import VAULT, grown
from vaults import SAMPLE, contents, open_base

from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.knowing import duplicates
from nescord.language import detect
from nescord.scoped import ScopedKnowledge

GUILD, ME = "guild:7", "user:42"


@pytest.fixture(scope="module")
def km(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeManager]:
    """VAULT with vectors; tests only read it."""
    with grown(tmp_path_factory.mktemp("knowing")) as base:
        yield base


@pytest.fixture(scope="module")
def without_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeManager]:
    """VAULT without any vector; tests only read it."""
    with grown(tmp_path_factory.mktemp("knowing"), embed=False) as base:
        yield base


# --- links ---


@pytest.mark.parametrize(
    ("note", "named"), [("Cold brew", "Kitchen/Green tea.md"), ("台所/梅干し.md", "台所/赤紫蘇.md")]
)
def test_notes_that_the_text_names_are_suggested_first(km: KnowledgeManager, note: str, named: str) -> None:
    found = km.suggest_links(note)
    reasons = [one.reason for one in found]
    assert reasons == sorted(reasons, key=["mentioned", "near"].index)
    assert "near" in reasons
    [first] = [one for one in found if one.path == named]
    assert (first.reason, first.mentioned) == ("mentioned", first.name.casefold())
    assert first.nearness > 0


def test_notes_that_are_linked_either_way_are_not_suggested_nor_is_the_note_itself(km: KnowledgeManager) -> None:
    found = {one.path for one in km.suggest_links("Grinder")}
    assert not found & {"Kitchen/Grinder.md", "Home.md", "Kitchen/Cold brew.md"}
    assert "Kitchen/Cold brew.md" in VAULT


def test_a_name_inside_of_a_longer_word_is_no_mention(tmp_path: Path) -> None:
    notes = {"Part.md": "# Part\n\nx", "Whole.md": "The party and a depart of parts."}
    with grown(tmp_path, embed=False, notes=notes) as km:
        assert km.suggest_links("Whole") == []


def test_a_part_of_a_longer_name_that_was_found_is_no_mention(tmp_path: Path) -> None:
    notes = {"Cold brew.md": "x", "Cold.md": "x", "紫蘇.md": "x", "赤紫蘇.md": "x", "Text.md": "Cold brew と赤紫蘇。"}
    with grown(tmp_path, embed=False, notes=notes) as km:
        assert {one.path for one in km.suggest_links("Text")} == {"Cold brew.md", "赤紫蘇.md"}


def test_without_vectors_named_notes_are_suggested_and_it_is_said(without_model: KnowledgeManager) -> None:
    found = without_model.suggest_links("Cold brew")
    assert {one.path for one in found} == {"Kitchen/Green tea.md", "Kitchen/Green tea (copy).md"}
    assert {one.reason for one in found} == {"mentioned"}
    assert found.degraded == ("vector: embedding is switched off (NESCORD_EMBEDDER=none)",)


# --- duplicates ---


def test_near_duplicates_are_found_in_either_language(km: KnowledgeManager) -> None:
    report = km.duplicates()
    pairs = {frozenset((pair.first.path, pair.second.path)): pair.similarity for pair in report.pairs}
    assert set(pairs) == {
        frozenset(("Kitchen/Green tea.md", "Kitchen/Green tea (copy).md")),
        frozenset(("台所/梅干し.md", "台所/梅干し 写し.md")),
    }
    assert all(0.9 < similarity < 1 for similarity in pairs.values())
    assert report.degraded == ()


def test_no_planted_copy_of_a_long_note_is_missed(tmp_path: Path) -> None:
    """Every long note of the sample vault with a sentence more, one less, and a word changed here and there."""
    originals = [path for path in sorted((SAMPLE / "vault").rglob("*.md")) if _is_long(path)]
    notes = {}
    for path in originals:
        lines = path.read_text("utf-8").replace("\0", "").splitlines()
        notes[f"{path.stem}.md"] = "\n".join(lines)
        changed = [line.replace("the", "that").replace("する", "した") for line in lines]
        notes[f"{path.stem} (2).md"] = "\n".join(
            [*changed[: len(lines) // 2], "追記した。Added.", *changed[len(lines) // 2 + 1 :]]
        )
    assert any(detect(text) == "ja" for text in notes.values())
    assert any(detect(text) == "en" for text in notes.values())
    with grown(tmp_path, notes=notes) as km:
        found = {pair.first.path.removesuffix(" (2).md").removesuffix(".md") for pair in km.duplicates().pairs}
    assert len(originals) > 25
    assert found == {path.stem for path in originals}


def _is_long(path: Path) -> bool:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return len(text) > 600 and text.count("\n") > 10


def test_no_more_pairs_are_compared_than_a_bound_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_MOST_PAIRS", 5)
    notes = {f"{number}.md": f"the same words in every one, and {number}" for number in range(30)}
    with grown(tmp_path, notes=notes) as km:
        report = km.duplicates()
    assert report.compared == 5
    assert re.fullmatch(r"only the nearest 5 of \d+ pairs were compared", report.degraded[0])


def test_texts_decide_not_vectors(km: KnowledgeManager) -> None:
    """Pairs that the vectors take for near are compared, and most are none."""
    strict = km.duplicates(minimum=1)
    assert strict.pairs == ()
    assert strict.compared >= 2


def test_without_vectors_whole_passages_in_common_are_compared_and_it_is_said(tmp_path: Path) -> None:
    same = {
        "one.md": "梅干しの塩分は十八パーセント。",
        "two.md": "梅干しの塩分は十八パーセント。",
        "three.md": "別の話。",
    }
    with grown(tmp_path, embed=False, notes=same) as km:
        report = km.duplicates()
    assert [(pair.first.path, pair.second.path, pair.similarity) for pair in report.pairs] in (
        [("one.md", "two.md", 1.0)],
        [("two.md", "one.md", 1.0)],
    )
    assert any("whole passage in common" in reason for reason in report.degraded)


def test_many_copies_of_one_text_cost_no_square_of_comparisons(tmp_path: Path) -> None:
    notes = {f"{number}.md": "the same words in every one of these notes" for number in range(200)}
    with grown(tmp_path, embed=False, notes=notes) as km:
        report = km.duplicates(limit=1000)
    assert len(report.pairs) == report.compared == 199


@pytest.mark.parametrize("minimum", [0.49, 1.01])
def test_a_minimum_out_of_range_is_refused(km: KnowledgeManager, minimum: float) -> None:
    with pytest.raises(UsageError, match=r"0\.5 to 1"):
        km.duplicates(minimum=minimum)


# --- the graph ---


def test_figures_of_the_graph(km: KnowledgeManager) -> None:
    report = km.graph()
    assert (report.notes, report.links, report.dangling, report.wanted) == (9, 5, 1, (("Nowhere", 1),))
    assert [note.path for note in report.orphans] == sorted(
        ("Alone.md", "Kitchen/Green tea.md", "Kitchen/Green tea (copy).md", "台所/梅干し.md", "台所/梅干し 写し.md")
    )
    first = report.hubs[0]
    assert (first.note.path, first.links_in, first.links_out) == ("Home.md", 2, 2)
    assert (report.parts, report.orphan_count) == (1, 5)
    assert asdict(report) == asdict(km.graph())


def test_lists_of_the_graph_are_cut_and_its_counts_are_not(km: KnowledgeManager) -> None:
    report = km.graph(limit=1)
    assert (len(report.orphans), report.orphan_count, len(report.hubs)) == (1, 5, 1)


def test_the_shortest_way_between_two_notes_goes_links_in_either_direction(km: KnowledgeManager) -> None:
    way = [note.path for note in km.link_path("赤紫蘇", "Grinder")]
    assert way == ["台所/赤紫蘇.md", "Home.md", "Kitchen/Grinder.md"]
    assert [note.path for note in km.link_path("Grinder", "Grinder")] == ["Kitchen/Grinder.md"]
    assert km.link_path("Grinder", "Alone") == []


# --- tags ---


def test_tags_of_neighbours_and_named_tags_come_before_new_words(km: KnowledgeManager) -> None:
    found = km.suggest_tags("台所/赤紫蘇.md")
    assert found[0].tag == "台所"
    assert found[0].reason == "neighbours"
    english = km.suggest_tags("Grinder")
    assert english[0].tag == "drink"
    assert {one.reason for one in english if one.is_new} == {"words"}
    reasons = [one.reason for one in english]
    assert reasons == sorted(reasons, key=["named", "neighbours", "words"].index)


def test_tags_that_the_note_has_are_not_suggested(km: KnowledgeManager) -> None:
    assert not {one.tag for one in km.suggest_tags("Grinder")} & {"kitchen"}
    assert "保存食" not in {one.tag for one in km.suggest_tags("台所/赤紫蘇.md")}


def test_a_tag_that_the_text_names_is_suggested_without_vectors(tmp_path: Path) -> None:
    notes = {
        "a.md": "#garden #野菜 x",
        "ja.md": "野菜の種をまく。",
        "en.md": "My gardens.",
        "not.md": "A kindergarten.",
    }
    with grown(tmp_path, embed=False, notes=notes) as km:
        assert [(one.tag, one.reason) for one in km.suggest_tags("ja")] == [("野菜", "named")]
        assert [(one.tag, one.reason) for one in km.suggest_tags("en")] == [("garden", "named")]
        assert km.suggest_tags("not") == []


# --- scopes, and what must not happen ---


def views(folder: Path) -> tuple[KnowledgeManager, ScopedKnowledge]:
    km = open_base(folder / "state")
    km.capture("secret plan: 極秘計画 [[Shared]] password: hunter2secret #hidden", space=ME)
    km.capture("public words about the plan, 計画の話。 #shown", space=GUILD)
    return km, km.scoped({GUILD})


def test_no_verb_of_a_view_tells_of_another_space(tmp_path: Path) -> None:
    km, view = views(tmp_path)
    with km:
        hidden, seen = (km.search(word)[0].note_id for word in ("極秘計画", "public"))
        twin = km.capture("secret plan: 極秘計画 [[Shared]] password: hunter2secret #hidden", space=GUILD).id
        told = [
            view.suggest_links(seen),
            view.suggest_tags(seen),
            [view.duplicates()],
            [view.graph(limit=100)],
            [view.review("today")],
            view.secrets(),
        ]
        shown = json.dumps([[asdict(one) for one in verb] for verb in told], ensure_ascii=False)
        assert hidden not in shown
        assert view.graph().notes == 2
        assert view.duplicates().pairs == ()
        assert len(km.duplicates().pairs) == 1
        assert [one.note.note_id for one in view.secrets()] == [twin]
        assert {note.note_id for note in view.review("today").written} == {seen, twin}
        for verb in (view.suggest_links, view.suggest_tags, view.undo_merge):
            with pytest.raises(Exception, match="no note"):
                verb(hidden)
        with pytest.raises(Exception, match="no note"):
            view.link_path(seen, hidden)
        with pytest.raises(Exception, match="no note"):
            view.merge([seen, hidden])


def test_tags_in_use_elsewhere_are_not_suggested_in_a_view(tmp_path: Path) -> None:
    with open_base(tmp_path / "state") as km:
        km.capture("#hidden x", space=ME)
        km.capture("hidden words", space=GUILD)
        view = km.scoped({GUILD})
        note = km.search("words")[0].note_id
        assert {one.tag: one.reason for one in km.suggest_tags(note)}["hidden"] == "named"
        # There it is a word of the note, and no more.
        assert {one.tag: (one.reason, one.used_by) for one in view.suggest_tags(note)}["hidden"] == ("words", 0)


def test_a_link_into_another_space_leads_nowhere_in_a_view(tmp_path: Path) -> None:
    with open_base(tmp_path / "state") as km:
        hidden = km.capture("a", space=ME)
        stem = hidden.path.rpartition("/")[2].removesuffix(".md")
        km.capture(f"[[{stem}]]", space=GUILD)
        assert (km.graph().links, km.graph().dangling) == (1, 0)
        view = km.scoped({GUILD}).graph()
        assert (view.links, view.dangling, view.wanted) == (0, 1, ((stem, 1),))


def test_nothing_of_it_touches_the_vault(tmp_path: Path) -> None:
    with grown(tmp_path) as km:
        before = contents(tmp_path / "vault")
        km.suggest_links("Home"), km.suggest_tags("Home"), km.duplicates(), km.graph(), km.review(), km.secrets()
        assert contents(tmp_path / "vault") == before


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_out_of_range_is_refused(km: KnowledgeManager, limit: int) -> None:
    for verb in (km.suggest_links, km.suggest_tags):
        with pytest.raises(UsageError, match="1 to 1000"):
            verb("Home", limit=limit)
    for figures in (km.duplicates, km.graph):
        with pytest.raises(UsageError, match="1 to 1000"):
            figures(limit=limit)


def test_a_search_imports_none_of_what_it_needs() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom nescord import KnowledgeManager, Settings\n"
        "with KnowledgeManager.open(Settings(data_dir=Path('state'))) as km:\n"
        "    km.search('x')\n"
        "heavy = {'networkx', 'rapidfuzz', 'detect_secrets', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
