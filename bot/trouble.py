"""What a person is told of an error, and what the log is told: the same reference stands in both.

The words of an error are for whoever runs the bot: they may hold a path, SQL or somebody's text. A person gets a text
of the catalogue for the class of the error.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from bot.render import Reply
from bot.visit import FetchError, Refused
from nescord import errors
from nescord.errors import NescordError, QuotaError

_log = logging.getLogger(__name__)

# The first that fits counts: special ones stand before general ones.
_TEXTS: tuple[tuple[type[NescordError], str], ...] = (
    (FetchError, "errors.fetch"),
    (errors.ConflictError, "errors.conflict"),
    (errors.QueryError, "errors.query"),
    (errors.NoKnowledgeBaseError, "errors.store"),
    (errors.SettingsError, "errors.store"),
    (errors.UsageError, "errors.usage"),
    (errors.NotFoundError, "errors.not_found"),
    (errors.DiskError, "errors.disk"),
    (errors.CatalogError, "errors.store"),
    (errors.LockTimeoutError, "errors.busy"),
    (errors.BudgetError, "errors.budget"),
    (errors.ServiceUnavailableError, "errors.service"),
    (NescordError, "errors.failed"),
)

Text = Callable[..., str]


def told(error: BaseException, text: Text, *, kind: str, interaction: str) -> Reply:
    """What the person is told, in the words of `text(key, **values)`. The log gets the rest, and nobody's name: who is
    erased must not stay there."""
    if isinstance(error, Refused):
        try:
            return Reply(body=text(error.key, **error.values))
        except (KeyError, IndexError) as wrong:  # a "no" in words that there are not is a mistake of ours
            error = wrong
    if isinstance(error, QuotaError):
        _log.info("%s (interaction %s) was refused: %s", kind, interaction, error)
        return Reply(body=_quota(error, text))
    reference = secrets.token_hex(4)
    if not isinstance(error, NescordError):
        _log.error("%s: %s (interaction %s) failed", reference, kind, interaction, exc_info=error)
        return Reply(body=text("errors.unexpected", reference=reference))
    # What was asked for wrongly, or is not there, is quoted in the error, and those are a person's words.
    is_quoting = isinstance(error, errors.UsageError | errors.NotFoundError) and not isinstance(
        error, errors.SettingsError
    )
    words = "their words are not kept" if is_quoting else error
    _log.error("%s: %s (interaction %s) failed: %s: %s", reference, kind, interaction, type(error).__name__, words)
    key = next(key for known, key in _TEXTS if isinstance(error, known))
    return Reply(body=text(key, reference=reference))


def _quota(error: QuotaError, text: Text) -> str:
    if error.is_off:
        return text("errors.quota_off")
    key = "errors.quota_guild" if error.used_up == "guild" else "errors.quota"
    return text(key, returns=f"<t:{int(error.returns_at.timestamp())}:R>")
