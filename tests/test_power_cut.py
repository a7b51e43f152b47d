"""Whatever write of an ingest or a capture goes wrong, and whenever the power is cut: nothing acknowledged is lost.

The real code runs over a VFS that breaks its k-th write (tests/faults/vfs.py), or one that records every write, from
which the images are made that a power cut may leave on the disk (tests/faults/powercut.py). The sample: a new
knowledge base, a vault ingested and a note captured; then both again after the vault has changed.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager, ingest
from nescord.errors import NescordError
from nescord.ingest import IngestOptions, Progress
from tests.faults.powercut import Recorder
from tests.faults.vfs import MODES, FailingVFS, Mode
from tests.survival import (
    DATABASE,
    SOAK,
    Promises,
    Sample,
    StoredNote,
    digests,
    index_words,
    new_rng,
    settings,
    stored,
    untouched,
)

NOTES = 25


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a vault of 25 notes takes several transactions, as one of thousands does."""
    monkeypatch.setattr(ingest, "BATCH_NOTES", 6)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample.grown(tmp_path_factory.mktemp("sample"), NOTES, seed=7)


@dataclass(frozen=True, slots=True)
class Fresh:
    """The notes of a knowledge base and the words of its index, by the path of the note and the number of the chunk."""

    notes: dict[str, StoredNote]
    words: dict[str, int]


