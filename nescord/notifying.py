"""Tell a person on Discord that something fails, once, and once more when it is over.

What happens unattended is looked at by nobody: a webhook (NESCORD_DISCORD_WEBHOOK) brings it to where people are. An
incident is what fails under one name; which ones are open is kept in run/incidents.json, so that an hourly failure is
one message, also across restarts. Messages hold no text and no path of a note: errors are named by their kind, in words
that are written here. A webhook that cannot be reached stops nothing; what could not be told is told the next time.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nescord import durable
from nescord.errors import NescordError
from nescord.home import DataFolder, read_identity
from nescord.notifying_texts import BACKUP_AGE, Told, text_of
from nescord.settings import Settings
from nescord.times import utc_text

if TYPE_CHECKING:
    from urllib.error import HTTPError

OLDEST_BACKUP = timedelta(hours=36)
_TIMEOUT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 10.0
_LARGEST_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that fails since a moment. `is_told`: people know of it. `is_over`: they are still to be told so."""

    since: str
    is_told: bool = False
    is_over: bool = False


def failed(settings: Settings, told: Told) -> str:
    """Open the incident `told.name` and tell people, unless they know; why they could not be told, or "".

    Raises nothing that is about the webhook. OSError, NescordError: the state cannot be kept in the data folder.
    """
    if settings.discord_webhook is None:
        return ""
    with _incidents(settings) as incidents:
        known = incidents.get(told.name)
        incident = replace(known, is_over=False) if known else Incident(utc_text(datetime.now(UTC)))
        problem = ""
        if not incident.is_told:
            problem = _posted(settings, text_of(told, settings.language, is_over=False))
            incident = replace(incident, is_told=not problem)
        incidents[told.name] = incident
    return problem


def recovered(settings: Settings, name: str) -> str:
    """Close the incident of that name and tell people, if they knew of it; why they could not be told, or ""."""
    if settings.discord_webhook is None or not _path(settings).exists():
        return ""
    with _incidents(settings) as incidents:
        incident = incidents.pop(name, None)
        if incident is None or not incident.is_told:
            return ""
        problem = _posted(settings, text_of(Told(name, since=incident.since), settings.language, is_over=True))
        if problem:
            incidents[name] = replace(incident, is_over=True)
    return problem


def watch_backup_age(settings: Settings) -> str:
    """Tell people when the last good backup is older than 36 hours, and when there is a younger one again."""
    if settings.discord_webhook is None:
        return ""
    age = _backup_age(settings)
    if age is None:
        return ""
    if age <= OLDEST_BACKUP:
        return recovered(settings, BACKUP_AGE)
    return failed(settings, Told(BACKUP_AGE, hours=int(age.total_seconds() // 3600)))


def _backup_age(settings: Settings) -> timedelta | None:
    """How long ago the last good backup was made, or the knowledge base when there is none; None without either."""
    from nescord.backup.store import BackupStore

    folder = DataFolder.at(settings)
    good = [each.manifest for each in BackupStore(folder.backups).snapshots() if each.is_good and each.manifest]
    if good:
        begun = good[-1].created_at
    else:
        try:
            begun = read_identity(folder).first_seen
        except NescordError:
            return None
    return datetime.now(UTC) - datetime.fromisoformat(begun)


def _path(settings: Settings) -> Path:
    return DataFolder.at(settings).run / "incidents.json"


@contextmanager
def _incidents(settings: Settings) -> Iterator[dict[str, Incident]]:
    """The incidents, to be changed, while no other process does; kept when the block ends."""
    path = _path(settings)
    durable.make_folder(path.parent)
    fd = os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # held for one or two requests, which end after some seconds
        before = _read(path)
        incidents = dict(before)
        yield incidents
        if incidents != before:
            text = json.dumps({name: asdict(each) for name, each in sorted(incidents.items())}, indent=2)
            durable.write_file(path, text.encode("utf-8"))
    finally:
        os.close(fd)


def _read(path: Path) -> Mapping[str, Incident]:
    try:
        return {name: Incident(**values) for name, values in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):  # garbled: a message too many is better than none
        return {}


def _posted(settings: Settings, text: str) -> str:
    """Post it; why it could not be, or "". Never the URL: who knows it can post."""
    # Not httpx, which writes each URL to the log.
    import http.client
    import urllib.error
    import urllib.request

    assert settings.discord_webhook is not None
    message = {"content": text, "username": "NescordBot", "allowed_mentions": {"parse": []}}
    request = urllib.request.Request(
        settings.discord_webhook.get_secret_value(),
        data=json.dumps(message).encode("utf-8"),
        # Discord turns away what calls itself Python-urllib.
        headers={"Content-Type": "application/json", "User-Agent": "NescordBot"},
    )
    may_wait = True
    while True:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                wait = _wait_asked_for(error)
            if error.code != http.HTTPStatus.TOO_MANY_REQUESTS or not may_wait or wait > _LONGEST_WAIT_SECONDS:
                return f"the webhook answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            return f"the webhook cannot be reached ({type(reason).__name__})"
        may_wait = False
        time.sleep(wait)


def _wait_asked_for(answer: HTTPError) -> float:
    """Seconds, from Discord's body or the header; one where neither says it."""
    try:
        return max(0.0, float(json.loads(answer.read(_LARGEST_ANSWER))["retry_after"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
