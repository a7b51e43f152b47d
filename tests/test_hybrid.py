"""Search by meaning and by both: what may be found against a model in Python, the order, and what is said when not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import KnowledgeManager, hybrid
from nescord.embedding import Vectors
from nescord.errors import UsageError
from tests.hashing_embedder import REFUSED, HashingEmbedder
from tests.vaults import open_base, write_notes

MODES = ("vector", "hybrid")
ENGLISH = ("bread", "garden", "plum", "meeting", "river", "winter", "music", "kettle")
JAPANESE = ("梅干し", "会議", "検索設計", "雪かき", "音楽会", "湯たんぽ")


@dataclass(frozen=True)
class Written:
    """A note as the model in Python knows it."""

    path: str
    source: str
    space: str
    words: tuple[str, ...]
    tag: str
    year: int
    is_japanese: bool

    @property
    def text(self) -> str:
        body = "、".join(self.words) if self.is_japanese else " and ".join(self.words)
        begin = "これはメモです。" if self.is_japanese else "This is a note of the day with "
        return f"---\ntags: [{self.tag}]\ncreated: {self.year}-06-01\n---\n{begin}{body}\n"


def random_notes(rng: random.Random, count: int) -> list[Written]:
    notes = []
    for number in range(count):
        is_japanese = rng.random() < 0.4
        source, space = rng.choice((("home", "personal"), ("club", "guild:1")))
        words = tuple(rng.sample(JAPANESE if is_japanese else ENGLISH, 3))
        folder, tag = rng.choice(("a", "b")), rng.choice(("work", "work/deep", "play"))
        path = f"{folder}/n{number:03d}.md"
        notes.append(Written(path, source, space, words, tag, rng.choice((2024, 2025, 2026)), is_japanese))
    return notes


def ingest(folder: Path, notes: list[Written]) -> KnowledgeManager:
    for source, space in (("home", "personal"), ("club", "guild:1")):
        write_notes(folder / source, {note.path: note.text for note in notes if note.source == source})
        with open_base(folder / "kb", embedder=HashingEmbedder(), vector="exact", vault_space=space) as km:
            km.ingest(folder / source)
    return open_base(folder / "kb", embedder=HashingEmbedder(), vector="exact")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KnowledgeManager, list[Written]]]:
    notes = random_notes(random.Random(5), 60)
    with ingest(tmp_path_factory.mktemp("hybrid"), notes) as km:
        yield km, notes


FILTERS: dict[str, Callable[[Written], bool]] = {
    "": lambda note: True,
    "tag:work": lambda note: note.tag.startswith("work"),
    "-tag:work": lambda note: note.tag == "play",
    "tag:work/deep": lambda note: note.tag == "work/deep",
    "path:a/": lambda note: note.path.startswith("a/"),
    "source:club": lambda note: note.source == "club",
    "after:2025": lambda note: note.year >= 2025,
    "before:2026": lambda note: note.year < 2026,
    "-plum": lambda note: "plum" not in note.words,
    "-梅干し": lambda note: "梅干し" not in note.words,
    '"river"': lambda note: "river" in note.words,
    '"雪かき"': lambda note: "雪かき" in note.words,
    "tag:nowhere": lambda note: False,
}


@given(
    chosen=st.lists(st.sampled_from(sorted(FILTERS)), max_size=3, unique=True),
    words=st.lists(st.sampled_from((*ENGLISH, *JAPANESE)), min_size=1, max_size=2),
    mode=st.sampled_from(MODES),
    scope=st.sampled_from((None, "personal", "guild:1", "user:9")),
    same_language=st.booleans(),
)
def test_exactly_the_notes_that_pass_every_filter_are_found(
    base: tuple[KnowledgeManager, list[Written]],
    chosen: list[str],
    words: list[str],
    mode: str,
    scope: str | None,
    same_language: bool,
) -> None:
    km, notes = base
    view = km if scope is None else km.scoped([scope])
    hits = view.search(" ".join([*words, *chosen]), mode=mode, limit=1000, same_language=same_language)
    quoted = [one for one in chosen if one.startswith('"')]
    is_japanese = any(word in JAPANESE for word in words) or any("雪" in one for one in quoted)
    expected = {
        (note.source, note.path)
        for note in notes
        if all(FILTERS[one](note) for one in chosen)
        and (scope is None or note.space == scope)
        and (not same_language or note.is_japanese == is_japanese)
    }
    found = [(hit.source, hit.path) for hit in hits]
    # By meaning everything is somehow near: with room enough, whatever may appear does, once.
    assert sorted(found) == sorted(expected)
    assert (hits.mode, hits.index_kind, hits.degraded) == (mode, "exact", ())


def exact_order(km: KnowledgeManager, query: str) -> list[str]:
    """Paths by the exact z-score of each note's best chunk."""
    vector = HashingEmbedder().embed_query(query)
    with km._base.verb() as catalog, catalog.read() as connection:
        rows = connection.execute(
            "SELECT note.path, note.lang, embedding.vector FROM chunk JOIN note ON note.key = chunk.note "
            "JOIN embedding ON embedding.text_hash = chunk.text_hash ORDER BY chunk.id"
        ).fetchall()
    cosines = np.array([np.frombuffer(blob, "<f4") for _, _, blob in rows]) @ vector
    z: dict[str, float] = {}
    for is_japanese in (True, False):
        at = [i for i, row in enumerate(rows) if (row[1] == "ja") == is_japanese]
        mean, std = cosines[at].mean(), cosines[at].std()
        for i in at:
            z[rows[i][0]] = max(z.get(rows[i][0], -99), (cosines[i] - mean) / std)
    return sorted(z, key=lambda path: -round(z[path], 4))


