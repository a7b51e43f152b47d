"""A place elsewhere for copies of backups: a bucket of any S3-compatible server, or a folder on another disk.

Objects are written once and never overwritten. Every call has an end: each request has a time limit that grows with
what it carries, and what may pass is tried again for less than a minute. Errors name the place and the mend.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store
from pydantic import SecretStr

from nescord import durable
from nescord.errors import BackupError, DamagedBackupError, ServiceUnavailableError, SettingsError
from nescord.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Credential

# One request is what a server can refuse as a whole when the object is there already, and its content is in memory
# meanwhile. What is larger goes in parts, and whether the object is there is asked before.
LARGEST_PUT = 256 * 2**20
_PIECE = 2**20
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = frozenset({"408", "409", "425", "429"})
_FULL = ("QuotaExceeded", "InsufficientStorage", "507 ", "No space left", "Disk quota", "os error 28")


class ObjectExistsError(Exception):
    """An object of that name is there, and stays as it is."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: `connect` and `answer` seconds for a request, longer by its bytes at `slowest` bytes a second;
    `retries` more attempts of what may pass, within `total` seconds."""

    connect: float = 10
    answer: float = 20
    slowest: int = 128 * 1024
    retries: int = 6
    total: float = 40


class OffSite:
    """The objects below one bucket's prefix or in one folder. Names have `/` in them, no leading one."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        """
        Raises:
            SettingsError: NESCORD_OFF_SITE is not set, or a key is missing. BackupError: the folder is not there.
        """
        if settings.off_site is None:
            raise SettingsError("NESCORD_OFF_SITE is not set: name a bucket (s3://BUCKET/PREFIX) or a folder elsewhere")
        self.target = settings.off_site
        self._settings = settings
        self._patience = patience or Patience()
        self.folder = None if self.target.startswith("s3://") else Path(self.target)
        self._clients: dict[int, S3Store | LocalStore] = {}
        if self.folder is not None and not self.folder.is_dir():
            # Made here it would lie on the wrong disk whenever the right one is not mounted.
            raise BackupError(f"the folder {self.folder} for copies is not there: mount its disk, or make the folder")
        if self.folder is None:
            self._secret(settings.aws_access_key_id, "AWS_ACCESS_KEY_ID")
            self._secret(settings.aws_secret_access_key, "AWS_SECRET_ACCESS_KEY")

    @property
    def key(self) -> str:
        """A short name of the place, fit for a file's name."""
        place = f"{self._settings.off_site_endpoint or ''} {self.target}"
        return hashlib.sha256(place.encode("utf-8")).hexdigest()[:16]

    def sizes(self) -> dict[str, int]:
        """All objects: name -> bytes."""
        with self._told("the copies cannot be listed"):
            return {str(each["path"]): each["size"] for some in obstore.list(self._client()) for each in some}

    def read(self, name: str, size: int) -> bytes:
        """The content of a small object of about `size` bytes.

        Raises:
            DamagedBackupError: there is none, or it is more than twice as large.
        """
        content = bytearray()
        for piece in self.stream(name, size):
            content += piece
            if len(content) > 2 * size + _PIECE:
                raise DamagedBackupError(f"{self.target}/{name} is larger than it was listed")
        return bytes(content)

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """The content of an object of about `size` bytes, piece by piece.

        Raises:
            DamagedBackupError: there is none.
        """
        with self._told(f"{name} cannot be read", missing=name):
            yield from map(bytes, obstore.get(self._client(size), name).stream(min_chunk_size=_PIECE))

    def put(self, name: str, content: bytes | bytearray) -> int:
        """Write an object that is not there yet; its bytes.

        Raises:
            ObjectExistsError: it is.
        """
        with self._told(f"{name} cannot be written"):
            if self.folder is not None:
                with self._new_file(name) as stream:
                    stream.write(memoryview(content))
            else:
                obstore.put(self._client(len(content)), name, content, mode="create", use_multipart=False)
        return len(content)

    def put_file(self, name: str, path: Path, sha256: str) -> int:
        """As `put`, from a file, which must have this hash: one that has rotted does not become an object.

        Raises:
            ObjectExistsError: the object is there. DamagedBackupError: the file is not what was written.
            OSError: the file cannot be read.
        """
        size = path.stat().st_size
        if self.folder is not None:
            pieces = _verified(path, sha256)
            with self._told(f"{name} cannot be written"), self._new_file(name) as stream:
                for piece in pieces:
                    stream.write(piece)
        elif size <= LARGEST_PUT:
            content = bytearray()
            for piece in _verified(path, sha256):
                content += piece
            self.put(name, content)
        else:
            with self._told(f"{name} cannot be written"):
                self._put_in_parts(name, path, sha256, size)
        return size

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._told(f"{name} cannot be deleted"):
            try:
                obstore.delete(self._client(), name)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
            if self.folder is not None:
                durable.sync_folder((self.folder / name).parent)

    def sweep(self) -> None:
        """Remove what killed runs left half-written in a folder. In a bucket, a rule for unfinished uploads does."""
        rooms = [self.folder / name for name in ("packs", "snapshots", "erasures")] if self.folder else []
        for folder in rooms:
            for path in folder.iterdir() if folder.is_dir() else ():
                if durable.is_temporary(path):
                    durable.remove(path)

    @contextmanager
    def _new_file(self, name: str) -> Iterator[durable.Stream]:
        # Not by obstore, which syncs nothing: after a power cut a torn object would stand there for good. And without
        # hard links, which the file systems of many external disks do not know.
        assert self.folder is not None
        path = self.folder / name
        if path.exists():
            raise ObjectExistsError(name)
        durable.make_folder(path.parent)
        with durable.write_stream(path) as stream:
            yield stream

    def _put_in_parts(self, name: str, path: Path, sha256: str, size: int) -> None:
        client = self._client(size)
        try:
            obstore.head(client, name)
        except FileNotFoundError:
            obstore.put(client, name, _verified(path, sha256), chunk_size=16 * 2**20, max_concurrency=2)
        else:
            raise ObjectExistsError(name)

    def _client(self, size: int = 0) -> S3Store | LocalStore:
        """Who asks; with the time that `size` bytes may take."""
        if self.folder is not None:
            return self._clients.setdefault(0, LocalStore(self.folder))
        # Few clients, so that connections are used again: the time limit is rounded up to a power of two.
        seconds = max(1, int(size / self._patience.slowest)).bit_length()
        if seconds not in self._clients:
            self._clients[seconds] = self._s3(self._patience.answer + (1 << seconds))
        return self._clients[seconds]

    def _s3(self, answer: float) -> S3Store:
        settings, patience = self._settings, self._patience
        bucket, _, prefix = self.target.removeprefix("s3://").partition("/")
        endpoint = settings.off_site_endpoint or f"https://s3.{settings.aws_region}.amazonaws.com"
        key = self._secret(settings.aws_access_key_id, "AWS_ACCESS_KEY_ID")
        secret = self._secret(settings.aws_secret_access_key, "AWS_SECRET_ACCESS_KEY")

        def credential() -> S3Credential:
            return {"access_key_id": key, "secret_access_key": secret, "token": None, "expires_at": None}

        # obstore also reads the environment (AWS_ENDPOINT_URL, AWS_SESSION_TOKEN …): all that counts is said here.
        return S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=endpoint,
            aws_endpoint_url_s3=endpoint,
            region=settings.aws_region,
            credential_provider=credential,
            virtual_hosted_style_request=f"//{bucket}." in endpoint,
            skip_signature=False,
            disable_bulk_delete=True,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=patience.connect),
                "timeout": timedelta(seconds=answer),
            },
            retry_config={
                "max_retries": patience.retries,
                "retry_timeout": timedelta(seconds=patience.total),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=min(500, patience.total * 50)),
                    "max_backoff": timedelta(seconds=min(10, patience.total / 4)),
                    "base": 2,
                },
            },
        )

    def _secret(self, value: SecretStr | None, name: str) -> str:
        if value is None:
            raise SettingsError(f"{name} is not set: {self.target} cannot be reached without the key of the bucket")
        return value.get_secret_value()

    @contextmanager
    def _told(self, what: str, *, missing: str = "") -> Iterator[None]:
        """Errors of the place, in words for a person. What may pass leaves with 69."""
        try:
            yield
        except AlreadyExistsError:
            raise ObjectExistsError(what) from None
        except (BaseError, OSError, ValueError) as error:
            # The caught errors hold requests in full; their first line is all that a person can use.
            found: Exception = error
        else:
            return
        raise self._in_words(found, what, missing) from None

    def _in_words(self, error: Exception, what: str, missing: str) -> Exception:
        text = str(error)
        reason = text.split("\n")[0].split("<?xml")[0].split("<Error")[0].rstrip(" :")[:300]
        status = found[1] if (found := _STATUS.search(text)) else ""
        if code := _CODE.search(text):
            reason = f"{code[1]}, {reason}"
        problem = f"{self.target}: {what} ({reason})"
        if any(mark in text for mark in _FULL):
            return BackupError(f"{problem}: it is full; make room there, then try again: nothing here has changed")
        if "NoSuchBucket" in text:
            return BackupError(f"{problem}: there is no such bucket; make it, or mend NESCORD_OFF_SITE")
        if isinstance(error, FileNotFoundError) and missing:
            return DamagedBackupError(f"{self.target}: {missing} is missing")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in ("401", "403"):
            return BackupError(
                f"{problem}: the key is refused; mend AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and let "
                "it list, read, write and delete there"
            )
        if self.folder is not None:
            return BackupError(f"{problem}: mend the disk or the permissions of the folder, then try again")
        if status.startswith("4") and status not in _PASSING:
            return BackupError(f"{problem}: mend NESCORD_OFF_SITE and NESCORD_OFF_SITE_ENDPOINT")
        return ServiceUnavailableError(f"{problem}: try again later; nothing here has changed")


def _verified(path: Path, sha256: str) -> Iterator[bytes]:
    """The content of a file; raises before its last piece if it is not what it should be, so that no object is made."""
    digest, held = hashlib.sha256(), b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if held:
                yield held
            held = piece
    if digest.hexdigest() != sha256:
        raise DamagedBackupError(f"the file {path} is damaged: its hash is another")
    if held:
        yield held