@pytest.fixture(scope="module")
def fresh(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """What a knowledge base holds that has never seen the vault but as it is in the end."""
    folder = tmp_path_factory.mktemp("fresh")
    Sample.put(folder / "vault", sample.after)
    with KnowledgeManager.open(settings(folder / "data")) as km:
        km.ingest(folder / "vault")
    return Fresh(stored(folder / "data" / DATABASE).notes, index_words(folder / "data" / DATABASE))


def work(
    data: Path,
    vault: Path,
    sample: Sample,
    promises: Promises,
    *,
    vfs: str | None = None,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """The sample run. What is acknowledged goes into `promises` at once, and then `tell` is called."""
    for number, files in enumerate((sample.before, sample.after)):
        Sample.put(vault, files)
        now = digests(vault)
        with untouched(vault), KnowledgeManager.open(settings(data), vfs=vfs) as km:
            found = km.plan(vault)
            paths = [file.path for file in found.scan.fresh]

            def committed(at: Progress, paths: list[str] = paths, now: dict[str, bytes] = now) -> None:
                promises.notes |= {path: now[path] for path in paths[: at.done]}
                tell()

            km.commit(found, IngestOptions(progress=committed))
            promises.finished(now)
            tell()
            for word in (f"capture{number}", f"控え{number}号"):
                note = km.capture(f"{word} to keep")
                promises.captures[note.path] = word
                tell()


def check(data: Path, promises: Promises, sample: Sample, vault: Path) -> None:
    """Opens, is whole, holds what was promised, which search finds; the vault stands as in the end."""
    with KnowledgeManager.open(settings(data)) as km:
        found = stored(data / DATABASE)
        assert promises.lost(found, digests(vault)) == []
        for path, word in promises.captures.items():
            assert [hit.path for hit in km.search(word)] == [path]


def complete(data: Path, vault: Path, promises: Promises, fresh: Fresh) -> None:
    """The next ingest goes through and comes to what a first one would."""
    with KnowledgeManager.open_existing(settings(data)) as km:
        report = km.ingest(vault)
    assert (report.failed, report.withheld) == (0, 0)
    found = stored(data / DATABASE)
    assert found.notes == fresh.notes
    assert index_words(data / DATABASE).items() >= fresh.words.items()
    assert promises.captures.keys() <= found.captures.keys()


# Ids are random, so one run writes a few pages more or less than another: its last writes need not come.
LAST_WRITES = 10


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_whatever_write_fails_the_knowledge_base_opens_whole_and_the_next_ingest_completes(
    mode: Mode, sample: Sample, fresh: Fresh, tmp_path: Path
) -> None:
    rng = new_rng(f"failing writes, {mode}")
    vault = tmp_path / "vault"
    counting = FailingVFS("counting")
    work(tmp_path / "counted", vault, sample, Promises(), vfs="counting")
    counting.unregister()
    struck: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    promised: Counter[str] = Counter()
    for k in instants(counting.writes, rng):
        data = tmp_path / "data"
        vfs = FailingVFS("failing", fail_at=k, mode=mode, seed=rng.randrange(1000))
        promises = Promises(moved=dict(sample.moved))
        try:
            work(data, vault, sample, promises, vfs="failing")
            errors["none"] += 1
        except NescordError as error:
            errors[type(error).__name__] += 1
        if not vfs.happened and k > counting.writes - LAST_WRITES:
            vfs.unregister()
            shutil.rmtree(data)
            continue
        assert vfs.happened, f"write {k} of {counting.writes} never came"
        assert open_files(data) == [], f"{vfs.what}: files stay open"
        struck[vfs.what.split()[0]] += 1
        vfs.unregister()
        promised["nothing" if not promises.notes else "notes" if not promises.captures else "captures"] += 1
        Sample.put(vault, sample.after)
        with untouched(vault):
            check(data, promises, sample, vault)
            complete(data, vault, promises, fresh)
        shutil.rmtree(data)
    print(
        f"{mode}: {counting.writes} writes, {struck.total()} of them struck: {dict(struck)}; "
        f"promised by then: {dict(promised)}; errors: {dict(errors)}"
    )
    assert promised.keys() == {"nothing", "notes", "captures"}


def instants(total: int, rng: random.Random) -> range:
    share = 1 if SOAK else max(1, total // 25)
    return range(1 + rng.randrange(share), total + 1, share)


def open_files(folder: Path) -> list[str]:
    """What this process has open below a folder."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.append(str(entry.readlink()))
    return [name for name in names if name.startswith(f"{folder}/")]


@pytest.mark.parametrize("mode", ["fail", "full"])
def test_after_one_failed_write_the_same_knowledge_base_goes_on(mode: Mode, sample: Sample, tmp_path: Path) -> None:
    vault, data = tmp_path / "vault", tmp_path / "data"
    Sample.put(vault, sample.before)
    vfs = FailingVFS("failing", mode=mode)
    promises = Promises(moved=dict(sample.moved))
    refused = 0
    with KnowledgeManager.open(settings(data), vfs="failing") as km:
        for k in range(1, 60):
            vfs.what, vfs.fail_at = "", vfs.writes + k
            try:
                note = km.capture(f"word{k}")
            except NescordError:
                assert vfs.happened
                refused += 1
                if "nescordbot.db-wal" in vfs.what:
                    assert km.search(f"word{k}") == []
                    note = km.capture(f"word{k}")
                else:
                    # A checkpoint, behind a commit that stands: SQLite keeps that it failed to itself, APSW raises what
                    # a file system in Python has raised.
                    assert "nescordbot.db" in vfs.what
                    (hit,) = km.search(f"word{k}")
                    note = km.note(hit.note_id)
            promises.captures[note.path] = f"word{k}"
            vfs.what, vfs.fail_at = "", vfs.writes + k
            with suppress(NescordError):
                Sample.put(vault, sample.after if k % 2 else sample.before)
                km.ingest(vault)
            vfs.fail_at = 0
        km.ingest(vault)
        promises.finished(digests(vault))
    vfs.unregister()
    assert refused > 10
    check(data, promises, sample, vault)


def test_a_power_cut_loses_nothing_that_was_acknowledged(sample: Sample, fresh: Fresh, tmp_path: Path) -> None:
    rng = new_rng("power cut")
    cuts = Cuts.recorded(tmp_path, sample)
    images = completed = 0
    for data, promises in cuts.images(rng, every=1 if SOAK else 15):
        with untouched(cuts.vault):
            check(data, promises, sample, cuts.vault)
            images += 1
            if images % 5 == 0 or SOAK:
                complete(data, cuts.vault, promises, fresh)
                completed += 1
    print(f"{cuts.recorder.operations} operations, {images} images, {completed} ingested again: nothing lost")
    assert images > 40


def test_the_simulator_sees_what_is_lost_when_nothing_is_synced(sample: Sample, tmp_path: Path) -> None:
    rng = new_rng("power cut, synchronous=OFF")
    with synchronous_off():
        cuts = Cuts.recorded(tmp_path, sample)
    losses: Counter[str] = Counter()
    for data, promises in cuts.images(rng, every=1 if SOAK else 5):
        try:
            check(data, promises, sample, cuts.vault)
            losses["nothing"] += 1
        except AssertionError:
            losses["lost"] += 1
        except (apsw.Error, NescordError):
            losses["not whole"] += 1
    print(f"synchronous=OFF: {dict(losses)}")
    assert losses["lost"] + losses["not whole"] > 0


@contextmanager
def synchronous_off() -> Iterator[None]:
    """Every connection that is opened meanwhile leaves syncing to the kernel, whatever it is told."""

    def deaf(action: int, name: str | None, value: str | None, _: str | None, __: str | None) -> int:
        return apsw.SQLITE_IGNORE if (action, name) == (apsw.SQLITE_PRAGMA, "synchronous") and value else apsw.SQLITE_OK

    def hook(connection: apsw.Connection) -> None:
        connection.pragma("synchronous", 0)
        connection.authorizer = deaf

    apsw.connection_hooks.append(hook)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(hook)


@dataclass(slots=True)
class Cuts:
    """The sample run, recorded; after each acknowledgement a mark with the number of what was promised by then."""

    folder: Path
    recorder: Recorder = field(default_factory=Recorder)
    promised: list[Promises] = field(default_factory=list)

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @classmethod
    def recorded(cls, folder: Path, sample: Sample) -> Cuts:
        cuts = cls(folder)
        promises = Promises(moved=dict(sample.moved))

        def mark() -> None:
            cuts.recorder.mark(len(cuts.promised))
            cuts.promised.append(promises.copy())

        vfs = cuts.recorder.vfs("recording")
        work(folder / "recorded", cuts.vault, sample, promises, vfs="recording", tell=mark)
        vfs.unregister()
        return cuts

    def images(self, rng: random.Random, every: int) -> Iterator[tuple[Path, Promises]]:
        """Data folders as they may be found after a cut, with what had been promised.

        The identity is synced before the database is made, and says that it was made before anything is promised.
        """
        identity = (self.folder / "recorded" / "identity.json").read_text("utf-8")
        assert '"is_begun": true' in identity
        for image in self.recorder.images(rng, every=every, subsets=3):
            data = self.folder / "cut"
            image.write_to(data)
            numbers = [mark for mark in image.marks if isinstance(mark, int)]
            begun = identity if numbers else identity.replace('"is_begun": true', '"is_begun": false')
            (data / "identity.json").write_text(begun, "utf-8")
            yield data, self.promised[numbers[-1]] if numbers else Promises()
            shutil.rmtree(data)