@pytest.mark.parametrize("query", ["plum garden", "梅干しの会議", "a river in winter"])
@pytest.mark.parametrize("limit", [1, 5, 60])
def test_by_meaning_notes_come_in_the_order_of_their_standardised_cosines(
    base: tuple[KnowledgeManager, list[Written]], query: str, limit: int
) -> None:
    km, _ = base
    hits = km.search(query, mode="vector", limit=limit)
    expected = exact_order(km, query)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert [hit.path for hit in hits] == expected[:limit]


def test_a_filter_does_not_drop_the_other_language(base: tuple[KnowledgeManager, list[Written]]) -> None:
    km, _ = base
    everything = [hit.path for hit in km.search("plum garden", mode="vector", limit=60)]
    filtered = [hit.path for hit in km.search("plum garden before:2030", mode="vector", limit=60)]
    assert filtered == everything


def test_a_filter_does_not_drop_what_is_outstanding_in_the_other_language(tmp_path: Path) -> None:
    # Nearer than any Japanese note are more English ones than are looked at; but among them nothing stands out.
    english = {f"en{number}.md": f"plum jam and plum jam, number {number}" for number in range(80)}
    japanese = {f"ja{number}.md": f"今日は雨が降って{number}時まで寝ていました。" for number in range(30)}
    write_notes(tmp_path / "v", english | japanese | {"plum.md": "plum jamを作った日のメモです。今日は晴れ。"})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        for query in ("plum jam", "plum jam source:v"):
            assert km.search(query, mode="vector", limit=3)[0].path == "plum.md"


@pytest.mark.parametrize("mode", MODES)
def test_a_minimum_leaves_out_what_is_farther(base: tuple[KnowledgeManager, list[Written]], mode: str) -> None:
    km, _ = base
    everything = km.search("plum garden", mode=mode, limit=60)
    for minimum in (-1.0, 0.2, 0.4, 1.0):
        expected = {hit.path for hit in everything if hit.vector_score >= minimum}
        assert {hit.path for hit in km.search("plum garden", mode=mode, limit=60, minimum=minimum)} == expected
    with pytest.raises(UsageError, match=r"minimum 1\.5"):
        km.search("plum", mode=mode, minimum=1.5)
    with pytest.raises(UsageError, match="which words alone have not"):
        km.search("plum", mode="keyword", minimum=0.5)


def test_same_language_counts_for_words_alone_too(base: tuple[KnowledgeManager, list[Written]]) -> None:
    km, _ = base
    km.capture("梅干し and plum in one English note of the day, with some more words for it")
    assert km.search("梅干し", mode="keyword", limit=100, same_language=True)
    assert {hit.lang for hit in km.search("梅干し", mode="keyword", limit=100, same_language=True)} == {"ja"}
    assert "en" in {hit.lang for hit in km.search("梅干し", mode="keyword", limit=100)}


def test_what_a_scope_hides_is_neither_found_nor_related(base: tuple[KnowledgeManager, list[Written]]) -> None:
    km, notes = base
    club = km.scoped(["guild:1"])
    allowed = {note.path for note in notes if note.space == "guild:1"}
    for note in sorted(allowed)[:5]:
        found = club.related(note, limit=1000)
        assert {hit.path for hit in found} == allowed - {note}
    assert len(km.related(sorted(allowed)[0], limit=1000)) > len(allowed)
    assert club.answer("plum garden").citations
    assert {citation.path for citation in club.answer("plum garden").citations} <= allowed


def test_related_notes_are_the_nearest_and_never_the_note_itself(tmp_path: Path) -> None:
    write_notes(
        tmp_path / "v",
        {
            "plums.md": "How to dry plums in the sun for three days.",
            "plums again.md": "How to dry plums in the sun for four days.",
            "tax.md": "Return the form to the office before March.",
        },
    )
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        assert [hit.path for hit in km.related("plums.md")] == ["plums again.md", "tax.md"]
        assert [hit.path for hit in km.related("plums.md", limit=1)] == ["plums again.md"]
        with pytest.raises(UsageError, match="limit 0"):
            km.related("plums.md", limit=0)


