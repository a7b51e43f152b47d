"""Maintenance of the index: collections and folders that nobody uses go, and what may be at work is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from index_world import MODEL, PREFIX, World
from survival import settings

from nescord.catalog import vectors as vectors_sql
from nescord.embedding.service import EmbeddingService
from nescord.index import drain
from nescord.index.drain import KEPT_ROWS
from nescord.index.seal import Folder
from nescord.maintain import Step, index, maintain
from nescord.opened import OpenBase
from tests.hashing_embedder import HashingEmbedder
from tests.maintain_world import DAY, WORKER


def test_the_log_is_kept_as_far_as_a_collection_follows_it_and_no_further(tmp_path: Path) -> None:
    rows = 3 * KEPT_ROWS
    with World(tmp_path / "data", vector="exact") as world, based(world) as base:
        with world.catalog.write() as connection:
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO index_log (op, chunk, language_group) SELECT 'delete', i, 'other' FROM n",
                (rows,),
            )
            live = vectors_sql.Collection("live", world.model, "other", "e", "live", rows - KEPT_ROWS - 5000)
            vectors_sql.put_collection(connection, live)
            other = vectors_sql.add_model(connection, "another model")
            vectors_sql.put_collection(connection, replace(live, name="left", model=other, applied_seq=7))
        world.settings = settings(world.folder.path)  # Chroma is used
        base.settings = world.settings
        steps = {step.name: step for step in maintain(base, dry_run=True).steps}
        assert (steps["old collections"].before, steps["old collections"].after) == (2, 1)
        with world.catalog.write() as connection:
            vectors_sql.drop_collection(connection, "left")
        step = {step.name: step for step in maintain(base).steps}["index log"]
        assert (step.before, step.after) == (rows, KEPT_ROWS + 5000)
        with world.catalog.write() as connection:
            vectors_sql.drop_collection(connection, "live")
        step = {step.name: step for step in maintain(base).steps}["index log"]
        assert (step.before, step.after) == (KEPT_ROWS + 5000, KEPT_ROWS)


@contextmanager
def based(world: World, model: str = MODEL) -> Iterator[OpenBase]:
    """The world as what maintenance works on."""
    (world.folder.path / "identity.json").write_text(
        f'{{"uuid": "{uuid4()}", "first_seen": "2026-01-01T00:00:00+00:00", "boots": 0, "deployments": [], '
        '"last_counts": {}}'
    )
    base = OpenBase(world.folder, world.settings, is_new=False)
    embedder = HashingEmbedder()
    embedder.model_key = model
    base.meaning.models.own = EmbeddingService(embedder)
    try:
        yield base
    finally:
        base.close()


def step_of(base: OpenBase, name: str) -> Step:
    report = maintain(base)
    assert report.ok, report.failed
    return next(step for step in report.steps if step.name == name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        world.add(120)
        world.add(20, group="ja")
        world.drain()
        yield world


def sealed(world: World) -> Folder:
    return Folder(world.folder.chroma, world.folder.run)


def test_folders_of_no_collection_go_and_the_index_stays_right_and_sealed(world: World) -> None:
    mine = {path.name for path in world.folder.chroma.iterdir()}
    stray, no_segment = world.folder.chroma / str(uuid4()), world.folder.chroma / "somebody's"
    for folder in (stray, no_segment):
        folder.mkdir()
        (folder / "header.bin").write_bytes(b"x" * 5000)
    sealed(world).put_seal()
    with based(world) as base:
        step = step_of(base, "index folder")
    assert step.before is not None
    assert step.after == step.before - 5000
    assert {path.name for path in world.folder.chroma.iterdir()} == mine | {"somebody's"}
    assert sealed(world).is_sealed()
    with world.open() as service:
        assert not service.is_in_doubt
        world.assert_right(service)


def test_what_a_rebuild_leaves_of_replaced_collections_goes(world: World) -> None:
    before = index.bytes_in(world.folder.chroma)
    for _ in range(2):
        with world.open() as service:
            drain.rebuild(world.catalog, service, MODEL, prefix=PREFIX)
    with based(world) as base:
        step = step_of(base, "index folder")
    assert step.before is not None
    assert step.after is not None
    assert step.after < step.before
    assert len([path for path in world.folder.chroma.iterdir() if path.is_dir()]) == 2
    assert step.after < 2 * before
    with world.open() as service:
        world.assert_right(service)


@pytest.mark.parametrize("way", ["unsealed", "open elsewhere", "locked", "not closed in order"])
def test_a_folder_that_may_be_at_work_or_in_doubt_is_left_alone(world: World, way: str) -> None:
    stray = world.folder.chroma / str(uuid4())
    stray.mkdir()
    (stray / "header.bin").write_bytes(b"x")
    if way == "not closed in order":
        (world.folder.chroma / "chroma.sqlite3-journal").write_bytes(b"journal")
    if way != "unsealed":
        sealed(world).put_seal()
    with based(world) as base:
        if way == "open elsewhere":
            with subprocess.Popen(
                [sys.executable, "-c", "import sys; f = open(sys.argv[1]); print(1, flush=True); sys.stdin.read()",
                 str(world.folder.chroma / "chroma.sqlite3")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            ) as reader:  # fmt: skip
                assert reader.stdout is not None
                reader.stdout.readline()
                remark = step_of(base, "index folder").remark
                reader.communicate()
        elif way == "locked":
            held = "import sys; from tests.index_world import World; from pathlib import Path\n"
            held += "from nescord.locks import LockName\nwith World(Path(sys.argv[1])) as w, "
            held += "w.locks.exclusive(LockName.INDEX):\n    print(1, flush=True); sys.stdin.read()"
            with subprocess.Popen(
                [sys.executable, "-c", held, str(world.folder.path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=WORKER.parent.parent,
            ) as holder:  # fmt: skip
                assert holder.stdout is not None
                holder.stdout.readline()
                remark = step_of(base, "index folder").remark
                holder.communicate()
        else:
            remark = step_of(base, "index folder").remark
    assert remark
    assert stray.is_dir()


def test_collections_of_a_model_that_is_no_longer_used_go_once_they_are_far_behind(world: World) -> None:
    another = "test|another|16|similarity|1"
    with world.catalog.write() as connection:
        other = vectors_sql.add_model(connection, another)
        connection.execute("INSERT INTO embedding SELECT NULL, ?, text_hash, vector FROM embedding", (other,))
        connection.execute("INSERT INTO meta VALUES ('live_model', ?)", (another,))

    def of_the_first() -> list[str]:
        with world.catalog.read() as connection:
            return [row.name for row in vectors_sql.collections(connection) if row.model == world.model]

    with based(world, another) as base:
        step_of(base, "old collections")
        assert len(of_the_first()) == 2  # it may be come back to
        with world.catalog.write() as connection:
            connection.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO index_log (op, chunk, language_group) SELECT 'add', 999999, 'other' FROM n",
                (KEPT_ROWS + 10,),
            )
        step_of(base, "old collections")
        assert not of_the_first()
        assert step_of(base, "index log").after == KEPT_ROWS
    world.drain()  # the first model is used again
    with world.open() as service:
        for group, ids in world.truth().items():
            (name,) = [name for name in of_the_first() if f"-{group}-" in name]
            assert service.ids(name) == ids


def test_a_step_that_fails_is_reported_and_the_others_are_made(world: World) -> None:
    sqlite = world.folder.chroma / "chroma.sqlite3"
    sqlite.write_bytes(b"no database at all " * 300)
    sealed(world).put_seal()
    bad = world.folder.chroma.with_name("chroma.bad")
    bad.mkdir()
    with based(world) as base:
        report = maintain(base, now=datetime.now(UTC) + 8 * DAY)
    assert not report
    (failed,) = report.failed
    assert failed.name == "index folder"
    assert "NotADBError" in failed.error
    assert not bad.exists()
    assert report.steps[-1].name == "free disk"
