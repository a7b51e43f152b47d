"""The work list: what is done to each peer, in which order, and what is checked after each.

Groups begin with a state of their own, so that an interrupted run goes on with the next group. Every step is a process;
what is checked is read by other processes that cost nothing here.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import golden
from benchmarks.measure import percentile
from benchmarks.peering import changes
from benchmarks.peering.changes import Truth, same_path, write_queries
from benchmarks.peering.measure import Spent, disk_mib, run
from benchmarks.peering.shared import note_files
from benchmarks.vault import sample_queries

# A search of everything: more than any peer has.
_ALL = 20_000
_TOP = 10
# Chunks that are asked for where notes are wanted: a note has several.
_CHUNKS = 50

Record = dict[str, Any]
KilledWhen = Callable[[float], bool]


@dataclass(slots=True)
class Peer:
    """One peer at work: its interpreter, a scratch folder of its own, and the vault that nobody changes."""

    name: str
    python: Path
    scratch: Path
    base: Path
    embedder: str
    about: dict[str, Any] = field(default_factory=dict)
    paid_when_cold: int = 0
    seconds_when_cold: float = 0.0

    @property
    def modes(self) -> list[str]:
        return list(self.about["modes"])

    @property
    def log(self) -> Path:
        return self.scratch / "embedded.txt"

    def step(
        self, step: str, state: Path, *more: str | Path, killed_when: Callable[[float], bool] | None = None
    ) -> Spent:
        command = [self.python, "-m", f"benchmarks.peering.adapters.{self.name}", step, "--state", state]
        command += ["--embedder", self.embedder, "--log", self.log, *more]
        return run([str(one) for one in command], killed_when=killed_when)

    def ingest(self, state: Path, vault: Path, model: str = "A", **more: Any) -> Spent:
        return self.step("ingest", state, "--vault", vault, "--model", model, **more)

    def stored(self, state: Path) -> list[list[str]]:
        return list(_good(self.step("stored", state))["stored"])

    def found(self, state: Path, queries: list[str], limit: int, *, model: str = "A", **more: object) -> dict[str, Any]:
        """The hits of the step `search`, by mode."""
        asked = write_queries(self.scratch / "queries.json", queries, limit, **more)
        return dict(_good(self.step("search", state, "--queries", asked, "--model", model))["hits"])

    def fresh_vault(self, name: str) -> Path:
        """A copy of the vault to change, with the times that its files have."""
        place = self.scratch / name
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.base, place, symlinks=True))


class StepError(Exception):
    """A step of the peer failed; the message is the last line of its error."""


def _good(spent: Spent) -> dict[str, Any]:
    if spent.error:
        raise StepError(spent.error)
    return spent.result


def _cost(spent: Spent, state: Path) -> Record:
    """What a step has cost; a step that failed is one that has no figures."""
    _good(spent)
    return {
        "cpu": round(spent.cpu, 3),
        "embed_cpu": round(spent.result["embed_cpu"], 3),
        "wall": round(spent.wall, 3),
        "rss": spent.rss,
        "disk": disk_mib(state),
        "embedded": spent.result["embedded"],
    }


def work(peer: Peer) -> Iterator[Record]:
    """A day, a month, an accident: cold, unchanged, changed, another model, index lost, backup."""
    state, vault = peer.scratch / "state", peer.fresh_vault("vault")
    shutil.rmtree(state, ignore_errors=True)
    peer.log.unlink(missing_ok=True)

    def ingested(row: str, model: str = "A", **more: object) -> Record:
        spent = peer.ingest(state, vault, model)
        cost = _cost(spent, state)
        return {"row": row, **cost, **Truth(vault).compare(peer.stored(state)), **more}

    cold = ingested("cold")
    peer.paid_when_cold, peer.seconds_when_cold = cold["embedded"], cold["wall"]
    yield cold | {"notes": sum(1 for _ in note_files(vault)), "chunks": sum(Truth(vault).pairs.values())}
    yield from _tried("unchanged", lambda: _unchanged(peer, ingested))
    yield from _queries(peer, state, vault)
    yield from _tried("japanese", lambda: _japanese(peer, state, vault))
    before = Truth(vault)
    for row, change in (("appended", changes.append), ("renamed", changes.rename), ("deleted", changes.delete)):
        count = len(change(vault))
        yield from _tried(row, lambda row=row, count=count: ingested(row, count=count))  # type: ignore[misc]
    yield from _tried("stale", lambda: _stale(peer, state, vault, before))
    for row, model in (("switched", "B"), ("switched back", "A")):
        yield from _tried(row, lambda row=row, model=model: _switched(peer, ingested(row, model), state, vault, model))  # type: ignore[misc]
    yield from _tried("index lost", lambda: _index_lost(peer, ingested, state, vault))
    yield from _backup(peer, state, vault)


def _tried(row: str, action: Callable[[], Record]) -> Iterator[Record]:
    """One record, whatever happens: the error instead of figures."""
    try:
        yield action()
    except StepError as error:
        yield {"row": row, "error": str(error)}


def _unchanged(peer: Peer, ingested: Callable[[str], Record]) -> Record:
    """The cheapest of three: noise only adds. What costs much anyway is not done three times."""
    runs = [ingested("unchanged")]
    while runs[0]["cpu"] < 5 and len(runs) < 3:
        runs.append(ingested("unchanged"))
    return min(runs, key=lambda one: float(one["cpu"]))


def _queries(peer: Peer, state: Path, vault: Path) -> Iterator[Record]:
    """One warm process, 100 questions that it has not met, half of them Japanese."""
    asked = [*sample_queries(vault, 60, 1, "ja"), *sample_queries(vault, 60, 1, "en")]
    distinct = list(dict.fromkeys(asked))
    warm, measured = distinct[::6], [query for at, query in enumerate(distinct) if at % 6]
    queries = write_queries(peer.scratch / "queries.json", measured, _TOP, warm=warm)
    for mode in peer.modes:
        write_queries(queries, measured, _TOP, warm=warm, modes=[mode], paths_only=True)

        def timed(mode: str = mode) -> Record:
            spent = peer.step("search", state, "--queries", queries)
            seconds, cpu = _good(spent)["seconds"][mode], spent.result["query_cpu"][mode]
            p50, p95 = (round(1000 * percentile(seconds, share), 3) for share in (0.5, 0.95))
            return {
                "row": f"query {mode}",
                "p50": p50,
                "p95": p95,
                "queries": len(seconds),
                "cpu_ms": 1000 * cpu / len(seconds),
                **_cost(spent, state),
            }

        yield from _tried(f"query {mode}", timed)


def _japanese(peer: Peer, state: Path, vault: Path) -> Record:
    """One to three characters, against a scan of the normalised text."""
    if "keyword" not in peer.modes:
        return {"row": "japanese", "none": True}
    truth = Truth(vault)
    wanted = changes.japanese(truth)
    hits = peer.found(state, list(wanted), _ALL, modes=["keyword"], paths_only=True)["keyword"]
    recalls: dict[int, list[float]] = {1: [], 2: [], 3: []}
    extra = []
    for (piece, holders), found in zip(wanted.items(), hits, strict=True):
        paths = {same_path(path) for path in found}
        recalls[len(piece)].append(len(paths & holders) / len(holders))
        extra.append(sum(piece not in changes.normal(path) for path in paths - holders))
    means = {f"recall {length}": round(statistics.fmean(values), 3) for length, values in recalls.items() if values}
    return {"row": "japanese", "queries": len(wanted), **means, "extra": round(statistics.fmean(extra or [0]), 2)}


def _stale(peer: Peer, state: Path, vault: Path, before: Truth) -> Record:
    """After edits and deletions, what was there is asked for by its own words: hits that the vault no longer says."""
    changes.rewrite(vault)
    _good(peer.ingest(state, vault))
    after = Truth(vault)
    gone = changes.removed(before, after)
    hits = peer.found(state, [_question(text) for _, text in gone], _TOP)
    counts = {mode: sum(after.is_stale(*hit) for found in hits[mode] for hit in found) for mode in hits}
    return {"row": "stale", "queries": len(gone), "hits": counts, "stale": sum(counts.values())}


def _question(text: str, length: int = 60) -> str:
    """The first words of a text, without signs that some query language may read."""
    plain = "".join(character if character.isalnum() else " " for character in text)
    return " ".join(plain.split())[:length]


def _switched(peer: Peer, record: Record, state: Path, vault: Path, model: str) -> Record:
    return (
        record | _answers(peer, state, vault, model) if "vector" in peer.modes else {"row": record["row"], "none": True}
    )


def _answers(peer: Peer, state: Path, vault: Path, model: str) -> Record:
    """Chunks asked for by their own text, by meaning: how many of their notes come among the first five."""
    if "vector" not in peer.modes:
        return {}
    pairs = changes.own_words(Truth(vault), 20, "answers")
    questions = [_question(text, 400) for _, text in pairs]
    hits = peer.found(state, questions, 5, model=model, modes=["vector"], paths_only=True)["vector"]
    right = sum(path in map(same_path, found[:5]) for (path, _), found in zip(pairs, hits, strict=True))
    return {"answered": right, "asked": len(pairs)}


def _index_lost(peer: Peer, ingested: Callable[[str], Record], state: Path, vault: Path) -> Record:
    if _good(peer.step("lose", state))["none"]:
        return {"row": "index lost", "none": True}
    return ingested("index lost") | _answers(peer, state, vault, "A")


def _backup(peer: Peer, state: Path, vault: Path) -> Iterator[Record]:
    copy, again = peer.scratch / "copy", peer.scratch / "restored"
    for place in (copy, again):
        shutil.rmtree(place, ignore_errors=True)

    def backed_up() -> Record:
        spent = peer.step("backup", state, "--to", copy)
        return {"row": "backup", "none": True} if _good(spent)["none"] else {"row": "backup", **_cost(spent, copy)}

    def restored() -> Record:
        if not copy.exists():
            return {"row": "restore", "none": True}
        spent = peer.step("restore", again, "--to", copy)
        if _good(spent)["none"]:
            return {"row": "restore", "none": True}
        cost = _cost(spent, again)
        return {"row": "restore", **cost, **Truth(vault).compare(peer.stored(again))}

    yield from _tried("backup", backed_up)
    yield from _tried("restore", restored)


def kill(peer: Peer) -> Iterator[Record]:
    """kill -9 when half of the texts are embedded (where nothing is: after half of the time), then once more."""

    def killed() -> Record:
        state, vault = peer.scratch / "killed", peer.fresh_vault("killed vault")
        if not peer.seconds_when_cold:
            raise StepError("its cold ingest failed")
        _killed_half_way(peer, state, vault)
        paid = _lines(peer.log)
        again = peer.ingest(state, vault)
        twice = _lines(peer.log) - peer.paid_when_cold
        checked = Truth(vault).compare(peer.stored(state)) if not again.error else {}
        return {"row": "killed", **_cost(again, state), **checked, "paid": paid, "twice": twice}

    yield from _tried("killed", killed)


def _killed_half_way(peer: Peer, state: Path, vault: Path) -> Spent:
    """Begun anew and killed; earlier, where it was through before."""
    half = peer.paid_when_cold // 2
    for share in (1 / 2, 1 / 3, 1 / 4):
        shutil.rmtree(state, ignore_errors=True)
        peer.log.unlink(missing_ok=True)

        def is_half_done(seconds: float, share: float = share) -> bool:
            return _lines(peer.log) >= half if half else seconds > peer.seconds_when_cold * share

        first = peer.ingest(state, vault, killed_when=is_half_done)
        if first.error == "killed":
            return first
        _good(first)
    raise StepError("it was through before it could be killed")


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def nasty(peer: Peer) -> Iterator[Record]:
    """Fifteen files that have broken note programs, and five good ones: what is stored, what is said of the rest."""

    def met() -> Record:
        record = _met(peer, names_too=True)
        if record["survived"]:
            return record
        # One name in no encoding ends most runs: without such names there is more to see.
        return record | {"without names": _met(peer, names_too=False)}

    yield from _tried("nasty", met)


def _met(peer: Peer, *, names_too: bool) -> Record:
    state, vault = peer.scratch / "nasty", peer.scratch / "nasty vault"
    for place in (state, vault):
        shutil.rmtree(place, ignore_errors=True)
    written = changes.write_nasty(vault, names_too=names_too)
    spent = peer.ingest(state, vault)
    last_line = spent.error
    texts: dict[str, str] = {}
    try:
        for path, text in peer.stored(state):
            texts[same_path(path)] = texts.get(same_path(path), "") + text
    except StepError as error:
        last_line = last_line or str(error)
    reported = {same_path(path) for path, _ in spent.result.get("failed", ())}
    counts = {"good": sum(path.startswith("good ") for path in texts), "stored": 0, "reported": 0, "silent": 0}
    for one in written:
        names = {same_path(one.path), same_path(os.fsdecode(one.raw))}
        if one.phrase and any(one.phrase in texts.get(name, "") for name in names):
            counts["stored"] += 1
        elif names & reported:
            counts["reported"] += 1
        elif one.phrase or not one.stored:
            counts["silent"] += 1
    return {"row": "nasty", "survived": not last_line, "last line": last_line, "files": len(written), **counts}


def golden_queries(peer: Peer) -> Iterator[Record]:
    """The golden queries of data/sample, by mode."""
    state = peer.scratch / "sample"
    shutil.rmtree(state, ignore_errors=True)
    try:
        _good(peer.ingest(state, golden.SAMPLE / "vault"))
    except StepError as error:
        yield {"row": "golden", "error": str(error)}
        return
    asked = [one for one in golden.load() if one.kind != "unanswerable"]
    for mode in peer.modes:
        yield from _tried(f"golden {mode}", lambda mode=mode: _judged(peer, state, asked, mode))  # type: ignore[misc]


def _judged(peer: Peer, state: Path, asked: list[golden.Golden], mode: str) -> Record:
    hits = peer.found(state, [one.query for one in asked], _CHUNKS, modes=[mode], paths_only=True)[mode]
    ranks: list[float] = []
    recalls: dict[str, list[float]] = {"ja": [], "en": [], "across": []}
    for one, found in zip(asked, hits, strict=True):
        paths = [same_path(path) for path in found]
        ranks.append(golden.reciprocal_rank(paths, one.expected))
        recalls["across" if one.kind == "cross" else one.lang].append(golden.recall_at_5(paths, one.expected))
    means = {f"recall@5 {name}": round(statistics.fmean(values), 3) for name, values in recalls.items() if values}
    return {"row": f"golden {mode}", "queries": len(asked), "MRR@10": round(statistics.fmean(ranks), 3), **means}


GROUPS: dict[str, Callable[[Peer], Iterator[Record]]] = {
    "work": work,
    "kill": kill,
    "nasty": nasty,
    "golden": golden_queries,
}
