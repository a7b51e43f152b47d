"""ChromaDBService says the same over a folder and over a server, and leaves nothing open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chroma_server import ChromaServer
from index_world import random_vectors, unlike

from nescord.errors import ServiceUnavailableError
from nescord.index.chroma import ChromaDBService
from nescord.index.embedded import EmbeddedStore
from nescord.index.http import HttpStore
from nescord.index.store import MissingCollectionError, Store

_NAME = "notes-other"


@pytest.fixture(params=["folder", "server"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    with ExitStack() as resources:
        if request.param == "folder":
            yield lambda: EmbeddedStore(tmp_path / "chroma")
        else:
            server = resources.enter_context(ChromaServer(tmp_path / "server"))
            yield lambda: HttpStore(server.url)


def test_rows_are_added_found_and_deleted(connect: Callable[[], Store]) -> None:
    vectors = random_vectors(2500)
    rows = {number: vector.tobytes() for number, vector in enumerate(vectors, 1)}
    with ChromaDBService(connect()) as service:
        service.ensure_collection(_NAME, 16, model_key="m", language_group="other", epoch="e")
        service.add(_NAME, rows)
        hits = service.query(_NAME, vectors[41], 5)
        assert hits[0][0] == 42
        assert hits[0][1] == pytest.approx(1)
        exact = vectors @ vectors[41]
        assert [score for _, score in hits] == pytest.approx(sorted(exact, reverse=True)[:5], abs=1e-5)
        assert service.delete(_NAME, [1, 2, 99_999]) == 2
    with ChromaDBService(connect()) as service:
        assert service.count(_NAME) == 2498
        assert service.ids(_NAME) == set(range(3, 2501))
        assert len(service.all_found(_NAME, 16)) == service.count(_NAME)
        assert service.lost_canaries(_NAME, {7: rows[7], 1: rows[1]}) == [1]
        assert service.collections() == {_NAME: {"dims": 16, "model_key": "m", "language_group": "other", "epoch": "e"}}
        service.drop(_NAME)
        service.drop(_NAME)
        assert service.collections() == {}
        with pytest.raises(MissingCollectionError):
            service.count(_NAME)


def test_a_row_that_is_there_keeps_its_vector(connect: Callable[[], Store]) -> None:
    old, new = random_vectors(2)
    with ChromaDBService(connect()) as service:
        service.ensure_collection(_NAME, 16, model_key="m", language_group="other", epoch="e")
        service.add(_NAME, {1: old.tobytes()})
        service.add(_NAME, {1: new.tobytes()})
        assert service.query(_NAME, old, 1)[0][1] == pytest.approx(1)


def test_equal_texts_do_not_look_like_lost_canaries(tmp_path: Path) -> None:
    vector = random_vectors(1)[0].tobytes()
    with ChromaDBService(EmbeddedStore(tmp_path / "chroma")) as service:
        service.ensure_collection(_NAME, 16, model_key="m", language_group="other", epoch="e")
        service.add(_NAME, dict.fromkeys(range(1, 40), vector))
        assert service.lost_canaries(_NAME, {30: vector}) == []


def test_chunks_that_are_like_no_other_are_found(tmp_path: Path) -> None:
    vectors = unlike(2000, 64)
    rows = {number: vector.tobytes() for number, vector in enumerate(vectors)}
    with ChromaDBService(EmbeddedStore(tmp_path / "chroma")) as service:
        service.ensure_collection(_NAME, 64, model_key="m", language_group="other", epoch="e")
        service.add(_NAME, rows)
        missed = set(rows) - service.all_found(_NAME, 64)
        # With Chroma's own number of neighbours about 60, which is more than verify takes for sound.
        assert len(service.lost_canaries(_NAME, {number: rows[number] for number in missed})) <= 20


def test_a_closed_folder_has_no_file_open(tmp_path: Path) -> None:
    with ChromaDBService(EmbeddedStore(tmp_path / "chroma")) as service:
        service.ensure_collection(_NAME, 16, model_key="m", language_group="other", epoch="e")
        service.add(_NAME, {1: random_vectors(1)[0].tobytes()})
    files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
             if os.path.exists(f"/proc/self/fd/{name}")]  # fmt: skip
    assert not [file for file in files if file.startswith(str(tmp_path / "chroma"))]


def test_what_is_not_a_server_is_named() -> None:
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:9 does not answer"):
        HttpStore("http://127.0.0.1:9")


def test_asking_a_server_imports_no_chromadb() -> None:
    program = (
        "import nescord.index.service, nescord.index.http, nescord.index.drain, sys; print('chromadb' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=Path(__file__).parent.parent) == b"False\n"
