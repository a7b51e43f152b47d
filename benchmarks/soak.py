"""Soak of the whole service: everything at once, under faults, and afterwards every promise is looked at.

    python -m benchmarks.soak --minutes 60 [--seed 7] [--faults-every 8] [--keep] [--write docs/measured/soak.md]

`nescord up` with the bot, flows, Chroma, a vault in git, encrypted copies in a bucket, and Gemini, each of them at
servers of ours that can fail. People use it while something breaks every few seconds; a ledger outside of it keeps what
they were promised. Exit code 0 only if all of it was kept. The same seed gives the same plan of load and faults.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

from benchmarks.soaking import alone, faults, judging
from benchmarks.soaking.ledger import summary
from benchmarks.soaking.load import Load
from benchmarks.soaking.world import Options, World
from tests.fakes.discord import Call

_FIRST_START = 300.0
_PAGE = """# The soak of the whole service

`{command}`, {when}, {machine}. To repeat: `make soak MINUTES=60`; the seed gives the same plan of load and faults.

`nescord up` runs with everything that belongs to it: the bot at a server that speaks Discord's protocol, the flows,
Chroma, a vault in git, encrypted copies in a bucket, embeddings and answers by a server that speaks Gemini's. Two
people in three servers, one at a terminal, somebody who edits the vault and guests who have all of theirs erased use it
at the same time, and every few seconds something breaks. A ledger outside of it keeps, on disk, what each was promised.
In the end everything is healed and looked at: each acknowledged note and change is there, or was taken back by a
restore and is in the backup made before it, or was erased; nothing shows outside of its space; no text was paid twice
but over a kill or after an erasure (which forgets all vectors without a note); no process, lock or half-written file is
left; `verify --deep` passes without repairs; every good backup holds what it
owes, and the newest copy in the bucket comes back.

A fault counts when it is proven that it happened. *acknowledged* is an answer that says that it is done; every other
outcome stands beside it by its name (`store`, `disk`, `busy` … are answers that say why not, `exit 69` a command's).
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    asked = _parser().parse_args(arguments)
    if asked.seed is None:
        asked.seed = str(random.randrange(1 << 32))
        arguments += ["--seed", asked.seed]
    if (code := alone.enter("benchmarks.soak", arguments)) is not None:
        return code
    print(f"seed {asked.seed}", flush=True)
    options = Options(asked.minutes, asked.seed, asked.faults_every)
    with World(options) as world:
        lines = list(_soaked(world))
        violations = world.ledger.violations
        for line in lines:
            print(line)
        if asked.write:
            how = f"--minutes {asked.minutes:g} --seed {asked.seed} --faults-every {asked.faults_every:g}"
            _write(asked.write, f"python -m benchmarks.soak {how}", lines)
        if violations or asked.keep:
            _keep(world)
    return 1 if violations else 0


def _soaked(world: World) -> Iterator[str]:
    """Run it to its end; the lines of the summary."""
    options = world.options
    world.say(f"scratch folder {world.scratch}, volume {world.volume.kind}")
    load = Load(world)
    world.platform.start()
    if not world.platform.until_healthy(_FIRST_START):
        world.ledger.violation("the service did not become healthy at its first start")
    world.say("the service is healthy: the load begins")
    began = time.monotonic()
    load.start()
    troubles = faults.Troubles(world, options.seed, options.faults_every) if options.faults_every else None
    world.troubles = troubles
    working = threading.Thread(target=troubles.run, name="faults") if troubles else None
    if working:
        working.start()
    try:
        while not world.stop.wait(1):
            if time.monotonic() - began >= 60 * options.minutes:
                break
    except KeyboardInterrupt:
        world.say("interrupted: what was done until now is judged")
    world.stop.set()
    load.join()
    if working and troubles:
        working.join()
        troubles.heal_all()
    world.say("the load is over: judging")
    world.at_rest = load.look_again
    minutes = (time.monotonic() - began) / 60
    for found in judging.judge(world):
        world.ledger.violation(found)
    for call in _unanswered(world):
        world.say(f"accepted {call.made_at - world.began:.1f} s after the beginning and never answered: {call}")
    for problem in world.discord.problems:
        world.say(f"Discord: {problem}")
        if problem.kind == "invalid":
            world.ledger.violation(f"Discord refuses a request as {problem}")
    yield from _summary(world, troubles, minutes)


def _summary(world: World, troubles: faults.Troubles | None, minutes: float) -> Iterator[str]:
    ledger, lives = world.ledger, world.platform.lives
    yield f"{minutes:.1f} minutes of load, seed {world.options.seed}"
    if troubles:
        yield f"faults: {sum(troubles.proofs.values())} of {len(troubles.proofs)} kinds"
        yield from (f"  {kind}: {count}" for kind, count in sorted(troubles.proofs.items()))
        yield from (f"  left out: {kind}: {why}" for kind, why in sorted(troubles.left_out.items()))
    acts = ledger.acts
    yield f"acts: {len(acts)}, of them acknowledged {sum(act.outcome == 'acknowledged' for act in acts)}"
    yield from (f"  {line}" for line in summary(ledger.answers))
    yield f"starts of the service: {len(lives)}; exit codes: {_counted(str(life.code) for life in lives)}"
    yield f"restores: {len(ledger.lives) - 1}, erased people: {len(ledger.erased_people)}, commits: {world.git.commits}"
    if found := ledger.recoveries():
        middle, most = statistics.median(found), max(found)
        yield f"until something was acknowledged again after a fault: p50 {middle:.1f} s, max {most:.1f} s"
    yield from world.facts
    yield f"what Discord did not like: {_counted(problem.kind for problem in world.discord.problems)}"
    yield f"interactions that were accepted and never answered: {_counted(call.name for call in _unanswered(world))}"
    yield f"violations: {len(ledger.violations)}"
    yield from (f"  {violation}" for violation in ledger.violations)


def _unanswered(world: World) -> list[Call]:
    """What still says that the bot is thinking."""
    return [call for call in world.discord.calls if call.messages and all(each.is_loading for each in call.messages)]


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(names).most_common()) or "none"


def _write(file: Path, command: str, lines: Sequence[str]) -> None:
    body = "\n".join(lines)
    when, machine = date.today().isoformat(), f"{os.cpu_count()} CPUs, Python {platform.python_version()}"
    file.write_text(f"{_PAGE.format(command=command, when=when, machine=machine)}\n```text\n{body}\n```\n", "utf-8")


def _keep(world: World) -> None:
    """The volume goes with our namespace: copy what explains a violation."""
    import shutil
    import tempfile

    kept = Path(tempfile.mkdtemp(prefix="nescord-soak-kept-"))
    for name in ("soak.log", "ledger.jsonl", "said"):
        if (source := world.scratch / name).is_dir():
            shutil.copytree(source, kept / name)
        elif source.exists():
            shutil.copy2(source, kept)
    shutil.copytree(world.data, kept / "data", ignore_dangling_symlinks=True, dirs_exist_ok=True)
    print(f"kept at {kept}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=60, help="how long the load goes on")
    parser.add_argument("--seed", default=None, help="plans load and faults; printed at the start")
    parser.add_argument("--faults-every", type=float, default=8, metavar="SECONDS", help="0: none")
    parser.add_argument("--keep", action="store_true", help="keep logs and data also when all is well")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the summary there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
