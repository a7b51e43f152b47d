"""The notebooks 01, 03 and 04 on knowledge bases of every kind; the pairs of all; and what they are made of."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from marts_world import begun, embed, rows, settings_of, written
from notebooks_world import EVIL, NOTEBOOKS, empty, lived_in, markup, of_one_note, run_plainly

from nescord import KnowledgeManager, Settings, marts
from nescord.errors import UsageError
from nescord.marts.counting import count_words
from nescord.marts.schema import TABLES
from nescord.reports import asking, golden, linking, nearness, pairing, reading, style, tables, texts, topics
from nescord.reports.kernel import run_notebook

# How DuckDB 2.0 makes a frame, which pandas 3.1 will not like for ever.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")

NAMES = ("01_overview", "03_knowledge_map", "04_duplicates_and_gaps")
PARAMETERS = """\
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return lived_in(tmp_path_factory.mktemp("lived-in"))


# --- the pairs ---


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_and_its_twin_agree_and_the_twin_has_no_outputs(source: Path) -> None:
    twin = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert twin == pairing.twin(source), "write it anew: python -m nescord.reports.pairing"
    cells = json.loads(twin)["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_has_the_four_parameters_in_one_tagged_cell(source: Path) -> None:
    cells = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    [tagged] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert tagged.startswith(PARAMETERS)


def test_there_are_six_pairs_and_nothing_else() -> None:
    assert [path.stem[:2] for path in sorted(NOTEBOOKS.glob("*.py"))] == ["01", "02", "03", "04", "05", "06"]
    assert {path.stem for path in NOTEBOOKS.glob("*.py")} == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}


# --- what they show ---


