"""What comes before the services: finish a restore, migrate, or begin, then verify: `python -m nescord.gate open|mend`.

A process of its own: the supervisor, which lives as long as the machine, has neither the database nor numpy in memory,
and a signal ends this within moments, whatever it waits for. Killed at any point it is begun again by the next start.

The index is not looked into: the Chroma server is not there yet, and what is wrong with its folder is mended beside the
running services (serving.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from nescord import reserve
from nescord.errors import NescordError
from nescord.home import DataFolder
from nescord.process_groups import end_group
from nescord.service_state import Finding

if TYPE_CHECKING:
    from nescord.persistence import PersistenceReport
    from nescord.settings import Settings

_GRACE = 3.0
_STOPPED = 143
_TAIL = 2000
_STOP = ("volume.", "continuity.", "database.")
# Search goes on, and what is to be stored is refused plainly, until there is room again.
_FULL = frozenset({"volume.space", "volume.inodes"})


@dataclass(frozen=True, slots=True)
class Passed:
    """The knowledge base is open to everybody: whether it was begun just now, and which checks did not pass.

    `stops` names those of them with which nothing may be started; `done` says what was mended.
    """

    is_new: bool = False
    findings: tuple[Finding, ...] = ()
    stops: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0


ANSWER = TypeAdapter(Passed)


def command(task: str) -> list[str]:
    """What to run; its standard input ends it when it ends, its answer is `ANSWER` on standard output."""
    return [sys.executable, "-P", "-m", "nescord.gate", task]


def environment(folder: DataFolder) -> dict[str, str]:
    """For that process."""
    return {**os.environ, "NESCORD_DATA_DIR": str(folder.path)}


def pass_gate(folder: DataFolder, redact: Callable[[str], str] = str) -> Passed:
    """Open or begin the knowledge base, and verify it. The caller holds service.lock.

    Raises:
        NescordError: it is refused to start; the message names each check, what was found, and the mend.
    """
    ours, theirs = os.pipe()
    try:
        with subprocess.Popen(
            command("open"),
            stdin=ours,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(folder),
            process_group=0,
        ) as process:
            try:
                out, err = process.communicate()
            finally:
                end_group(process, _GRACE)
    finally:
        os.close(ours)
        os.close(theirs)
    try:
        answer = ANSWER.validate_json(out)
    except ValueError:
        tail = redact(err.decode("utf-8", "replace")[-_TAIL:])
        raise NescordError(f"the look at the knowledge base ended with {process.returncode}: {tail}") from None
    if answer.error:
        error = NescordError(answer.error)
        error.exit_code = answer.exit_code
        raise error
    if answer.stops:
        found = [each for each in answer.findings if each.name in answer.stops]
        raise NescordError(
            "nothing is started: " + "; ".join(f"{each.name}: {each.value} -> {each.mend}" for each in found)
        )
    return answer


def _opened() -> Passed:
    from nescord.knowledge import KnowledgeManager
    from nescord.persistence.verb import verified
    from nescord.settings import Settings

    settings = Settings(vector="exact")
    folder = DataFolder.at(settings)
    folder.finish_restore(settings)
    is_new = not folder.has_begun()
    if is_new:
        _refuse_to_begin_silently(folder, settings)
        KnowledgeManager.open(settings).close()
    report = verified(settings)
    return Passed(is_new, findings_of(report), tuple(sorted(_stops(report, folder, settings))))


def _refuse_to_begin_silently(folder: DataFolder, settings: Settings) -> None:
    """An empty folder is a new beginning only where nothing tells of an earlier one."""
    if not folder.identity_file.exists() and folder.database.exists():
        raise NescordError(
            f"{folder.identity_file} is missing beside {folder.database}: attach the right volume; if this is it, "
            "nescord init makes a new identity and keeps the notes"
        )
    if settings.off_site is None:
        return
    from nescord.persistence import off_site_summary

    try:
        elsewhere = off_site_summary(settings)
    except Exception as error:  # an outage of theirs, in whatever words: nothing is known then
        raise NescordError(
            f"there is no knowledge base at {folder.path}, and NESCORD_OFF_SITE cannot be asked whether it keeps "
            f"copies of one: {str(error) or type(error).__name__}. Start again when it answers, or unset it to begin "
            "a new one"
        ) from error
    if elsewhere.count:
        raise NescordError(
            f"there is no knowledge base at {folder.path}, but {settings.off_site} keeps {elsewhere.count} copies of "
            f"one, the newest, {elsewhere.newest_id}, with {elsewhere.notes:,} notes. Attach the volume that it was "
            f"on, or bring it back: nescord backup restore --from {settings.off_site} --yes (and --identity FILE "
            "where it is encrypted). To begin a new one on purpose, let NESCORD_OFF_SITE name another place, or unset "
            "it"
        )


def _mended() -> Passed:
    from nescord.persistence.verb import repaired, verified
    from nescord.settings import Settings

    settings = Settings()
    report = verified(settings)
    done = () if report.ok else tuple(repaired(settings, report))
    return Passed(findings=findings_of(verified(settings) if done else report), done=done)


def findings_of(report: PersistenceReport) -> tuple[Finding, ...]:
    """The checks that did not pass."""
    return tuple(Finding(**asdict(check)) for check in report.checks if check.status != "pass")


def _stops(report: PersistenceReport, folder: DataFolder, settings: Settings) -> set[str]:
    """The failed checks with which nothing may be started: the rest is lived with, and mended beside the services."""
    from nescord.persistence.repair import MENDABLE

    failed = {check.name for check in report.checks if check.status == "fail"}
    tolerated = {*_FULL, *MENDABLE}
    if failed & _FULL:
        tolerated.add("volume.writable")  # that is why; a disk mounted read-only is found by volume.file_system
        if folder.database.exists() and reserve.is_full(folder):
            tolerated.add("database.open")
    if settings.ephemeral:
        tolerated.add("volume.mount")
    return {name for name in failed - tolerated if name.startswith(_STOP)}


def _main() -> int:
    from nescord.parent import end_with_parent

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STOPPED))
    end_with_parent(_GRACE)
    answer_to = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is no answer
    try:
        answer = {"open": _opened, "mend": _mended}[sys.argv[1]]()
    except NescordError as error:
        answer = Passed(error=str(error), exit_code=error.exit_code)
    with os.fdopen(answer_to, "w", encoding="utf-8") as stream:
        json.dump(asdict(answer), stream)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