@pytest.mark.parametrize("mode", MODES)
def test_deleted_and_edited_notes_are_gone_at_once(tmp_path: Path, mode: str) -> None:
    write_notes(tmp_path / "v", {"a.md": "plum jam", "b.md": "river walk"})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        assert km.search("plum jam", mode=mode)[0].path == "a.md"
        (tmp_path / "v" / "b.md").unlink()
        write_notes(tmp_path / "v", {"a.md": "kettle on the stove"})
        # Another process stores it: this one has an old matrix, and follows.
        with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as other:
            other.ingest(tmp_path / "v")
        hits = km.search("plum jam", mode=mode)
        assert [(hit.path, hit.snippet) for hit in hits] == [("a.md", "kettle on the stove")]


@pytest.mark.parametrize("mode", MODES)
def test_one_long_note_does_not_hide_the_others(tmp_path: Path, mode: str) -> None:
    long = "\n\n".join(f"## Plum {number}\n\nplum jam {'plum jam ' * 90}" for number in range(120))
    others = {f"{number}.md": f"a quiet walk along river number {number}" for number in range(4)}
    write_notes(tmp_path / "v", {"long.md": long, **others})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        for query in ("plum jam", "plum jam source:v"):
            assert {hit.path for hit in km.search(query, mode=mode, limit=5)} == {"long.md", *others}