def _harmless(html: str) -> None:
    elements, attributes = markup(html)
    assert elements <= {"h1", "h2", "p", "b", "code", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert attributes <= {"lang", "class", "style"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plots"), list(zip(NAMES, (4, 4, 3), strict=True)))
def test_a_lived_in_base_is_shown_with_plots_and_nothing_that_runs(
    world: Settings, tmp_path: Path, name: str, plots: int
) -> None:
    out = tmp_path / "out.ipynb"
    parameters = {"data_dir": str(world.data_dir), "language": "ja"}
    done = run_notebook(NOTEBOOKS / f"{name}.ipynb", parameters, out, tmp_path / "out.html")
    assert done, done.failure
    outputs = [output for cell in nbformat.read(out, as_version=4).cells for output in cell.get("outputs", [])]
    # A glyph that no font has warns on stderr.
    assert [output for output in outputs if output.output_type not in ("display_data", "execute_result")] == []
    pictures = [output for output in outputs if "image/png" in output.data]
    assert len(pictures) == plots
    assert all(output.metadata["image/png"]["alt"] for output in pictures)
    for output in outputs:
        _harmless(output.data.get("text/html", ""))
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page


@pytest.mark.slow
def test_nothing_one_note_a_space_and_marts_without_texts_are_shown_in_both_languages(
    world: Settings, tmp_path: Path
) -> None:
    nothing, one = empty(tmp_path / "nothing"), of_one_note(tmp_path / "one")
    cases = [
        *((settings, language, "") for settings in (nothing, one) for language in ("ja", "en")),
        (world, "en", ""),
        (world, "ja", "no'body's"),
    ]
    shown = run_plainly(cases, NAMES)
    for name in NAMES:
        for (_, language, _), seen in zip(cases, shown[name], strict=True):
            said = "".join(each.get("html", "") for each in seen)
            _harmless(said)
            assert f'<h1 lang="{language}">' in said
            assert ("ノート" in said) == (language == "ja") or "ノート" in "".join(_cells(said))
        ja_nothing, en_nothing, _, en_one, _, nobodys = shown[name]
        assert [each for each in ja_nothing + en_nothing + nobodys if "png" in each] == []
        assert "0 notes" in en_nothing[1]["html"]
        assert "1 note" in en_one[1]["html"]
    marts.build(one, texts=False)
    without = run_plainly([(one, "en", "")], NAMES)
    assert "1 note" in without["01_overview"][0][1]["html"]
    assert "onerror" not in json.dumps(without)


@pytest.mark.slow
def test_dates_that_cannot_be_stop_no_notebook_and_count_for_no_time(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    for number, created in enumerate(("9999-12-31", "0001-01-01", "9999-12-31T23:00:00Z", "2099-05-01")):
        text = f"---\ncreated: {created}\n---\nan odd note, number {number}"
        (vault / f"odd {number}.md").write_text(text, encoding="utf-8")
    (vault / "plain.md").write_text("a note of today", encoding="utf-8")
    (vault / "old.md").write_text("---\ncreated: 1911-02-03\n---\na letter", encoding="utf-8")
    settings = settings_of(tmp_path / "state")
    with KnowledgeManager.open(settings) as km:
        km.ingest(vault)
    with written(settings) as connection:
        for path, moment in (("odd 0.md", "9999-12-31T23:59:59Z"), ("odd 1.md", "0001-01-01T00:00:00Z")):
            connection.execute("UPDATE note SET updated_at = ? WHERE path = ?", (moment, path))
            assert connection.changes() == 1
    marts.build(settings)
    con = reading.open_marts(str(settings.data_dir))
    assert reading.undated(con) == 4
    [(now, first, last)] = con.sql("SELECT max(built_at), min(created_at), max(created_at) FROM mart, notes").fetchall()
    assert first.year == 1911
    assert last <= now
    cases = [(settings, "en", ""), (settings, "ja", "personal")]
    for english, japanese in run_plainly(cases, NAMES).values():
        assert len(english) == len(japanese)
    overview = "".join(each.get("html", "") for each in run_plainly(cases[:1], NAMES[:1])[NAMES[0]][0])
    assert "1 note came in the last 30 days, 1 note in the last year." in overview
    assert "The dates of 4 notes cannot be" in overview


def test_a_moment_just_after_the_build_began_is_that_of_the_build(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "soon", "later")
    now = datetime.now(UTC)
    with written(settings) as connection:
        for title, ahead in (("soon", timedelta(minutes=5)), ("later", timedelta(hours=2))):
            connection.execute("UPDATE note SET created_at = ? WHERE title = ?", ((now + ahead).isoformat(), title))
    marts.build(settings)
    con = reading.open_marts(str(settings.data_dir))
    told = con.sql("SELECT title, created_at = built_at FROM notes, mart ORDER BY title").fetchall()
    assert told == [("later", None), ("soon", True)]


def _cells(html: str) -> list[str]:
    return [part.partition("</td>")[0] for part in html.split("<td")[1:]]


# --- sentences and tables ---


def test_a_sentence_counts_and_escapes_what_is_put_into_it() -> None:
    say = texts.Speaker("en")
    assert say.html("", "{n:note} <b>of</b> {t}", n=1, t=EVIL).startswith("1 note <b>of</b> &lt;img")
    assert say.html("", "{n:note}, {m:entry/entries}", n=np.int64(1200), m=0) == "1,200 notes, 0 entries"
    assert say.html("", "{x:.1f} {when} {n:d}", x=1.25, when=datetime(2026, 11, 24, 8), n=7) == "1.2 2026-11-24 7"
    assert texts.Speaker("ja").text("{n} 件", "", n=1200) == "1,200 件"
    with pytest.raises(UsageError, match='"ja" or "en"'):
        texts.Speaker("fr")


def test_a_stretch_of_time_is_told_in_days_below_two_months() -> None:
    ja, en = texts.Speaker("ja"), texts.Speaker("en")
    assert [en.span(months) for months in (0.01, 1 / 30.44, 0.3, 1.99, 2, 14.4)] == [
        *("less than a day", "1 day", "9 days", "61 days", "2 months", "14 months")
    ]
    assert [ja.span(months) for months in (0.01, 0.3, 14.4)] == ["1 日足らず", "9 日", "14 か月"]


def test_a_table_holds_no_markup_of_a_note_and_shows_what_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "title": [EVIL, "a\u202eb\n c\x00", None, "x" * 99],
            "n": [1200, 0, 3, 4],
            "x": [0.5, float("nan"), 1, 2],
            "day": [date(2026, 11, 24), None, None, None],
            "is_ok": [True, False, True, True],
        }
    )
    shown = tables.table(frame, names={"title": "<b>", "n": "n", "x": "x", "day": "d", "is_ok": "ok"}, most=3)
    html = shown._repr_html_()
    _harmless(html)
    assert [cell.partition(">")[2] for cell in _cells(html)] == [
        *("&lt;img src=x onerror=&quot;document.title=1&quot;&gt;", "1,200", "0.50", "2026-11-24", "✓"),
        *("ab c", "0", "–", "–", "✗"),
        *("–", "3", "1.00", "–", "✓"),
    ]
    assert "&lt;b&gt;" in html
    assert "+1" in html
    assert "x" * 80 not in tables.table(frame)._repr_html_()


def test_full_width_letters_make_words_as_narrow_ones_do_and_half_width_kana_count_one_by_one() -> None:
    counted = {
        "ＡＢＣ１２ ｘｙ": 2,
        "ＡＢcéＤ": 1,
        "ＡＢc４日Ａ": 3,
        "ｶﾞｷ、。（）！": 2,
        "Abｱ ｱAb": 4,
        "\ufeffab\ufffd": 1,
        "Ａ": 1,
    }
    assert count_words(pa.array([*counted], pa.string())).to_pylist() == [*counted.values()]


# --- plots ---


def _drawn(text: str) -> None:
    style.setup("ja")
    fig, ax = style.figure(2, 1)
    ax.set_title(text)
    fig.savefig(io.BytesIO(), format="png")


def test_every_glyph_of_a_label_is_drawn() -> None:
    with pytest.warns(UserWarning, match="missing from font"):
        _drawn("\U0001f4a3 髙")
    for title in ("\U0001f4a3 髙 −1 é 한국어 \x07\u200b", r"$\frac{$", EVIL, "\ud800"):
        _drawn(style.shown(title))


def test_a_label_is_one_short_line() -> None:
    assert style.shown(" a\n\tb ") == "a b"
    assert style.shown("珈琲の淹れ方", 6) == "珈琲の…"
    assert style.shown(None) == ""
    assert style.shown("a\u202eb\x07\u200bc \ud800") == "abc "
    assert style.shown("か\u3099 e\u0301") == "が é"


# --- spaces ---


def test_a_notebook_of_one_space_sees_what_marts_of_that_space_alone_would_hold(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "mine [[x]] #a", "mine too")
    begun(tmp_path / "data", "theirs [[mine]] #b", space="guild:7")
    embed(settings)
    with written(settings) as connection:
        for spaces, who in (('["guild:7"]', "guild:7"), (None, "user:1"), ('["guild:7", "user:1"]', "user:1")):
            connection.execute(
                "INSERT INTO search_event (at, who, spaces, query, mode, hits, milliseconds, degraded) "
                "VALUES ('2026-11-01T00:00:00Z', ?, ?, 'q', 'hybrid', 0, 1, '')",
                (who, spaces),
            )
            connection.execute(
                "INSERT INTO question (at, spaces, text, mode, is_answered) "
                "VALUES ('2026-11-01T00:00:00Z', ?, 'q?', 'extract', 0)",
                (spaces,),
            )
    marts.build(settings)
    narrowed = reading.open_marts(str(settings.data_dir), space="guild:7")
    vectors = narrowed.sql(
        "SELECT DISTINCT view_name FROM duckdb_views() WHERE view_name LIKE 'embeddings%'"
    ).fetchall()
    views = [*(table.name for table in TABLES), *(name for (name,) in vectors), "chunk_vectors"]
    ours = {view: sorted(narrowed.sql(f"FROM {view}").fetchall(), key=str) for view in views}
    marts.build(settings, spaces={"guild:7"})
    theirs = {view: sorted(rows(settings, f"FROM {view}"), key=str) for view in views}
    assert any(view.startswith("embeddings_") for view in views)
    assert len(ours["embeddings"]) == len(ours["chunk_vectors"]) == 1
    assert len(ours["notes"]) == len(ours["questions"]) == 1
    # To a note of another space, a link of marts of one space leads nowhere.
    ours["links"], theirs["links"] = ([row[:4] for row in each["links"]] for each in (ours, theirs))
    assert ours == theirs


# --- nearness, topics, links ---


def _means(vectors: Any) -> nearness.NoteMeans:
    found = nearness.unit(np.array(vectors, np.float32))
    return nearness.NoteMeans(tuple(f"n{row}" for row in range(len(found))), found)


def test_near_pairs_are_those_of_a_matrix_of_all_against_all() -> None:
    means = _means(np.random.default_rng(0).standard_normal((600, 8)))
    pairs = nearness.near_pairs(means.vectors, at_least=0.8, neighbours=599)
    cosines = np.triu(means.vectors @ means.vectors.T, 1)
    first, second = np.nonzero(cosines >= 0.8)
    expected = set(zip(first.tolist(), second.tolist(), strict=True))
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert (np.diff(pairs.cosine) <= 0).all()
    both = means.vectors @ means.vectors.T - 2 * np.eye(600)
    assert np.allclose(nearness.nearest_cosines(means.vectors), both.max(axis=1), atol=1e-5)


def test_no_note_and_one_note_have_no_neighbours() -> None:
    for vectors in (np.zeros((0, 4), np.float32), np.ones((1, 4), np.float32)):
        assert len(nearness.near_pairs(vectors, at_least=-1)) == 0
        assert len(nearness.nearest_cosines(vectors)) == 0


def test_a_copy_is_as_near_as_can_be_and_not_nearer() -> None:
    """Rows of length 1 that are the same: rounding gives some of them a cosine of 1.0000001, beyond a histogram."""
    means = _means(np.repeat(np.random.default_rng(0).standard_normal((300, 64)), 2, axis=0))
    raw = (means.vectors * means.vectors).sum(axis=1)
    assert raw.max() > 1
    for nearest in (
        nearness.nearest_cosines(means.vectors),
        nearness.near_pairs(means.vectors, at_least=0.9).cosine,
        nearness.cosines(means.vectors, np.arange(0, 600, 2), np.arange(1, 600, 2)),
    ):
        assert nearest.max() == 1
        assert np.histogram(nearest, np.linspace(0.2, 1, 45))[0].sum() == len(nearest) >= 300


def test_the_same_notes_give_the_same_topics_named_by_their_own_words() -> None:
    random = np.random.default_rng(0)
    middles = np.eye(4, 32)
    vectors = nearness.unit(np.repeat(middles, 25, axis=0).astype(np.float32) + random.normal(0, 0.05, (100, 32)))
    words = ("珈琲 豆", "garden soil", "database index", "京都 紅葉")
    found = topics.topic_map(vectors, ["en"] * 100)
    again = topics.topic_map(vectors, ["en"] * 100)
    assert found is not None
    assert again is not None
    assert (found.topics == again.topics).all()
    assert (found.places == again.places).all()
    names = topics.topic_names(found, {row: f"note {words[row // 25]} {row}" for row in range(100)})
    for row in range(100):
        assert words[row // 25].split()[0] in names[found.topics[row]]
    sizes = np.bincount(found.topics)
    assert (np.diff(sizes) <= 0).all()
    assert topics.topic_names(found, {})[0] == "#1"
    assert topics.topic_map(vectors[:7], ["en"] * 7) is None


def test_languages_meet_on_the_map() -> None:
    """Two subjects, each in two languages that lie far apart: no topic is of one language alone."""
    random = np.random.default_rng(0)
    topic = np.repeat(np.eye(2, 32), 60, axis=0)
    language = np.tile(np.repeat(np.eye(2, 32, k=8), 30, axis=0), (2, 1)) * 3
    vectors = nearness.unit((topic + language + random.normal(0, 0.02, (120, 32))).astype(np.float32))
    languages = np.array([*["ja"] * 30, *["en"] * 30] * 2)
    found = topics.topic_map(vectors, languages.tolist())
    assert found is not None
    assert set(found.topics[:60].tolist()).isdisjoint(found.topics[60:].tolist())
    large = np.flatnonzero(np.bincount(found.topics) >= 10)
    assert len(large) > 1
    for number in large:
        assert 0 < (languages[found.topics == number] == "ja").mean() < 1


def test_bridges_and_links_worth_making_are_found() -> None:
    graph = nx.DiGraph([("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n2", "n4")])
    graph.add_node("n5")
    bridges = linking.bridges(graph, {"n1": 0, "n3": 1, "n4": 1})
    assert bridges.note_id.tolist() == ["n2", "n1"]
    assert bridges.topics.tolist() == [2, 0]
    # Of the six ways between two others of five notes, n2 is on five; n5 is on none and ends none.
    assert bridges.crossed.tolist() == pytest.approx([5 / 6, 3 / 6])
    assert bridges.holds.tolist() == [True, True]
    ring = linking.bridges(nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]), {})
    assert len(ring) == 5
    assert not ring.holds.any()
    assert linking.bridges(nx.DiGraph([(0, 1), (1, 2), (3, 4)]), {}).crossed.tolist() == pytest.approx([1 / 2])
    close = [[1, 0, 0], [1, 0.3, 0], [0, 1, 0], [0, 0, 1], [0, 0.1, 1], [0.9, 0, 0.5]]
    worth = linking.links_worth_making(graph, _means(close), 0.8)
    # n3 and n4 say the same; n0 and n1 are linked.
    assert list(worth[["first", "second", "joins"]].itertuples(index=False, name=None)) == [
        ("n0", "n5", True),
        ("n1", "n5", True),
    ]
    assert len(linking.bridges(nx.DiGraph(), {})) == 0
    assert set(linking.places(graph.to_undirected())) == set(graph)


