"""Keyword search against a scan of the text, and everything a person types."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.catalog.search import Filter, best_chunks, notes_holding
from nescord.errors import QueryError, UsageError
from nescord.notes import Scope
from nescord.query import parse_query
from nescord.words import normalise
from tests.vaults import open_base, paths_found, write_notes

# A small alphabet, so that what is looked for is often there: kanji (々 and one beyond the BMP among them), kana of
# both widths, voiced marks apart, variation selectors, digits, letters, punctuation.
ALPHABET = "検索設計会議第回々𠮷〇のをはカキーｶｷﾞﾊﾟか\u3099葛\ufe0039aB・。、 \nＡ３"
TEXTS = st.text(ALPHABET, min_size=1, max_size=60)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KnowledgeManager, dict[str, str]]]:
    """A base of 250 random notes, and path -> normalised title and body of each."""
    import random

    from nescord.markdown import parse

    rng = random.Random(20261124)
    root = tmp_path_factory.mktemp("scan") / "vault"
    notes = {f"n{number:03d}.md": "".join(rng.choices(ALPHABET, k=rng.randint(1, 400))) + "\n" for number in range(250)}
    write_notes(root, notes)
    with open_base(root.parent / "kb") as km:
        report = km.ingest(root)
        assert report.added == len(notes)
        texts = {}
        for path, text in notes.items():
            parsed = parse(text, path.removesuffix(".md"))
            texts[path] = f"{normalise(parsed.title)}\n{normalise(parsed.body)}"
        yield km, texts


def is_exact(query: str) -> bool:
    """One to three characters with CJK among them and nothing that parts words: found exactly."""
    normal = normalise(query)
    cjk = [unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA")) for character in normal]
    return 1 <= len(normal) <= 3 and any(cjk) and normal.isalnum()


@given(query=st.text(ALPHABET, min_size=1, max_size=4))
def test_one_to_three_japanese_characters_find_exactly_what_a_scan_finds(
    scanned: tuple[KnowledgeManager, dict[str, str]], query: str
) -> None:
    km, texts = scanned
    if not is_exact(query):
        return
    expected = sorted(path for path, text in texts.items() if normalise(query) in text)
    assert sorted(paths_found(km, query)) == expected


def test_every_short_query_over_the_alphabet_agrees_with_the_scan(
    scanned: tuple[KnowledgeManager, dict[str, str]],
) -> None:
    km, texts = scanned
    letters = [letter for letter in ALPHABET if normalise(letter).isalnum()]
    queries = [one + other for one in letters for other in letters] + letters
    wrong = []
    hits = 0
    for query in filter(is_exact, queries):
        expected = sorted(path for path, text in texts.items() if normalise(query) in text)
        hits += len(expected)
        if sorted(paths_found(km, query)) != expected:
            wrong.append(query)
    assert wrong == []
    assert hits > 5_000


@given(st.text())
def test_no_text_is_an_error_of_the_database(scanned: tuple[KnowledgeManager, dict[str, str]], query: str) -> None:
    km, _ = scanned
    try:
        km.search(query)
    except QueryError:
        assert ":" in query


@given(
    st.lists(st.sampled_from(['"', "-", "*", "(", ")", "NEAR", "OR", "AND", "NOT", "^", ":", "tag:", "検索", "a", "{"]))
)
def test_no_syntax_of_fts5_leaks_out_of_a_query(
    scanned: tuple[KnowledgeManager, dict[str, str]], words: list[str]
) -> None:
    km, _ = scanned
    km.search(" ".join(words))


@pytest.fixture
def base(tmp_path: Path) -> Iterator[KnowledgeManager]:
    write_notes(
        tmp_path / "vault",
        {
            "仕事/会議.md": "---\ntags: [work/meeting]\ncreated: 2026-03-05\n---\n# 第3回 定例会議\n\n"
            "検索の設計を決めた。次回は第13回ではない。\n",
            "仕事/設計.md": "---\ntags: work\ncreated: 2025-12-31\n---\n# 設計メモ\n\n"
            "全文検索はバイグラムで引く。データベースは一つ。\n",
            "Recipes/Bread.md": "---\ncreated: 2024-07-01\naliases: [Sourdough loaf]\n---\n# Bread\n\n"
            "Knead the dough, then let it rest overnight in the fridge.\n\n## Oven\n\n"
            "Bake at 230 degrees. Cafés do it hotter.\n",
            "Recipes/Soup.md": "# Soup\n\nNo bread, no dough: onions, and rest. #dinner\n",
            "node.md": "Install node.js and foo_bar with C++ tools. Resting is not running.\n",
        },
    )
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "vault")
        yield km


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("検索", {"仕事/会議.md", "仕事/設計.md"}),
        ("第3回", {"仕事/会議.md"}),
        ("3回", {"仕事/会議.md"}),
        ("1回", set()),
        ("データベース", {"仕事/設計.md"}),
        ("ﾃﾞｰﾀﾍﾞｰｽ", {"仕事/設計.md"}),
        ("knead", {"Recipes/Bread.md"}),
        ("baking", {"Recipes/Bread.md"}),
        ("cafe", {"Recipes/Bread.md"}),
        ("sourdough", {"Recipes/Bread.md"}),
        ('"rest overnight"', {"Recipes/Bread.md"}),
        ('"overnight rest"', set()),
        ("dough -knead", {"Recipes/Soup.md"}),
        ("dough -tag:dinner", {"Recipes/Bread.md"}),
        ("tag:work", {"仕事/会議.md", "仕事/設計.md"}),
        ("tag:work/meeting", {"仕事/会議.md"}),
        ("tag:#WORK 検索", {"仕事/会議.md", "仕事/設計.md"}),
        ("path:recipes dough", {"Recipes/Bread.md", "Recipes/Soup.md"}),
        ("path:仕事", {"仕事/会議.md", "仕事/設計.md"}),
        ("source:vault knead", {"Recipes/Bread.md"}),
        ("source:other knead", set()),
        ("after:2026 検索", {"仕事/会議.md"}),
        ("before:2026 検索", {"仕事/設計.md"}),
        ("after:2024-07-01 before:2024-07-02", {"Recipes/Bread.md"}),
        ("node.js", {"node.md"}),
        ("js.node", {"node.md"}),
        ("foo_bar", {"node.md"}),
        ("zebra", set()),
        ("象", set()),
        ("", set()),
        ("!!!", set()),
    ],
)
def test_a_query_finds_what_a_person_means(base: KnowledgeManager, query: str, expected: set[str]) -> None:
    assert set(paths_found(base, query)) == expected


def test_a_japanese_sentence_is_found_by_its_parts(base: KnowledgeManager) -> None:
    assert paths_found(base, "全文検索の仕組みはどう引くのか")[0] == "仕事/設計.md"


def test_a_compound_that_is_nowhere_as_it_stands_is_found_by_its_parts(base: KnowledgeManager) -> None:
    assert "仕事/会議.md" in paths_found(base, "検索設計")


def test_notes_with_every_word_come_before_notes_with_some(base: KnowledgeManager) -> None:
    found = paths_found(base, "dough fridge onions")
    assert set(found) == {"Recipes/Bread.md", "Recipes/Soup.md"}
    assert paths_found(base, "onions dough")[0] == "Recipes/Soup.md"


def test_a_word_in_the_title_counts_more(base: KnowledgeManager) -> None:
    assert paths_found(base, "bread") == ["Recipes/Bread.md", "Recipes/Soup.md"]


def test_filters_work_the_same_as_arguments(base: KnowledgeManager) -> None:
    assert [hit.path for hit in base.search("検索", tags=["work"], after="2026-01", before="2026-12-31")] == [
        "仕事/会議.md"
    ]
    assert base.search("検索", source="other") == base.search("検索", kind="fleeting") == []


def test_a_hit_carries_what_a_person_needs(base: KnowledgeManager, tmp_path: Path) -> None:
    (hit,) = base.search("overnight")
    assert (hit.title, hit.path, hit.heading) == ("Bread", "Recipes/Bread.md", "Bread")
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["overnight"]
    assert hit.link == (tmp_path / "vault" / "Recipes" / "Bread.md").as_uri()
    assert hit.created_at == "2024-06-30T15:00:00Z"
    assert hit.score > 0


def test_an_obsidian_vault_is_opened_in_obsidian(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {"日 本.md": "hello"})
    (tmp_path / "v" / ".obsidian").mkdir()
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        assert km.search("hello")[0].link.startswith("obsidian://open?path=%2F")
        assert km.search("hello")[0].link.endswith("%E6%97%A5%20%E6%9C%AC.md")


def test_equal_scores_keep_one_order(tmp_path: Path) -> None:
    write_notes(tmp_path / "v", {f"{number:02d}.md": "same words here" for number in range(40)})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        whole = paths_found(km, "same words")
        assert len(whole) == 40
        for limit in (1, 7, 39):
            assert paths_found(km, "same words", limit=limit) == whole[:limit]


def test_one_long_note_does_not_hide_the_others(tmp_path: Path) -> None:
    long = "\n\n".join(f"## Part {number}\n\nneedle {'hay ' * 150}" for number in range(120))
    write_notes(tmp_path / "v", {"long.md": long, "z.md": "a needle somewhere in quite a few more words than there"})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        assert sorted(paths_found(km, "needle", limit=2)) == ["long.md", "z.md"]


def test_an_unknown_mode_and_limit_are_refused(base: KnowledgeManager) -> None:
    with pytest.raises(UsageError, match='mode "psychic"'):
        base.search("x", mode="psychic")
    with pytest.raises(UsageError, match="limit 0"):
        base.search("x", limit=0)


def test_many_chunks_of_one_note_do_not_hide_the_others(tmp_path: Path) -> None:
    long = "\n\n".join(f"## Plum {number}\n\n{'plum jam ' * 90}" for number in range(150))
    write_notes(tmp_path / "v", {"long.md": long, **{f"{n}.md": f"a walk with plum number {n}" for n in range(4)}})
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        for query in ("plum", "plum source:v", "plum nowhere"):
            assert len(km.search(query, mode="keyword", limit=5)) == 5
            assert km.search(query, mode="keyword", limit=1)[0].path == "long.md"


@pytest.mark.parametrize("query", ["検索", "設計 検索", "会 設", "か OR は", "9 aB"])
@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_each_note_shows_its_best_chunk_and_comes_by_it(tmp_path: Path, query: str, limit: int) -> None:
    import random

    rng = random.Random(3)
    words = ("検索", "設計", "会議", "か", "は", "9", "aB", "plum")
    notes = {
        f"{number}.md": "\n\n".join(
            f"## {rng.choice(words)}\n\n{' '.join(rng.choices(words, k=40))} {'x' * 900}"
            for _ in range(rng.randint(1, 9))
        )
        for number in range(25)
    }
    write_notes(tmp_path / "v", notes)
    with open_base(tmp_path / "kb") as km:
        km.ingest(tmp_path / "v")
        parsed = parse_query(query, ZoneInfo("UTC"))
        expression = " OR ".join(term.match for term in parsed.terms)
        with km._base.verb() as catalog, catalog.read() as connection:
            best: dict[int, tuple[float, int]] = {}
            for chunk, note, rank in connection.execute(
                "SELECT chunk.id, note, rank FROM chunk_fts JOIN chunk ON chunk.id = chunk_fts.rowid "
                "WHERE chunk_fts MATCH ?",
                (expression,),
            ):
                best[note] = min(best.get(note, (0.0, 0)), (rank, chunk))
            expected = [(chunk, note) for note, (_, chunk) in sorted(best.items(), key=lambda one: one[1])]
            for scope in (Scope(), Scope(frozenset({"personal"}))):
                allowed = Filter(parsed, scope)
                found = best_chunks(connection, expression, allowed, limit)
                assert [(chunk.id, chunk.note) for chunk in found] == expected[:limit]
                holding = notes_holding(connection, expression, allowed, limit)
                assert holding == (set(best) if len(best) <= limit else None)
            assert best_chunks(connection, expression, Filter(parsed, Scope(frozenset({"nowhere"}))), limit) == []
