"""Fusion by hand-computed numbers, and its bounds on any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.fusion import Fusion, Scores, _line, convex, evidence, fused, imputed, min_max, rrf, standardised

FUSIONS: tuple[Fusion, ...] = ("rrf", "convex", "imputed")
CANDIDATES = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(0, 40)), st.floats(-1, 1), st.booleans()), min_size=1, max_size=30
)


def array(*values: float) -> Scores:
    return np.array(values, dtype=np.float64)


def test_a_cosine_counts_in_deviations_of_its_language() -> None:
    assert standardised(array(0.3, 0.3), array(0.1, 0.2), array(0.1, 0.05)).tolist() == pytest.approx([2, 2])
    assert np.isfinite(standardised(array(0.3), array(0.3), array(0))).all()


def test_min_max_reaches_from_0_to_1() -> None:
    assert min_max(array(2, 4, 3)).tolist() == [0, 1, 0.5]
    assert min_max(array(5, 5)).tolist() == [1, 1]
    assert min_max(array()).size == 0


def test_rrf_adds_the_reciprocal_ranks_of_both_lists() -> None:
    found = rrf(array(3, 0, 5), array(0.1, 0.9, 0.5))
    assert found.tolist() == pytest.approx([1 / 62 + 1 / 63, 1 / 61, 1 / 61 + 1 / 62])


def test_words_count_less_where_they_are_only_a_part_of_the_query() -> None:
    assert evidence(array(8, 8, 4, 0), np.array([True, False, True, False])).tolist() == pytest.approx(
        [1, 0.45, 0.5, 0]
    )
    assert evidence(array(0, 0), np.array([False, True])).tolist() == [0, 0]


def test_convex_weighs_scaled_scores() -> None:
    assert convex(array(0.5, 1, 0), array(1, 2, 3), 0.75).tolist() == pytest.approx([0.125, 0.75 / 2 + 0.25, 0.75])


def test_words_that_another_language_cannot_have_are_read_off_the_line() -> None:
    # In the query's language words = vector / 2 + 0.5, exactly; the last two are in another language.
    words, z = array(0.5, 0.6, 0.7, 0.8, 0.9, 1, 0, 1), array(0, 2, 4, 6, 8, 10, 5, 0)
    same = np.array([True] * 6 + [False] * 2)
    found = imputed(words, z, 0.7, same)
    assert found[6] == pytest.approx(0.7 * 0.5 + 0.3 * 0.75)
    # Never below what its words really score.
    assert found[7] == pytest.approx(0.3)
    assert found[:6].tolist() == pytest.approx(convex(words, z, 0.7)[:6].tolist())


def test_notes_without_the_words_bend_the_line_too() -> None:
    # Near and far notes alike hold nothing of the query: the words of two say little about all others.
    words, z = array(1, 0, 0, 0, 1, 0), array(10, 8, 6, 2, 0, 9)
    found = imputed(words, z, 0, np.array([True] * 5 + [False]))
    assert 0.3 < found[5] < 0.6


def test_too_few_notes_of_the_language_give_no_line() -> None:
    words, z, same = array(0.5, 0.6, 0.7, 0.8, 0), array(0, 1, 2, 3, 4), np.array([True] * 4 + [False])
    assert imputed(words, z, 0.7, same).tolist() == convex(words, z, 0.7).tolist()


def test_a_line_is_cut_off_at_1() -> None:
    words, z = array(0.2, 0.4, 0.6, 0.8, 1, 0), array(0, 1, 2, 3, 4, 8)
    found = imputed(words, z, 0.5, np.array([True] * 5 + [False]))
    assert found[5] == pytest.approx(1)


@given(candidates=CANDIDATES, alpha=st.floats(0, 1))
def test_scores_are_finite_and_weighted_ones_stay_between_0_and_1(
    candidates: list[tuple[float, float, bool]], alpha: float
) -> None:
    keyword, cosine, same = (np.array(column) for column in zip(*candidates, strict=True))
    for fusion in FUSIONS:
        found = fused(fusion, keyword, same, cosine, cosine * 3, alpha, same, ~same)
        assert found.shape == keyword.shape
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-9


@pytest.mark.parametrize("fusion", FUSIONS)
def test_without_words_the_vectors_decide(fusion: Fusion) -> None:
    cosine = array(0.2, 0.8, 0.5)
    same, certain = np.array([True, False, True]), np.array([False] * 3)
    found = fused(fusion, array(0, 0, 0), np.array([True] * 3), cosine, cosine, 0.7, same, certain)
    assert np.argsort(-found).tolist() == [1, 2, 0]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_single_candidate_and_equal_ones_are_no_trouble(fusion: Fusion) -> None:
    one, no = np.array([True]), np.array([False])
    assert fused(fusion, array(3), one, array(0.1), array(1), 0.7, one, no).size == 1
    words, same = np.full(8, 2.0), np.array([True] * 6 + [False] * 2)
    equal = fused(fusion, words, same, np.full(8, 0.1), np.full(8, 1.0), 0.7, same, np.array([False] * 8))
    assert np.isfinite(equal).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_better_in_both_is_better(fusion: Fusion) -> None:
    both = np.array([True, True])
    found = fused(fusion, array(9, 3), both, array(0.8, 0.2), array(3, 1), 0.7, both, ~both)
    assert found[0] > found[1]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_only_note_with_the_words_comes_first_while_it_waits_for_its_vector(fusion: Fusion) -> None:
    keyword, z = np.array([0.0] * 9 + [7.0]), np.array([*range(9, 0, -1), 1.0])
    has_words = keyword > 0
    same = np.array([True] * 10)
    found = fused(fusion, keyword, has_words, np.where(has_words, -2.0, z / 10), z, 0.7, same, has_words)
    assert found.argmax() == 9


@given(points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=5, max_size=60))
def test_the_line_is_that_of_least_squares(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    if np.ptp(x) > 1e-3:
        assert _line(x, y) == pytest.approx(tuple(np.polyfit(x, y, 1)), rel=1e-6, abs=1e-6)