def test_questions_are_told_apart_by_what_they_say_and_find_the_notes_they_ask_for(world: Settings) -> None:
    con = reading.open_marts(str(world.data_dir))
    questions = asking.questions(con)
    assert questions.text.tolist()[0] in ("解約金はいくら？", "解約金はいくら")
    assert questions[["times", "unanswered"]].iloc[0].tolist() == [2, 2]
    titles = dict(con.sql("SELECT note_id, title FROM notes").fetchall())
    asked = {titles[note]: times for note, times in asking.asked_for(con).itertuples(index=False)}
    assert asked["SQLite tips"] == 8  # its reviews
    assert asked["Leo's allergies"] == 1
    assert asked["Sourdough"] == 2
    gaps = asking.missing_words(con, questions[questions.unanswered > 0])
    assert gaps.word.tolist()[:2] == ["解約金", "kettle"]
    assert gaps.asked.tolist()[:2] == [3, 2]


def test_a_question_is_open_no_more_when_it_was_answered_the_last_time(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "a note")
    asked = (("Where is  the KEY?", 0), ("where is the key", 1), ("the lock?", 1), ("The lock", 0), ("a door", 0))
    with written(settings) as connection:
        for day, (text, is_answered) in enumerate(asked, 1):
            connection.execute(
                "INSERT INTO question (at, spaces, text, mode, is_answered) VALUES (?, NULL, ?, 'extract', ?)",
                (f"2026-10-{day:02}T00:00:00Z", text, is_answered),
            )
    marts.build(settings)
    questions = asking.questions(reading.open_marts(str(settings.data_dir)))
    told = questions[["text", "times", "unanswered", "is_open"]].to_numpy().tolist()
    assert told == [["Where is  the KEY?", 2, 1, False], ["the lock?", 2, 1, True], ["a door", 1, 1, True]]
    page = "".join(each.get("html", "") for each in run_plainly([(settings, "en", "")], NAMES[2:])[NAMES[2]][0])
    assert "2 questions found no note that answers" in page
    assert "KEY" not in page


