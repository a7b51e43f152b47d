"""Maintenance of what people leave behind through Discord: it is kept as long as it is of use, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import apsw

from nescord.catalog import cards as cards_sql
from nescord.catalog import conversations as conversations_sql
from nescord.catalog import inbox as inbox_sql
from nescord.catalog import maintenance as maintenance_sql
from nescord.catalog import people as people_sql
from nescord.catalog import search_events as events_sql
from nescord.catalog.database import Catalog
from nescord.conversations import KEPT_DAYS
from nescord.maintain.report import Outcome
from nescord.opened import OpenBase
from nescord.times import utc_text

# Only the day that is counts; a week lets one see who is refused all the time.
QUOTA_DAYS = 7
DONE_DAYS = 2
_BATCH = 2000

Count = Callable[[apsw.Connection, str], int]
Forget = Callable[[apsw.Connection, str, int], int]


def erasures(base: OpenBase, *, dry_run: bool) -> Outcome:
    """Bring to its end what is left of erasures, and forget what was counted on their days."""
    from nescord import privacy
    from nescord.backup.erasures import unfinished_people

    before = len(unfinished_people(base.folder.backups))
    if dry_run:
        return Outcome(before, None if before else 0)
    remarks = [remark for report in privacy.finish(base) for remark in report.remarks]
    privacy.forget_past_days(base)
    return Outcome(before, len(unfinished_people(base.folder.backups)), "; ".join(dict.fromkeys(remarks)))


def search_events(catalog: Catalog, now: datetime, days: int, *, dry_run: bool) -> Outcome:
    """Forget what was searched for more than so many days ago."""
    oldest = utc_text(now - timedelta(days=days))
    return _forgotten(catalog, oldest, events_sql.count, events_sql.forget, dry_run=dry_run)


def conversations(catalog: Catalog, now: datetime, *, dry_run: bool) -> Outcome:
    """Forget the questions and answers that no button leads to any more."""
    oldest = utc_text(now - timedelta(days=KEPT_DAYS))
    return _forgotten(catalog, oldest, conversations_sql.count, conversations_sql.forget, dry_run=dry_run)


def quotas(catalog: Catalog, now: datetime, timezone: str, *, dry_run: bool) -> Outcome:
    """Forget what was counted on days that are over."""
    oldest = (now.astimezone(ZoneInfo(timezone)).date() - timedelta(days=QUOTA_DAYS)).isoformat()
    return _forgotten(catalog, oldest, people_sql.count_days, people_sql.forget_days, dry_run=dry_run)


def interactions(catalog: Catalog, now: datetime, *, dry_run: bool) -> Outcome:
    """Forget the ids of interactions that are done: Discord tells none of them again after so long."""
    oldest = utc_text(now - timedelta(days=DONE_DAYS))
    with catalog.read() as connection:
        before, due = maintenance_sql.count_done(connection), maintenance_sql.count_done(connection, oldest)
    if dry_run:
        return Outcome(before, before - due)
    with catalog.write() as connection:
        inbox_sql.prune(connection, oldest)
        return Outcome(before, maintenance_sql.count_done(connection))


def review_cards(catalog: Catalog, *, dry_run: bool) -> Outcome:
    """Forget the cards and the reviews of notes that are gone for good; those of notes in the trash stay."""
    with catalog.read() as connection:
        before, due = cards_sql.count(connection), cards_sql.count_orphans(connection)
    if dry_run:
        return Outcome(before, before - due)
    with catalog.write() as connection:
        cards_sql.forget_orphans(connection)
        return Outcome(before, cards_sql.count(connection))


def _forgotten(catalog: Catalog, oldest: str, count: Count, forget: Forget, *, dry_run: bool) -> Outcome:
    with catalog.read() as connection:
        before, due = count(connection, "~"), count(connection, oldest)
    if dry_run:
        return Outcome(before, before - due)
    batch = _BATCH
    while batch == _BATCH:
        with catalog.write() as connection:
            batch = forget(connection, oldest, _BATCH)
    with catalog.read() as connection:
        return Outcome(before, count(connection, "~"))
