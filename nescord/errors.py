"""One hierarchy of errors whose messages are fit for a person.

A message names the thing, what is wrong and the mend. Shells print `str(error)` and leave with `error.exit_code`
(README, "Exit codes"); anything that is not a NescordError is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from nescord.embedding import Vectors


class NescordError(Exception):
    """Base of all errors that a person can do something about."""

    exit_code = 1


class UsageError(NescordError):
    """What was asked for cannot be done as asked: a wrong option, path, query or setting."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is out of range or would lose data; names the field, the value and the allowed range."""


class NoKnowledgeBaseError(UsageError):
    """There is no knowledge base at the data folder."""


class NoMartsError(UsageError):
    """There are no marts yet, or none that this version can read."""


class VaultError(UsageError):
    """A vault folder is missing, unreadable or registered elsewhere."""


class AccessRefusedError(VaultError):
    """The host of a vault in git does not take the credentials."""


class WritebackRefusedError(VaultError):
    """The host of a vault in git takes nothing from us; what is to be written back waits."""


class WatchError(NescordError):
    """The folders of a vault cannot be watched; the message says which limit is reached and how to do without."""


class QueryError(UsageError):
    """A search query holds a filter that cannot be understood."""


class NotFoundError(NescordError):
    """A note, source or deleted thing that was named does not exist (or may not be seen)."""


class ConflictError(NescordError):
    """A note was changed by somebody else since it was looked at: nothing was written, so that both texts are kept."""


class CatalogError(NescordError):
    """The database is missing, damaged, or of a version that this program cannot use."""


class BackupError(NescordError):
    """A backup cannot be made, read or found; what is stored is not concerned."""


class DamagedBackupError(BackupError):
    """A file of the backups is not what was written: its hash, or what it says of itself, does not fit."""


class MartsError(NescordError):
    """Marts could not be built; what is stored is not concerned, and those that there were can still be read."""


class ReportError(NescordError):
    """A report could not be made, or some of its notebooks have failed; those that there were can still be read."""


class ExportError(NescordError):
    """Notes could not be exported; what is stored is not concerned, and what was exported before is still there."""


class DiskError(CatalogError):
    """The disk under the database failed, which may pass. What was acknowledged before is kept."""

    exit_code = 69


class LockTimeoutError(NescordError):
    """Another process holds the lock; the message names it."""

    exit_code = 69


class ServiceUnavailableError(NescordError):
    """A service that is needed (Prefect, later Chroma or Gemini) is not there."""

    exit_code = 69


class EmbeddingError(NescordError):
    """A model's answer cannot be used: too few vectors, or some of the wrong length."""


class TextRefusedError(EmbeddingError):
    """The model refuses a text for good: asking again is of no use, other texts are not concerned."""


class UnusableVectorsError(TextRefusedError):
    """Some vectors of an answer are none. The others, by their place in what was asked, need not be paid for again."""

    def __init__(self, message: str, right: Mapping[int, Vectors]) -> None:
        super().__init__(message)
        self.right = right


class EmbeddingUnavailableError(ServiceUnavailableError):
    """There is no model to embed with: search goes on by keyword only, and says so."""


class WrongAnswerError(EmbeddingError):
    """A model elsewhere answers otherwise than it was asked, and no text is to blame: the next answer may be right."""


class BlockedError(TextRefusedError):
    """A model elsewhere will not read or say this: it is too long, or against its rules. `tokens` is what that cost."""

    def __init__(self, message: str, *, tokens: int = 0) -> None:
        super().__init__(message)
        self.tokens = tokens


class RemoteRefusedError(EmbeddingUnavailableError):
    """A model elsewhere refuses every call until somebody mends a setting, which the message names."""


class RemoteError(ServiceUnavailableError):
    """A model elsewhere did not answer, which may pass. `may_be_billed`: nobody knows whether it was done."""

    def __init__(self, message: str, *, may_be_billed: bool = False) -> None:
        super().__init__(message)
        self.may_be_billed = may_be_billed


class OutageError(RemoteError):
    """A model elsewhere has failed so often that it is left alone for a while; the message says until when."""


class RateLimitedError(ServiceUnavailableError):
    """More was asked of a model elsewhere than it allows; `retry_after` are the seconds to wait, if they are known."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AnswerUnavailableError(ServiceUnavailableError):
    """There is no model to answer with: the best passages are shown instead, and it is said."""


class BudgetError(ServiceUnavailableError):
    """The month's budget does not allow this call; says what is switched off, and until when."""


class QuotaError(NescordError):
    """Somebody has done `what` (`searches`, `answers`, `notes` or `flows`) as often as a day allows.

    `used_up` says whose day it is, the person's or the guild's. At `returns_at` the next one begins, which helps nobody
    where `is_off`: the settings allow none at all.
    """

    def __init__(
        self,
        message: str,
        *,
        what: str,
        used_up: Literal["person", "guild"],
        returns_at: datetime,
        is_off: bool = False,
    ) -> None:
        super().__init__(message)
        self.what = what
        self.used_up = used_up
        self.returns_at = returns_at
        self.is_off = is_off


class FailedChecksError(NescordError):
    """A verification found what must not be. Made from the names of the checks that failed."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.names = names

    def __str__(self) -> str:
        return f"these checks failed: {', '.join(self.names)}; what to do about each is said by nescord verify"


def is_transient(error: object) -> bool:
    """Whether the same may succeed later without anybody doing something: a lock, a disk or a service that is away."""
    return (
        isinstance(error, NescordError)
        and error.exit_code == LockTimeoutError.exit_code
        # A model that is not there does not come by itself, and a budget not within the time that one waits.
        and not isinstance(error, EmbeddingUnavailableError | BudgetError)
    )