def test_what_golden_queries_said_is_told_only_while_their_file_is_as_it_was(tmp_path: Path) -> None:
    settings = begun(tmp_path / "data", "Coffee beans are ground")
    file = tmp_path / "data" / golden.NAME
    asked = '{"id": "one", "query": "coffee", "expected": ["nowhere.md"]}\n'
    file.write_text(asked, encoding="utf-8")
    run = golden.ask(settings)
    assert run is not None
    assert asking.golden_words(run) == {"one": "coffee"}
    file.write_text(asked.replace("coffee", "tea"), encoding="utf-8")
    assert asking.golden_words(run) == {}
    file.write_text(asked + "not json\n", encoding="utf-8")
    assert asking.golden_words(run) == {}
    broken = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert asking.golden_words(replace(run, fingerprint=broken)) == {}  # it was broken while it was looked at
    marts.build(settings)
    shown = run_plainly([(settings, "en", "")], ("02_search_quality",))["02_search_quality"][0]
    assert "For 1 query the right note was not among the first ten" in json.dumps(shown)
    file.unlink()
    assert asking.golden_words(run) == {}


def test_a_copy_of_a_note_is_a_twin(world: Settings) -> None:
    con = reading.open_marts(str(world.data_dir))
    twins = nearness.twins(con, nearness.note_means(con), near=0.92, share=0.5)
    titles = dict(con.sql("SELECT note_id, title FROM notes").fetchall())
    assert [titles[note] for note in (*twins["first"], *twins["second"])] == ["Sourdough", "Sourdough"]
    [agree] = nearness.agreement(con, twins)
    assert agree is not None
    assert agree > 0.95


def test_a_whole_passage_in_common_makes_twins_without_any_vector(tmp_path: Path) -> None:
    same = "the very same words, and a good many of them"
    settings = begun(tmp_path / "data", same, same, "something else altogether")
    marts.build(settings)
    con = reading.open_marts(str(settings.data_dir))
    means = nearness.note_means(con)
    assert len(means) == 0
    twins = nearness.twins(con, means, near=0.92, share=0.5)
    assert twins[["passages", "share"]].to_numpy().tolist() == [[1, 1.0]]
    assert twins.cosine.isna().all()