@pytest.mark.parametrize("mode", MODES)
def test_filters_that_leave_many_notes_find_them_behind_nearer_ones(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the allowed chunks were too many to be scored one by one; all that is nearest is filtered out.
    monkeypatch.setattr("nescord.hybrid.FEW_CHUNKS", 3)
    far = {f"far/{number}.md": f"a quiet walk along river number {number}" for number in range(8)}
    write_notes(tmp_path / "v", far | {f"near/{number}.md": f"plum jam, plum jam {number}" for number in range(90)})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        assert {hit.path for hit in km.search("plum jam path:far", mode=mode, limit=8)} == set(far)


def test_a_short_japanese_word_with_a_number_is_not_taken_for_another(tmp_path: Path) -> None:
    write_notes(
        tmp_path / "v",
        {"third.md": "第3回の会議のまとめです。" + "話をした。" * 20, "others.md": "次回、毎回、前回、今回。回る。"},
    )
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        scores = {hit.path: hit.keyword_score for hit in km.search("3回")}
        assert scores["third.md"] > 0
        assert scores["others.md"] == 0


def test_without_a_model_words_answer_and_it_is_said(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {"a.md": "plum jam", "b.md": "river"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        for mode in MODES:
            hits = km.search("plum", mode=mode)
            assert [hit.path for hit in hits] == ["a.md"]
            assert hits.mode == "keyword"
            assert hits.index_kind == ""
            assert len(hits.degraded) == 1
            assert hits.degraded[0].startswith("vector: ")
        related = km.related("a.md")
        assert related == []
        assert related.degraded[0].startswith("vector: ")
        assert km.search("plum", mode="keyword").degraded == ()


def test_before_anything_is_embedded_words_answer_and_it_is_said(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {"a.md": "plum jam"})
    with open_base(tmp_path / "kb", vector="exact") as km:
        km.ingest(tmp_path / "v")
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        hits = km.search("plum")
        assert [hit.path for hit in hits] == ["a.md"]
        assert "nothing is embedded yet" in hits.degraded[0]
        assert "nothing is embedded yet" in km.related("a.md").degraded[0]


def test_a_note_that_waits_for_its_vector_is_found_by_its_words_and_disturbs_no_other(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {f"{word}.md": f"{word} and some {word}" for word in ENGLISH})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        before = {hit.path: hit.score for hit in km.search("plum kettle") if hit.keyword_score == 0}
        waiting = km.capture("zebra and plum")
        hits = km.search("plum kettle")
        (hit,) = [hit for hit in hits if hit.note_id == waiting.id]
        assert hit.vector_score == 0
        assert hit.keyword_score > 0
        assert hits.degraded == ("vector: some notes wait to be embedded (nescord ingest)",)
        assert {hit.path: hit.score for hit in hits if hit.path in before} == pytest.approx(before, abs=1e-4)
        assert waiting.id not in {hit.note_id for hit in km.search("plum kettle", mode="vector")}
        assert waiting.id not in {hit.note_id for hit in km.search("plum kettle", minimum=-1.0)}
        km.catch_up()
        assert km.search("plum kettle").degraded == ()
        assert waiting.id in {hit.note_id for hit in km.search("plum kettle", mode="vector")}


@pytest.mark.parametrize("fusion", ["rrf", "convex", "imputed"])
def test_a_note_kept_just_now_is_the_first_that_its_own_word_finds(tmp_path: Path, fusion: str) -> None:
    write_notes(tmp_path / "v", {f"{word}.md": f"{word} and some {word}" for word in ENGLISH})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact", fusion=fusion) as km:
        km.ingest(tmp_path / "v")
        waiting = km.capture("the parcel has the number zq00017x on it")
        assert km.search("zq00017x", limit=1)[0].note_id == waiting.id


class _Mishearing(HashingEmbedder):
    """A model that knows nothing of numbers, and takes each query for one about music."""

    def embed_query(self, text: str) -> Vectors:
        return super().embed_query("music and some music")


@pytest.mark.parametrize("fusion", ["convex", "imputed"])
def test_words_that_hardly_any_note_has_find_it_whatever_the_vectors_say(tmp_path: Path, fusion: str) -> None:
    write_notes(tmp_path / "v", {f"{word}.md": f"{word} and some {word}" for word in ENGLISH})
    for number in range(hybrid.RARE):
        write_notes(tmp_path / "v", {f"parcel {number}.md": f"the parcel {number} has the number zq00017x on it"})
    with open_base(tmp_path / "kb", embedder=_Mishearing(), vector="exact", fusion=fusion) as km:
        km.ingest(tmp_path / "v")
        first = km.search("zq00017x", limit=hybrid.RARE)
        assert {hit.path for hit in first} == {f"parcel {number}.md" for number in range(hybrid.RARE)}
        assert all(hit.vector_score < km.search("zq00017x", mode="vector", limit=1)[0].vector_score for hit in first)


def test_a_query_that_the_model_refuses_is_answered_by_words(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {"a.md": "plum jam"})
    with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as km:
        km.ingest(tmp_path / "v")
        hits = km.search(f"plum {REFUSED}")
        assert [hit.path for hit in hits] == ["a.md"]
        assert "refuses" in hits.degraded[0]


@pytest.mark.parametrize("fusion", ["rrf", "convex", "imputed"])
def test_every_fusion_answers(base: tuple[KnowledgeManager, list[Written]], fusion: str) -> None:
    km, _ = base
    with open_base(km.folder.path, embedder=HashingEmbedder(), vector="exact", fusion=fusion) as other:
        hits = other.search("plum garden", limit=5)
        assert len(hits) == 5
        assert {"plum", "garden"} & set(hits[0].snippet.split())


def test_a_query_of_filters_only_lists_what_passes_in_any_mode(base: tuple[KnowledgeManager, list[Written]]) -> None:
    km, notes = base
    for mode in MODES:
        found = {hit.path for hit in km.search("tag:work source:home", mode=mode, limit=1000)}
        assert found == {note.path for note in notes if note.tag.startswith("work") and note.source == "home"}


def test_a_warm_search_sees_what_another_process_stores_edits_trashes_and_brings_back(tmp_path: Path) -> None:
    vault = tmp_path / "v"
    write_notes(vault, {f"{word}.md": f"{word} and some {word}" for word in ENGLISH} | {"ja.md": "梅干しと会議の話。"})
    with (
        open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as warm,
        open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as writer,
    ):
        writer.ingest(vault)

        def check(*, there: set[str], gone: set[str]) -> None:
            with open_base(tmp_path / "kb", embedder=HashingEmbedder(), vector="exact") as cold:
                for mode in MODES:
                    for query in ("plum jam", "会議", "river source:v", "plum -kettle", "lantern"):
                        views = [(warm, cold), *((warm.scoped([one]), cold.scoped([one])) for one in ("personal", "x"))]
                        for ours, expected in views:
                            hits = list(ours.search(query, mode=mode, limit=50))
                            assert hits == list(expected.search(query, mode=mode, limit=50))
                    found = {hit.path for hit in warm.search("plum jam", mode=mode, limit=50)}
                    assert found >= there
                    assert not found & gone

        everything = {f"{word}.md" for word in ENGLISH} | {"ja.md"}
        check(there=everything, gone=set())
        note = writer.capture("a lantern by the river")
        check(there=everything, gone=set())
        writer.catch_up()
        check(there=everything | {note.path}, gone=set())
        # A note that becomes Japanese, one that is edited, one whose file is gone.
        write_notes(vault, {"plum.md": "梅干しと湯たんぽの話です。", "river.md": "a long walk\n\n# Two\n\nplum jam"})
        (vault / "kettle.md").unlink()
        writer.ingest(vault)
        check(there=everything - {"kettle.md"}, gone={"kettle.md"})
        (trashed,) = writer.trash()
        writer.restore_note(trashed.note_id)
        writer.catch_up()
        check(there=everything, gone=set())
        writer.remove_source("v")
        check(there={note.path, "kettle.md"}, gone=everything - {"kettle.md"})
