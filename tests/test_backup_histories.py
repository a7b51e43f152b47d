"""Random histories of edits, backups, deletions, rot and checks: what is called good restores as it was."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nescord.backup.check import check
from nescord.backup.create import create
from nescord.errors import BackupError
from nescord.locks import LockName
from tests.backup_world import copy_of, database_of, flip, opened, sha256, store_of, vault_of
from tests.survival import SOAK

NUMBERS = strategies.integers(min_value=0, max_value=2**32)
FILES = strategies.sampled_from(["packs/*.pack", "packs/*.idx", "snapshots/*.json.zst", "snapshots/*.status.json"])


class Histories(RuleBasedStateMachine):
    """A small base, and of each snapshot the hash of the database that was there when it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="nescord-histories-"))
        self.data = self.folder / "data"
        self.km = opened(self.data)
        self.truth: dict[str, str] = {}
        self.is_suspect = False
        self.words = 0

    def teardown(self) -> None:
        self.km.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self.km.ingest(vault_of(self.folder / "vault", 20))
        self.back_up()

    @rule(count=strategies.integers(min_value=1, max_value=3))
    def edit(self, count: int) -> None:
        for _ in range(count):
            self.words += 1
            self.km.capture(f"{self.words} 鍵は引き出しの中 " + "garden " * self.words)

    @rule()
    def back_up(self) -> None:
        made = create(self.km._base).id
        assert made not in self.truth
        copy = copy_of(self.km, self.folder / "copy.db")
        self.truth[made] = sha256(copy)
        copy.unlink()
        # Whatever had rotted before: what was made just now is right.
        assert store_of(self.data).snapshot(made).is_good
        assert self.read(made)

    @precondition(lambda self: len(self.truth) > 1)
    @rule(number=NUMBERS)
    def drop(self, number: int) -> None:
        wanted = sorted(self.truth)[number % len(self.truth)]
        with self.km._base.locks.exclusive(LockName.BACKUPS):
            store_of(self.data).drop(wanted)
            store_of(self.data).sweep()
        del self.truth[wanted]

    @rule(pattern=FILES, number=NUMBERS)
    def rot(self, pattern: str, number: int) -> None:
        files = [path for path in sorted((self.data / "backups").glob(pattern)) if path.stat().st_size]
        if files:
            flip(files[number % len(files)], random.Random(number))
            self.is_suspect = True

    @rule()
    def check(self) -> None:
        with self.km._base.locks.shared(LockName.BACKUPS):
            found = {each.id: each.ok for each in check(store_of(self.data))}
        assert found.keys() == self.truth.keys()
        for each, is_ok in found.items():
            assert store_of(self.data).snapshot(each).is_good == is_ok
        self.is_suspect = False

    @invariant()
    def what_is_read_is_what_was_there_and_what_is_good_can_be_read(self) -> None:
        assert store_of(self.data).ids() == sorted(self.truth)
        for snapshot in store_of(self.data).snapshots():
            assert self.read(snapshot.id) or self.is_suspect or not snapshot.is_good

    def read(self, wanted: str) -> bool:
        """Whether a snapshot can be read; never anything else than what was there."""
        try:
            found = sha256(database_of(self.data, wanted, self.folder / "restored.db"))
        except BackupError:
            return False
        assert found == self.truth[wanted], f"wrong data was returned for {wanted}"
        return True


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=300 if SOAK else 8, stateful_step_count=40 if SOAK else 15)
