"""One hierarchy of errors whose messages are fit for a person.

A message names the thing, what is wrong and the mend. Shells print `str(error)` and leave with `error.exit_code`
(README, "Exit codes"); anything that is not a NescordError is a bug and keeps its traceback.
"""

from __future__ import annotations


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


class VaultError(UsageError):
    """A vault folder is missing, unreadable or registered elsewhere."""


class QueryError(UsageError):
    """A search query holds a filter that cannot be understood."""


class NotFoundError(NescordError):
    """A note, source or deleted thing that was named does not exist (or may not be seen)."""


class CatalogError(NescordError):
    """The database is missing, damaged, or of a version that this program cannot use."""


class BackupError(NescordError):
    """A backup cannot be made, read or found; what is stored is not concerned."""


class DamagedBackupError(BackupError):
    """A file of the backups is not what was written: its hash, or what it says of itself, does not fit."""


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


class EmbeddingUnavailableError(ServiceUnavailableError):
    """There is no model to embed with: search goes on by keyword only, and says so."""


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
        and not isinstance(error, EmbeddingUnavailableError)  # a model that is not there does not come by itself
    )
