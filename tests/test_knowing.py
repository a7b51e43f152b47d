"""Links and tags that a note might have, duplicates, the graph, reviews and secrets: what is known without a model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from knowing_world import VAULT, grown
from vaults import SAMPLE, contents, open_base

from nescord import KnowledgeManager
from nescord.errors import QueryError, UsageError
from nescord.knowing import duplicates
from nescord.knowing.period import parse_period
from nescord.knowing.terms import sentences, terms
from nescord.language import detect
from nescord.scoped import ScopedKnowledge

TOKYO = ZoneInfo("Asia/Tokyo")
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


# --- review ---


def test_a_review_says_what_was_written_and_changed_and_what_is_to_do(tmp_path: Path) -> None:
    dated = "---\ncreated: {}\nupdated: {}\ntags: [{}]\n---\n".format
    midnight = "2026-11-08T00:00:00+09:00"
    notes = {
        "old.md": dated("2024-05-01", "2026-11-03", "") + "Old and changed. The greenhouse got new glass.",
        "new.md": dated("2026-11-02", "2026-11-02", "garden") + "The tomatoes are in.\n\n- [ ] water\n- [x] sow\n",
        "ja.md": dated("2026-11-04", "2026-11-04", "garden")
        + "温室のガラスを替えた。苗は来週植える。\n\n1. [ ] 支柱\n",
        "border.md": dated(midnight, midnight, "") + "not in it",
    }
    with grown(tmp_path, embed=False, notes=notes) as km:
        found = km.review("2026-11-01..2026-11-07")
    assert [note.path for note in found.written] == ["new.md", "ja.md"]
    assert [note.path for note in found.changed] == ["old.md"]
    assert found.days == (("2026-11-02", 1), ("2026-11-03", 1), ("2026-11-04", 1))
    assert found.tags == (("garden", 2),)
    assert {(task.note.path, task.text) for task in found.tasks} == {("new.md", "water"), ("ja.md", "支柱")}
    texts = [passage.text for passage in found.passages]
    assert "The greenhouse got new glass." in texts
    assert "温室のガラスを替えた。" in texts


def test_a_review_tells_unanswered_questions_to_who_could_have_asked_them(tmp_path: Path) -> None:
    with open_base(tmp_path / "state") as km:
        km.capture("梅干しは三日干す", space=GUILD)
        km.answer("鯨はどこで歌うか")
        km.scoped({ME, GUILD}).answer("whales at night")
        km.scoped({GUILD}).answer("crickets at night")
        km.scoped({GUILD}).answer("梅干し")
        assert km.review("today").questions == ("鯨はどこで歌うか", "whales at night", "crickets at night")
        assert km.scoped({GUILD}).review("today").questions == ("crickets at night",)
        assert set(km.scoped({ME, GUILD}).review("today").questions) == {"crickets at night", "whales at night"}
        assert km.review("1999").questions == ()


def test_passages_stand_in_the_notes_where_they_say(km: KnowledgeManager) -> None:
    passages = km.review("2020..2099").passages
    assert passages
    for one in passages:
        body = km.note(one.note_id).body
        assert one.text.split()[0].strip("[]") in body[one.start : one.end]


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026", "2025-12-31T15:00:00Z", "2026-12-31T15:00:00Z"),
        ("2026-11", "2026-10-31T15:00:00Z", "2026-11-30T15:00:00Z"),
        ("2026-11-24", "2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z"),
        ("2026-11-01..2026-11-07", "2026-10-31T15:00:00Z", "2026-11-07T15:00:00Z"),
        ("2026-11..2026-12", "2026-10-31T15:00:00Z", "2026-12-31T15:00:00Z"),
    ],
)
def test_periods_are_in_the_zone_of_the_person(text: str, begin: str, end: str) -> None:
    period = parse_period(text, TOKYO)
    assert (period.begin, period.end) == (begin, end)


def test_the_last_week_holds_today_and_six_days_before() -> None:
    period = parse_period("week", TOKYO)
    midnight = datetime.now(TOKYO).replace(hour=0, minute=0, second=0, microsecond=0)
    assert datetime.fromisoformat(period.begin) == midnight - timedelta(days=6)
    assert datetime.fromisoformat(period.end) > datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13", "2026-11-07..2026-11-01", "..", "2026-11.."])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is no period"):
        parse_period(text, TOKYO)


# --- sentences and words ---


def test_sentences_are_those_of_the_text_without_headings_code_and_tables() -> None:
    body = "# Title\n\nOne. Two [[link|shown]]!\n\n- 三つ目。四つ目（同じ行）。\n- [ ] five\n\n"
    body += "```\ncode.\n```\n\n|a|\n|-|\n|b|\n"
    found = sentences(body)
    assert [one.text for one in found] == ["One.", "Two shown!", "三つ目。", "四つ目（同じ行）。", "five"]
    assert [body[one.start : one.end] for one in found][1] == "Two [[link|shown]]!"


def test_words_that_say_something() -> None:
    assert terms("The leaves and the leaf of 2026") == {"leav": 1, "leaf": 1}
    assert terms("自動搬送とパンケーキの話をする") == {"自動搬送": 1, "パンケーキ": 1}


# --- secrets ---


def test_secrets_are_reported_by_kind_and_line_and_never_shown(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    notes = {
        "ja.md": f"一行目\n\nトークン: {token}\n",
        "en.md": "nothing here",
        "front.md": f"---\nkey: {token}\n---\nx",
    }
    with grown(tmp_path, embed=False, notes=notes) as km:
        found = km.secrets()
    assert {one.note.path: [place.line for place in one.found] for one in found} == {"ja.md": [3], "front.md": [0]}
    shown = json.dumps([asdict(one) for one in found], ensure_ascii=False)
    assert token not in shown
    assert "GitHub" in shown


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
