"""Encryption of what leaves the machine, with age (https://age-encryption.org), so that `age -d` reads it, too.

Only public keys are here. Whoever gets hold of this machine's settings or of the bucket cannot read a copy; whoever
loses the identity file cannot either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pyrage  # type: ignore[import-untyped]  # it comes without types

from nescord import durable
from nescord.errors import BackupError, DamagedBackupError, UsageError
from nescord.times import utc_text

_PRIVATE = "AGE-SECRET-KEY-"


class WrongIdentityError(BackupError):
    """The identity file holds no key that opens this copy."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What went through encryption: SHA-256 of the plain bytes, of the encrypted ones, and how many those are."""

    plain_sha256: str
    sha256: str
    bytes: int


def keygen(path: Path) -> str:
    """Write a new identity file, readable by its owner only, and return its public key.

    Raises:
        UsageError: there is something at `path` already, or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already: a key that copies are encrypted to is never overwritten")
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    text = f"# created: {utc_text(datetime.now(UTC))}\n# public key: {public}\n{identity}\n"
    try:
        durable.write_file(path.absolute(), text.encode("ascii"))
    except OSError as error:
        raise UsageError(f"the identity file {path} cannot be written: {error.strerror}") from error
    return public


def read_identities(path: Path) -> list[object]:
    """The private keys of an identity file as `nescord backup keygen` or `age-keygen` writes it.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"the identity file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        lines = []
    keys = [line.strip() for line in lines if line.strip().startswith(_PRIVATE)]
    try:
        identities: list[object] = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        identities = []
    if not identities:
        raise UsageError(
            f"{path} is no identity file: it must hold a line that begins with {_PRIVATE} (decrypt it first, if it is "
            "protected by a passphrase)"
        )
    return identities


def encrypt(source: BinaryIO, target: BinaryIO, recipients: str) -> Sealed:
    """Encrypt `source` into `target` for each of the public keys, 64 KiB at a time.

    Raises:
        BackupError: a key is none. OSError: what `source` or `target` raises.
    """
    try:
        keys = [pyrage.x25519.Recipient.from_str(key) for key in recipients.split()]
    except pyrage.RecipientError as error:
        raise BackupError(
            f"NESCORD_BACKUP_RECIPIENT is no public key of age ({error}): take the one that "
            "nescord backup keygen printed"
        ) from error
    reader, writer = _Reader(source), _Writer(target.write)
    _run(lambda: pyrage.encrypt_io(reader, writer, keys), reader, writer)
    return Sealed(reader.digest.hexdigest(), writer.digest.hexdigest(), writer.size)


def decrypt(source: BinaryIO, write: Callable[[bytes], object], identities: Sequence[object], name: str) -> str:
    """Decrypt `source`; what was decrypted goes to `write`. Returns its SHA-256.

    Raises:
        WrongIdentityError: none of the keys is the right one. DamagedBackupError: `source` is garbled or cut off.
        OSError: what `source` or `write` raises.
    """
    reader, writer = _Reader(source), _Writer(write)
    try:
        _run(lambda: pyrage.decrypt_io(reader, writer, identities), reader, writer)
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise WrongIdentityError(
                f"the identity file does not open {name}: it is the key of other copies (store.json there names the "
                "public key that is needed)"
            ) from error
        raise DamagedBackupError(f"{name} cannot be decrypted: {error}") from error
    return writer.digest.hexdigest()


def _run(work: Callable[[], object], reader: _Reader, writer: _Writer) -> None:
    """pyrage drops an error of its writer when that comes with the last bytes, and wraps others beyond recognition."""
    try:
        work()
    except (OSError, pyrage.EncryptError, pyrage.DecryptError) as error:
        if failed := reader.failed or writer.failed:
            raise failed from error
        raise pyrage.DecryptError(str(error)) from error  # its own: what it reads is not what was encrypted
    if failed := reader.failed or writer.failed:
        raise failed


class _Reader:
    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()
        self.failed: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            content = self._source.read(size)
        except OSError as error:
            self.failed = error
            raise
        self.digest.update(content)
        return content


class _Writer:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.digest = hashlib.sha256()
        self.size = 0
        self.failed: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            self._write(content)
        except OSError as error:
            self.failed = error
            raise
        self.digest.update(content)
        self.size += len(content)
        return len(content)

    def flush(self) -> None:
        """pyrage asks for it; whoever owns the target syncs it."""
