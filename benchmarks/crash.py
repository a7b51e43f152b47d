"""Crash soak: everything that writes, killed at random moments for minutes, and nothing that was acknowledged may go.

    python -m benchmarks.crash --minutes 20 [--seed 7] [--kills 500] [--notes 300]

Two processes ingest a vault that keeps changing, capture, back up, check, prune, restore, bring single notes back and
verify, in random order, on one knowledge base; one of them is killed (-9) at a random moment of what it does and
started again, so that the next one finds what it left. Every so often both are stopped and everything is looked at:
the database, each backup that is listed good, and every note that was ever acknowledged. Exit code 1 on any loss.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw

from benchmarks import vault as vaults
from benchmarks.crash_ledger import Ledger, Restoring, Totals, unsound
from benchmarks.crash_look import CAPTURED, captures_in, differing, edit, epoch_of
from benchmarks.crash_victim import HANGS, Victim
from nescord import KnowledgeManager, Settings
from nescord.backup.retention import PRE_RESTORE
from nescord.backup.store import BackupStore
from nescord.errors import DamagedBackupError, NescordError
from nescord.home import DataFolder
from nescord.ingest import IngestOptions
from nescord.locks import LockName, Locks

WORKERS = 2
_WEIGHTS = {
    "capture": 24, "ingest": 14, "create": 18, "check": 6, "prune": 10, "restore": 8, "note restore": 7, "verify": 5,
}  # fmt: skip
"""How often each phase is chosen, beside the others."""
_KILLED = {"open": 0.25}
"""The share of phases that are killed, or would be if they did not end first; 0.6 where nothing is said."""
_CAPTURES = 6
_SPELL = 15.0
"""Seconds between two looks at everything; so many after a restore that was killed, for somebody to finish it."""
_AFTER_A_CUT_RESTORE = 1.5
_DECIDED = 0.05
"""Seconds within which a restore that was decided on is killed, when that is aimed at."""
_UNDER_ITS_HANDS = ("vanished between the scan and the read", "changed while it was read")


class Soak:
    """One soak in one folder: the vault and whoever edits it, the processes, and what they owe."""

    def __init__(self, scratch: Path, *, seed: int, notes: int) -> None:
        self.vault, self.data, self._errors = scratch / "vault", scratch / "data", scratch / "errors.txt"
        self.settings = Settings(data_dir=self.data, embedder="none")
        self.ledger = Ledger(scratch / "acknowledged.jsonl")
        self.totals = Totals()
        self._rng = random.Random(f"crash {seed}")
        self._numbers = iter(range(1 << 62))
        self._typical = dict.fromkeys((*_WEIGHTS, "open", "recover"), 0.2)
        self._begun: dict[str, int] = {}
        self._restoring: Restoring | None = None
        self._bodies: dict[str, dict[str, str]] = {}
        self._spell_ends = 0.0
        vaults.generate(self.vault, notes, seed)
        with KnowledgeManager.open(self.settings) as km:
            km.ingest(self.vault)
            self.epoch = epoch_of(km)
        self.ledger.origins[self.epoch] = ""
        self._folder = DataFolder.find(self.settings)
        self._store = BackupStore(self._folder.backups)

    async def run(self, minutes: float, kills: int | None) -> None:
        """Go on until the time is over or so many kills have landed, and look at everything now and then."""
        ends = time.monotonic() + 60 * minutes

        def is_over() -> bool:
            return time.monotonic() >= ends or (kills is not None and sum(self.totals.kills.values()) >= kills)

        while not is_over() and not self.totals.has_lost:
            self._spell_ends = min(ends, time.monotonic() + _SPELL)
            await asyncio.gather(*(self._live(is_over) for _ in range(WORKERS)))
            self.look()

    async def _live(self, is_over: Callable[[], bool]) -> None:
        """Keep one worker at work, a new one whenever it was killed, until the spell ends."""
        victim: Victim | None = None
        while time.monotonic() < self._spell_ends and not is_over():
            if victim is None:
                victim = await Victim.start(self.data, self.vault, self._errors)
                order: dict[str, Any] = {"do": "open"}
            else:
                order = self._order()
            if not await self._phase(victim, order):
                victim = None
        if victim is None:
            return
        if self._rng.random() < 0.5:
            victim.kill()  # idle, with all its files open
            await victim.gone()
        elif code := await victim.leave():
            self.totals.problems.append(f"a worker left with exit code {code}: see {self._errors}")

    async def _phase(self, victim: Victim, order: dict[str, Any]) -> bool:
        """One phase from its order to its end or to the kill; whether the worker still lives."""
        name = order["do"]
        if name == "open" and self._folder.restore_journal.exists():
            name = "recover"
        victim.tell(order)
        begun = await victim.heard()
        if begun is None:
            return await self._died(victim, name)
        began = time.monotonic()
        self.totals.phases[name] += 1
        if name == "create":
            self._begun[order["trigger"]] = begun["at"]
        if name == "restore":
            self._restoring = Restoring(order["id"], self.epoch, begun["at"])
        listening = asyncio.create_task(self._listen(victim, order))
        due = asyncio.create_task(self._due(name))
        await asyncio.wait((listening, due), timeout=HANGS, return_when=asyncio.FIRST_COMPLETED)
        is_due, is_over = due.done(), listening.done()
        due.cancel()
        if not is_over:
            victim.kill()  # and hear what it had still said
        ended = await listening
        if is_over:
            if not ended:
                return await self._died(victim, name)
            self._typical[name] += (time.monotonic() - began - self._typical[name]) / 5
            return True
        if not is_due:
            self.totals.problems.append(f"{name} did not end within {HANGS:g} s")
        await victim.gone()
        if ended:
            self.totals.late_kills += 1
            return False
        self.totals.kills[name] += 1
        self._typical[name] = max(self._typical[name], time.monotonic() - began)
        if name == "restore" and self._restoring is not None:
            self._cut_restore(self._restoring)
        return False

    async def _listen(self, victim: Victim, order: dict[str, Any]) -> bool:
        """Until the phase is over; false when the worker has died before."""
        while (said := await victim.heard()) is not None:
            if self._hear(said, order):
                return True
        return False

    async def _due(self, name: str) -> None:
        """Wait until the worker is to be killed in this phase; for ever, if it is not."""
        if self._rng.random() >= _KILLED.get(name, 0.6):
            await asyncio.Event().wait()
        # A little beyond what the phase takes, else its last steps, which commit it, would hardly ever be met.
        delay = self._rng.uniform(0, 1.15 * self._typical[name])
        if name == "restore" and self._rng.random() < 0.5:
            # The few milliseconds in which a restore is decided on and not finished are met on purpose.
            while not self._folder.restore_journal.exists():
                await asyncio.sleep(0.001)
            delay = self._rng.uniform(0, _DECIDED)
        await asyncio.sleep(delay)

    async def _died(self, victim: Victim, name: str) -> bool:
        victim.kill()
        await victim.gone()
        self.totals.problems.append(f"a worker died by itself in {name}: see {self._errors}")
        self._spell_ends = 0.0
        return False

    def _cut_restore(self, restoring: Restoring) -> None:
        decided = self._folder.restore_journal.exists()
        self._restoring = Restoring(restoring.snapshot, restoring.epoch, restoring.at, True, decided)
        # Whoever comes next finishes it, or is killed over it; then it must be known which life this is.
        self._spell_ends = min(self._spell_ends, time.monotonic() + _AFTER_A_CUT_RESTORE)

    def _hear(self, said: dict[str, Any], order: dict[str, Any]) -> bool:
        """Take note of what a worker says; whether its phase is over."""
        if "captured" in said:
            self.ledger.acknowledge(said)
            return False
        if "refused" in said:
            self._refused(said, order)
            return True
        match said["done"]:
            case "restore":
                self._restored(said)
            case "check":
                self.totals.unreadable += [f"check: {found}" for found in said["bad"]]
            case "verify":
                self.totals.alarms += said["failed"]
            case "ingest":
                # Files that are renamed between walk and reading fail, and are there at the next walk.
                self.totals.failed_notes += said["failed"]
                other = [reason for reason in said["reasons"] if not reason.startswith(_UNDER_ITS_HANDS)]
                self.totals.problems += [f"ingest: {reason}" for reason in other]
        return True

    def _refused(self, said: dict[str, Any], order: dict[str, Any]) -> None:
        name, error = said["refused"], said["error"]
        self.totals.refused[f"{name}: {error}"] += 1
        # Pruned since it was chosen; killed before it could say that it was back; not backed up yet; restored just now.
        gone = error == "BackupError" and order.get("id", "") not in self._store.ids() and name in ("restore", "check")
        is_back = error == "UsageError" and name == "note restore" and order["date"] is None
        is_new = error == "NotFoundError" and name == "note restore" and order["date"] is not None
        is_paused = error == "UsageError" and name == "ingest"
        if not (gone or is_back or is_new or is_paused):
            where = self.totals.losses if name == "note restore" else self.totals.problems
            where.append(f"{name} {order}: {error}: {said['message']}")
        if name == "restore":  # nothing has changed; but what it had backed up is to be known
            self._spell_ends = 0.0

    def _restored(self, said: dict[str, Any]) -> None:
        assert self._restoring is not None
        self.totals.restores["done"] += 1
        self._new_life(self._restoring, said["epoch"], said["before"])
        self._restoring = None

    def _new_life(self, restoring: Restoring, epoch: str, before: str) -> None:
        if before:
            self.ledger.taken[before] = (restoring.epoch, math.inf)
        else:
            self.totals.problems.append(f"nothing was backed up before the restore of {restoring.snapshot}")
        self.ledger.origins[epoch] = restoring.snapshot
        self.epoch = epoch

    def _order(self) -> dict[str, Any]:
        """What to do next."""
        weights = {name: weight for name, weight in _WEIGHTS.items() if name != "restore" or self._restoring is None}
        name = self._rng.choices(list(weights), list(weights.values()))[0]
        order: dict[str, Any] = {"do": name}
        match name:
            case "ingest":
                edit(self.vault, self._rng, self._numbers)
            case "capture":
                order["texts"] = [self._text() for _ in range(_CAPTURES)]
            case "create":
                order["trigger"] = f"soak {next(self._numbers)}"
            case "prune":
                order["keep"] = self._rng.randint(1, 6)
            case "check" | "restore":
                if not (good := self._good_snapshots()):
                    return {"do": "create", "trigger": f"soak {next(self._numbers)}"}
                order["id"] = self._rng.choice(sorted(good))
                order["ids"] = [order["id"]] if self._rng.random() < 0.7 else None
                if name == "restore":
                    # From here on, so that the other worker is not told to restore, too.
                    self._restoring = Restoring(order["id"], self.epoch)
            case "note restore":
                return self._note_order()
        return order

    def _note_order(self) -> dict[str, Any]:
        if self._restoring is None:
            gone = sorted(self.ledger.notes.keys() - self.ledger.owed(self.epoch))
            if gone and self._rng.random() < 0.7:
                note = self._rng.choice(gone)
                return {"do": "note restore", "note": note, "date": None, "text": self.ledger.notes[note]}
        if not self.ledger.notes:
            return {"do": "capture", "texts": [self._text()]}
        note = self._rng.choice(sorted(self.ledger.notes))
        today = datetime.now(ZoneInfo(self.settings.timezone)).strftime("%Y-%m-%d")
        return {"do": "note restore", "note": note, "date": today, "text": self.ledger.notes[note]}

    def _text(self) -> str:
        return f"captured {next(self._numbers)} 鍵となる言葉 {self._rng.getrandbits(64):016x}"

    def _good_snapshots(self) -> list[str]:
        """The good ones; what each of them owes is known afterwards. Not while a restore is unsettled."""
        with Locks(self._folder.run, timeout=HANGS).shared(LockName.BACKUPS):
            snapshots = self._store.snapshots()
        good = []
        for each in snapshots:
            if each.manifest is None:
                self.totals.unreadable.append(f"{each.id}: {each.problem}")
                continue
            trigger = each.manifest.trigger
            if each.id not in self.ledger.taken and trigger in self._begun:
                self.ledger.taken[each.id] = (each.manifest.epoch, self._begun[trigger])
            if each.status.state == "bad":
                self.totals.unreadable.append(f"{each.id}: {each.status.reason}")
            if each.is_good and each.id in self.ledger.taken:
                good.append(each.id)
        return good

    def look(self) -> None:
        """Nobody works: hold everything that is there against everything that is owed."""
        self.totals.looks += 1
        try:
            with KnowledgeManager.open_existing(self.settings) as km:
                self._settle(km)
                somewhere = self._look_at_the_database()
                somewhere |= self._look_at_the_backups()
                nowhere = self.ledger.missing(set(self.ledger.notes), somewhere)
                self.totals.losses += [f"{note} is nowhere any more" for note in nowhere]
                self._look_at_the_vault(km)
        except (NescordError, apsw.Error, UnicodeDecodeError) as error:
            self.totals.losses.append(f"the knowledge base cannot be read: {type(error).__name__}: {error}")

    def _settle(self, km: KnowledgeManager) -> None:
        """Find out whether a restore that was cut short has come to be, and which snapshots restores have made."""
        restoring, epoch = self._restoring, epoch_of(km)
        if restoring is None:
            if epoch != self.epoch:
                self.totals.losses.append(f"nothing was restored, and the epoch is {epoch} instead of {self.epoch}")
            return
        self._restoring = None
        new = [
            each.id
            for each in self._store.snapshots()
            if each.manifest and each.manifest.trigger == PRE_RESTORE and each.id not in self.ledger.taken
        ]
        happened = epoch != restoring.epoch
        if happened:
            self._new_life(restoring, epoch, new[-1] if new else "")
            new = new[:-1]
        for snapshot in new:
            self.ledger.taken[snapshot] = (restoring.epoch, restoring.at)
        if restoring.is_decided and not happened:
            self.totals.losses.append(f"the restore of {restoring.snapshot} was decided on and did not happen")
        if restoring.is_cut:
            done = "killed, finished by recover" if restoring.is_decided else "killed when it had happened"
            self.totals.restores[done if happened else "killed before it was decided"] += 1

    def _look_at_the_database(self) -> dict[str, str]:
        with closing(apsw.Connection(str(self._folder.database))) as connection:
            self.totals.losses += [f"the database: {found}" for found in unsound(connection)]
            bodies = dict(connection.execute(CAPTURED))
        lost = self.ledger.missing(self.ledger.owed(self.epoch), bodies)
        self.totals.losses += [f"{note} is not in the database (epoch {self.epoch})" for note in lost]
        return bodies

    def _look_at_the_backups(self) -> dict[str, str]:
        """Read back every one that is listed good; the text of all captures in them."""
        bodies: dict[str, str] = {}
        good = self._good_snapshots()
        self._bodies = {each: self._bodies[each] for each in good if each in self._bodies}
        unknown = [each.id for each in self._store.snapshots() if each.is_good and each.id not in good]
        self.totals.problems += [f"nobody knows who made the snapshot {each}" for each in unknown]
        for snapshot in good:
            try:
                known, manifest = self._bodies.get(snapshot), self._store.manifest(snapshot)
                self._bodies[snapshot] = captures_in(self._store, manifest, known, self.data.parent, self.totals)
            except (DamagedBackupError, apsw.Error, UnicodeDecodeError) as error:
                self.totals.unreadable.append(f"{snapshot}: {error}")
                continue
            self.totals.read_back += 1
            lost = self.ledger.missing(self.ledger.owed_by(snapshot), self._bodies[snapshot])
            self.totals.losses += [f"{note} is not in the backup {snapshot}" for note in lost]
            bodies |= self._bodies[snapshot]
        return bodies

    def _look_at_the_vault(self, km: KnowledgeManager) -> None:
        if km.paused():
            km.resume()
        if failed := km.ingest(self.vault, options=IngestOptions(allow_mass_delete=True)).failed:
            self.totals.problems.append(f"{failed} notes failed in a vault that nobody changes")
        wrong = differing(self.vault, self._folder.database)
        self.totals.losses += [f"{path} is not in the database as it is in the vault" for path in wrong]


def main() -> None:
    """Soak and print; the folder stays when something was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description="kill at random, lose nothing")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--kills", type=int, help="end after so many that landed mid-phase")
    parser.add_argument("--notes", type=int, default=300)
    asked = parser.parse_args()
    print(f"crash soak: --seed {asked.seed}, {asked.notes} notes, {WORKERS} workers", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="nescord-crash-"))
    begun = time.monotonic()
    soak = Soak(scratch, seed=asked.seed, notes=asked.notes)
    asyncio.run(soak.run(asked.minutes, asked.kills))
    print("\n".join(soak.totals.lines(soak.ledger, time.monotonic() - begun)))
    if not soak.totals.ok:
        sys.exit(f"everything is kept in {scratch}")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
