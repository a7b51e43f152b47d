"""Every kind of fault once, one after the other, under the load of the soak; then everything is judged as there.

    python -m benchmarks.soaking.each [--seed 7] [--only TEXT …] [--quick]

Shorter than a soak that meets each of them by chance. Exit code 0 if each that can happen here did, and nothing is
wrong afterwards. `--quick` leaves out what starts the container anew.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.soaking import alone, judging
from benchmarks.soaking.faults import Kind, Planned, Troubles, all_kinds
from benchmarks.soaking.kinds_process import CONTAINER
from benchmarks.soaking.load import Load
from benchmarks.soaking.world import Options, World

_FIRST_START = 300.0
_SETTLES = 120.0
_TRIES = 3
_BETWEEN = 1.5


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if (code := alone.enter("benchmarks.soaking.each", arguments)) is not None:
        return code
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soaking.each")
    parser.add_argument("--seed", default="each")
    parser.add_argument("--only", nargs="*", default=[], metavar="TEXT", help="kinds whose names hold one of these")
    parser.add_argument("--quick", action="store_true", help="leave out what starts the container anew")
    asked = parser.parse_args(arguments)
    kinds = [kind for kind in all_kinds() if not asked.only or any(text in kind.name for text in asked.only)]
    if asked.quick:
        kinds = [kind for kind in kinds if CONTAINER not in kind.uses]
    with World(Options(minutes=0, seed=asked.seed)) as world:
        wrong = list(_each(world, kinds))
        for line in world.facts:
            print(line)
        print(f"violations: {len(wrong)}")
        for line in wrong:
            print(f"  {line}")
        if wrong:
            kept = Path(tempfile.mkdtemp(prefix="nescord-each-kept-"))
            shutil.copytree(world.scratch / "said", kept / "said")
            shutil.copy2(world.scratch / "soak.log", kept)
            shutil.copy2(world.scratch / "ledger.jsonl", kept)
            print(f"kept at {kept}")
    return 1 if wrong else 0


def _each(world: World, kinds: Sequence[Kind]) -> Iterator[str]:
    """Do them all; everything that is wrong."""
    troubles = Troubles(world, world.options.seed, 0, kinds)
    world.troubles = troubles
    load = Load(world)
    world.platform.start()
    if not world.platform.until_healthy(_FIRST_START):
        yield "the service did not become healthy at its first start"
    load.start()
    for number, kind in enumerate(kinds, 1):
        if kind.name in troubles.left_out:
            world.say(f"{kind.name}: left out: {troubles.left_out[kind.name]}")
            continue
        for attempt in range(_TRIES):
            time.sleep(_BETWEEN)
            troubles.one(Planned(number, 0, kind, f"{world.options.seed} {number} {attempt}"))
            if troubles.proofs[kind.name]:
                break
            world.platform.until_healthy(_SETTLES)
        else:
            yield f"the fault {kind.name} could not be made to happen"
        if CONTAINER in kind.uses:
            world.platform.until_healthy(_SETTLES)
    world.stop.set()
    load.join()
    troubles.heal_all()
    yield from judging.judge(world)
    yield from world.ledger.violations


if __name__ == "__main__":
    sys.exit(main())
