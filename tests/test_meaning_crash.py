"""kill -9 during embed, drain and rebuild, in series on one knowledge base: nothing lost, nothing embedded twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import vault as vaults
from nescord import KnowledgeManager, Settings, embed
from nescord.catalog import vectors as sql
from nescord.embedding.service import EmbeddingService
from nescord.index.service import open_service
from tests.hashing_embedder import DIMS, HashingEmbedder
from tests.vaults import REPOSITORY

_KILLS = 300 if os.environ.get("NESCORD_SOAK") == "1" else 4
_CHECKED_EVERY = 10
_BATCH = 16


def start(data: Path, vault: Path, log: Path, verb: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.meaning_worker", str(data), str(vault), str(log), verb]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def finish(data: Path, vault: Path, log: Path) -> tuple[dict[str, object], float]:
    """A run that is left alone: what it says, and how long it was at work, in seconds."""
    with start(data, vault, log, "ingest") as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        begun = time.perf_counter()
        out, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0
    return json.loads(out.splitlines()[-1]), time.perf_counter() - begun


def assert_whole(data: Path) -> None:
    """Every chunk has its vector, and every collection holds these and no others, and gives them all."""
    settings = Settings(data_dir=data, embedder="local")
    with KnowledgeManager.open(settings) as km:
        km._base.meaning.models.own = EmbeddingService(HashingEmbedder())
        status = km.meaning()
        assert (status.pending, status.behind) == (0, 0)
        with km._base.verb() as catalog, catalog.read() as connection:
            model = km._base.meaning.model(connection)
            assert model is not None
            live = [known for known in sql.collections(connection) if known.state == "live"]
            expected = {
                group: {chunk for chunk, _, _ in sql.all_vectors(connection, model, group)}
                for group in sql.LANGUAGE_GROUPS
            }
            chunks = connection.execute("SELECT count(*) FROM chunk").get
            assert sum(map(len, expected.values())) == chunks
            assert connection.pragma("integrity_check") == "ok"
        with open_service(settings, km.folder, km._base.locks) as chroma:
            for known in live:
                group = expected[known.language_group]
                assert chroma.ids(known.name) == group
                if group:
                    found = chroma.query(known.name, np.eye(1, DIMS, dtype=np.float32)[0], len(group))
                    assert {chunk for chunk, _ in found} == group


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_kill_9_during_embed_drain_and_rebuild_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("NESCORD_SEED", random.randrange(2**32)))
    rng = random.Random(seed)
    print(f"\nkill -9 while vectors are made: NESCORD_SEED={seed}")
    data, vault, log = tmp_path / "kb", tmp_path / "vault", tmp_path / "embedded"
    vaults.generate(vault, 100, seed=rng.randrange(1000))
    landed, broken = 0, 0
    finish(data, vault, log)
    vaults.edit(vault, 0.3, seed=rng.randrange(10**6))
    _, work = finish(data, vault, log)
    for number in range(1, _KILLS + 1):
        vaults.edit(vault, 0.3, seed=rng.randrange(10**6))
        with start(data, vault, log, rng.choice(("ingest", "ingest", "rebuild"))) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.9 * work)
            worker.send_signal(signal.SIGKILL)
            landed += worker.stdout.read() == ""
        if number % _CHECKED_EVERY == 0 or number == _KILLS:
            said, _ = finish(data, vault, log)
            broken += bool(said["found"])
            assert said["pending"] == 0
            assert_whole(data)
    asked = Counter(log.read_text().split())
    twice = sum(asked.values()) - len(asked)
    print(
        f"{_KILLS} kills, {landed} of them mid-run; {len(asked)} texts embedded, {twice} of them again; the index was "
        f"found broken {broken} times and built anew; at the end all is whole"
    )
    assert landed >= _KILLS / 2
    assert twice <= landed * _BATCH
    assert embed.BATCH_TEXTS >= _BATCH
