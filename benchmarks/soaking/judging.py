"""The judgement at the end of a soak: the service comes to rest, is asked, is stopped; what it leaves is looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from benchmarks.soaking import judging_backups as backups
from benchmarks.soaking import judging_base as base
from benchmarks.soaking import judging_money as money
from benchmarks.soaking.faults import until
from benchmarks.soaking.kinds_history import backed_up, known_backups, resumed
from nescord import KnowledgeManager, Settings
from nescord.errors import NescordError

if TYPE_CHECKING:
    from benchmarks.soaking.world import World

_HEALTHY = 300.0
_SETTLES = 420.0
_DRAINS = 60.0
_LATER = 3 * 3600
_LEAST_AGREED = 0.9
_ASKED, _SAMPLE = 24, 30
_MODES = ("vector", "hybrid")


class _NotSettledError(Exception):
    """The service does not come to rest; says why."""


def judge(world: World) -> list[str]:
    """All that is wrong. Called when load and faults have ended and everything is healed, while the service runs."""
    found: list[str] = []
    steps = (_comes_to_rest, _is_put_in_order, _verifies, _answers, _backs_up, _ends, _leaves)
    for step in steps:
        begun = time.monotonic()
        try:
            for violation in step(world):
                world.say(f"VIOLATION {violation}")
                found.append(violation)
        except (NescordError, apsw.Error, OSError, _NotSettledError) as error:
            found.append(f"{step.__name__.strip('_')}: {type(error).__name__}: {error}")
            world.say(f"VIOLATION {found[-1]}")
        world.say(f"judged: {step.__name__.strip('_').replace('_', ' ')}, {time.monotonic() - begun:.1f} s")
    return found


def settings_of(environment: Mapping[str, str], **more: object) -> Settings:
    """The settings that a container has, for this process."""
    given = {
        name: value
        for name, field in Settings.model_fields.items()
        if (value := environment.get(str(field.validation_alias)))
    }
    return Settings(**{"_env_file": None, **given, **more})


def _comes_to_rest(world: World) -> Iterator[str]:
    """Healthy, everything accepted is done, the vault is as its last commit, nothing is pending."""
    if not world.platform.until_healthy(_HEALTHY):
        yield f"the service is not healthy {_HEALTHY:g} s after everything was healed"
    resumed(world)
    deadline, why = time.monotonic() + _SETTLES, "nothing was tried"
    while time.monotonic() < deadline:
        why = _restless(world)
        if not why:
            world.at_rest()
            return
        time.sleep(3)
    yield f"{_SETTLES:g} s after everything was healed {why}"


def _restless(world: World) -> str:
    """What is not done yet; "" for nothing."""
    with KnowledgeManager.open_existing(settings_of(world.platform.environment(), embedder="none")) as knowledge:
        if waiting := knowledge.inbox.pending():
            return (
                f"{len(waiting)} interactions are not done, the oldest a {waiting[0].kind} of {waiting[0].accepted_at}"
            )
    done = world.platform.cli("ingest", "--allow-mass-delete", "--json", seconds=180)
    report = done.document
    if done.code != 0 or not isinstance(report, dict):
        return f"ingest ends with {done.code}: {done.err.strip()[-300:]}"
    for name in ("failed", "withheld", "pending", "degraded"):
        if report[name]:
            return f"ingest says {name}: {report[name]}"
    status = world.platform.cli("status", "--json").document or {}
    return f"{status.get('behind')} rows of the log are not in Chroma" if status.get("behind") else ""


def _is_put_in_order(world: World) -> Iterator[str]:
    """Maintenance, some hours later; it also ends what erasures of people a fault was in the way of."""
    world.clock.jump(_LATER)
    try:
        done = world.platform.cli("maintain", "--json", seconds=300)
    finally:
        world.clock.jump(0)
    if done.code != 0:
        yield f"maintain ends with {done.code}: {(done.err or done.out).strip()[-300:]}"
    with KnowledgeManager.open_existing(settings_of(world.platform.environment(), embedder="none")) as knowledge:
        if knowledge.has_unfinished_erasures():
            yield "an erasure has not come to its end"


def _verifies(world: World) -> Iterator[str]:
    done = world.platform.cli("verify", "--deep", "--json", seconds=300)
    report = done.document
    if not isinstance(report, dict):
        yield f"verify --deep ends with {done.code}: {done.err.strip()[-300:]}"
        return
    statuses = Counter(check["status"] for check in report["checks"])
    world.facts.append(f"verify --deep: {', '.join(f'{count} {status}' for status, count in statuses.items())}")
    for check in report["checks"]:
        if check["status"] == "fail":
            yield f"verify --deep: {check['name']}: {check['value']}"
        elif check["status"] == "warn":
            world.facts.append(f"verify --deep warns: {check['name']}: {check['value']}")


def _answers(world: World) -> Iterator[str]:
    """Nothing shows outside of its space, everything is found in its own, and Chroma answers as the exact scan does."""
    environment, rng = world.platform.environment(), world.rng("judging")
    quiet = settings_of(environment, search_events="off", vector="exact")
    permitted, spaces = world.ledger.permitted(), dict(world.ledger.marker_spaces)
    certain = {marker: text for marker, states in permitted.items() if len(states) == 1 for text in states if text}
    with KnowledgeManager.open_existing(quiet) as knowledge:
        homes, ids = _homes(world, spaces)
        yield from base.leaks(knowledge, sorted(spaces), spaces, homes, "keyword")
        yield from base.unfound(knowledge, {each: ids[each] for each in sorted(certain) if each in ids}, spaces)
        sample = rng.sample(sorted(spaces), min(len(spaces), _SAMPLE))
        for mode in _MODES:
            yield from base.leaks(knowledge, sample, spaces, homes, mode)
        chosen = rng.sample(sorted(certain), min(len(certain), _ASKED))
        exact = {text: knowledge.search(text, mode="vector", limit=10) for text in map(certain.__getitem__, chosen)}
    with KnowledgeManager.open_existing(quiet.model_copy(update={"vector": "chroma"})) as knowledge:
        chroma = {text: knowledge.search(text, mode="vector", limit=10) for text in exact}
    yield from base.disagreements(chroma, exact, _LEAST_AGREED)
    world.facts.append(f"searched for {len(spaces)} markers in {len(set(spaces.values()))} spaces")


def _homes(world: World, spaces: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """By the id of each note the space that its marker was kept in, and by marker its id."""
    homes, ids = {}, {}
    with closing(apsw.Connection(str(world.data / "nescordbot.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        for note, body in connection.execute(
            "SELECT id, body FROM note JOIN note_text ON note_text.note = note.key WHERE trashed_at IS NULL"
        ):
            for marker in base.MARKER.findall(body):
                homes[note], ids[marker] = spaces.get(marker, "nobody"), note
    return homes, ids


def _backs_up(world: World) -> Iterator[str]:
    """One more backup, and a copy of it elsewhere."""
    backed_up(world)
    done = world.platform.cli("backup", "replicate", "--json", seconds=300)
    if done.code != 0:
        yield f"backup replicate ends with {done.code}: {done.err.strip()[-300:]}"
    done = world.platform.cli("backup", "check", "--off-site", "--json", seconds=300)
    if done.code != 0:
        yield f"backup check --off-site ends with {done.code}: {(done.out or done.err).strip()[-300:]}"


def _ends(world: World) -> Iterator[str]:
    """SIGTERM: exit code 0 within the time that a platform gives, and nothing is left."""
    begun = time.monotonic()
    world.platform.close()
    last = world.platform.lives[-1]
    took = (last.ended or time.monotonic()) - begun
    world.facts.append(f"the last container ended with {last.code} after {took:.1f} s")
    if last.code != 0:
        yield f"the last container ended with {last.code}, not 0"
    if took > _DRAINS:
        yield f"the last container took {took:.0f} s to end"
    for life in world.platform.lives:
        yield from (f"container {life.number} was outlived by {orphan}" for orphan in life.orphans)
    until(lambda: not list(base.left_processes(world.data)), 10)
    yield from base.left_processes(world.data)
    yield from base.held_locks(world.data)
    yield from base.left_over(world.data)


def _leaves(world: World) -> Iterator[str]:
    """What lies on the disk: the database, the backups, the ledger of tokens."""
    ledger = world.ledger
    content = base.read(world.data / "nescordbot.db")
    yield from base.wrong_notes(content, ledger.permitted(), "the database")
    yield from base.wrong_spaces(content, ledger.marker_spaces, "the database")
    erased = {act.marker for act in ledger.acts if act.author in ledger.erased_people}
    leaving = {act.marker for act in ledger.acts if act.author in ledger.erasing_people}
    yield from base.wrong_erasures(content, erased, "the database")
    yield from base.wrong_vault(content, world.git.files, "the database")
    held = dict(backups.contents(world.data, world.scratch))
    owed = {snapshot: ledger.owed_by(snapshot) for snapshot in known_backups(world)}
    yield from backups.damaged(world.data)
    yield from backups.wrong_backups(held, owed)
    yield from backups.unsaved_forks(ledger.lives, ledger.snapshots, held)
    somewhere = {marker for marker, _, _ in ledger.somewhere()} - leaving
    yield from backups.nowhere(somewhere, content, held)
    yield from backups.newest_comes_back(world, world.scratch)
    yield from _paid(world)
    world.facts += [
        f"{len(ledger.acts)} acts, {len(content.living)} notes of the load are there, {len(erased)} erased",
        f"{len(held)} good backups, of {len(owed)} it is known what they owe",
        backups.lives_of(ledger.lives),
    ]


def _paid(world: World) -> Iterator[str]:
    """The tokens. Made in this process after the end, so nothing is under way."""
    rows, calls = money.rows_in(world.data / "nescordbot.db"), list(world.gemini.calls)
    found = money.sums(rows, calls)
    happened = world.troubles.happened if world.troubles else []
    fatal = [money.Window(each.began, each.ended) for each in happened if each.is_fatal]
    hangs = sum(each.kind == "SIGSTOP" for each in happened)
    yield from money.wrong_tokens(found, len(fatal), hangs)
    yield from money.wrong_rows(rows)
    forgotten = [money.Window(began, ended) for began, ended in world.ledger.forgettings()]
    yield from money.paid_twice(calls, fatal, forgotten)
    counted = sum(row.tokens for row in rows)
    world.facts.append(f"tokens: {counted:,} in the ledger, {world.gemini.tokens_billed:,} counted by the fake")
    world.facts += [f"{model}: {one}" for model, one in sorted(found.items())]
