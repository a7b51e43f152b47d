"""What single settings may be: rules whose messages are fit for a person, and the types that carry them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from pydantic_settings import NoDecode

# The start of SQLAlchemy's own URL pattern. Like there, the path ends at "?", "#" is a plain character, and nothing is
# percent-decoded (SQLAlchemy decodes only the user and the password).
_URL = re.compile(r"(?P<driver>[\w+]+)://(?P<server>[^/?]*)(?:/(?P<database>[^?]*))?(?P<query>\?.*)?")
_SQLITE_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"})
_SERVER_URL = re.compile(r"https?://[^/?#@\s]+/?")
_SPACE = re.compile(r"personal|(guild|user):[0-9]{1,20}")
# Chroma's rule for the name of a collection.
_COLLECTION_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")
_BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=-]+)*")
_HTTPS = re.compile(r"https://[^/?#@\s]+/?")
# What stays on this machine; anywhere else plain HTTP would send notes in the clear.
_HTTP_TO_HERE = re.compile(r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?/?")
WEBHOOK = re.compile(rf"(https://[^/?#@\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?')})/[^\s]*")
GIT_URL = re.compile(
    rf"https://[^/?#@\s]+/[^?#\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?')}/[^?#\s]+|"
    r"ssh://([\w.][\w.-]*@)?(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/[^?#\s]+|"
    r"[\w.][\w.-]*@\w[\w.-]*:[^-:\s][^\s]*|(file://)?/[^/\x00-\x1f][^\x00-\x1f]*"
)
# What git itself takes for the name of a branch, see git check-ref-format.
_GIT_BRANCH = re.compile(
    r"(?!-)(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)))[^\x00-\x20\x7f~^:?*\[\\./][^\x00-\x20\x7f~^:?*\[\\]*(?<![./])"
)
_GIT_AUTHOR = re.compile(r"[^<>\s]([^<>]*[^<>\s])? <[^<>\s]+>")
SHORTEST_TOKEN = 16
_AGE_KEY = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_API_URL = re.compile(r"https?://[^/?#@\s]+(/[\w.~%-]+)*/?")
_DISCORD_API = re.compile(rf"(https://[^/?#@\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?')})(/[\w.~%-]+)*/?")
_DISCORD_GATEWAY = re.compile(
    rf"(wss://[^/?#@\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?').replace('http', 'ws', 1)})(/[\w.~%-]+)*/?"
)
_LARGEST_ID = 2**63 - 1
_QUOTA = re.compile(r"([0-9]{1,7})\s*/\s*([0-9]{1,7})")
_LARGEST_QUOTA = 1_000_000
_TASK_RUNNER = re.compile(r"(threads|dask):([1-9][0-9]?)|dask\+(tcp|tls)://[^/?#@\s]+:[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Quota:
    """How often a day something may be done: by one person, and by all of one guild together."""

    person: int
    guild: int

    def __str__(self) -> str:
        return f"{self.person}/{self.guild}"


class IdSet(frozenset[int]):
    """Ids of Discord, shown as they are typed."""

    def __str__(self) -> str:
        return ",".join(map(str, sorted(self)))


class SpaceSet(frozenset[str]):
    """Spaces, shown as they are typed."""

    def __str__(self) -> str:
        return ",".join(sorted(self))


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"must be a folder that can be found: {error}") from None


def _is_a_file_of_sqlite(url: str) -> str:
    parse_sqlite_url(url)
    return url


def _suits_chroma(name: str) -> str:
    if not _COLLECTION_NAME.fullmatch(name):
        raise ValueError("must be 3 to 512 characters of a-z A-Z 0-9 . _ -, with a letter or digit at both ends")
    return name


def _is_a_server(url: str) -> str:
    if not _SERVER_URL.fullmatch(url):
        raise ValueError("must be the URL of a Chroma server without a path, such as http://localhost:8000")
    return url


def _is_a_bucket_or_a_folder(target: str) -> str:
    if target.startswith("s3://"):
        bucket = target.rstrip("/")
        if not _BUCKET_URL.fullmatch(bucket) or {".", ".."} & set(bucket.split("/")):
            raise ValueError("must be s3://BUCKET or s3://BUCKET/PREFIX, without a key in it")
        return bucket
    path = Path(unquote(target.removeprefix("file://")))
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be s3://BUCKET/PREFIX, or the absolute path of a folder on another disk")
    return str(path)


def _keeps_secrets_from_the_line(url: str) -> str:
    if not _HTTPS.fullmatch(url) and not _HTTP_TO_HERE.fullmatch(url):
        raise ValueError(
            "must be an https:// URL without a path; http:// only for this machine, such as http://localhost:9000"
        )
    return url.rstrip("/")


def _is_for_public_keys(keys: str) -> str:
    each = sorted(set(keys.replace(",", " ").split()))
    if not each or not all(_AGE_KEY.fullmatch(key) for key in each):
        raise ValueError("must be the public key age1… that nescord backup keygen prints, or several with blanks")
    return " ".join(each)


def _is_a_branch(branch: str) -> str:
    if not _GIT_BRANCH.fullmatch(branch):
        raise ValueError("must be the name of a branch, such as main")
    return branch


def _is_within_the_repository(folder: str) -> str | None:
    path = PurePosixPath(folder)
    if path.is_absolute() or not folder.isprintable() or {"..", ".git"} & set(path.parts):
        raise ValueError('must be a folder in the repository, such as notes or my/notes, without ".."')
    return None if path == PurePosixPath() else str(path)


def _is_a_space(space: str) -> str:
    if not is_space(space):
        raise ValueError("must be personal, guild:<id> or user:<id>, where <id> is a number of Discord")
    return space


def _of_spaces(given: object) -> SpaceSet:
    """Spaces as they are typed, with commas or blanks between them; or a collection of them."""
    spaces = given.replace(",", " ").split() if isinstance(given, str) else given
    if not isinstance(spaces, Iterable) or not all(isinstance(each, str) and is_space(each) for each in spaces):
        raise ValueError("must be spaces with commas between them: personal, guild:<id>, user:<id>")
    return SpaceSet(spaces)


def _is_within_the_vault(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or not folder.isprintable() or any(part.startswith(".") for part in path.parts):
        raise ValueError(
            'must be a folder in the vault, such as inbox or my/inbox, without a name that begins with "."'
        )
    return "" if path == PurePosixPath() else unicodedata.normalize("NFC", str(path))


def _is_an_author(author: str) -> str:
    if not author.isprintable() or not _GIT_AUTHOR.fullmatch(author):
        raise ValueError("must be a name and an address as git has them, such as NescordBot <bot@example.org>")
    return author


def _is_an_api(url: str) -> str:
    if not _API_URL.fullmatch(url):
        raise ValueError("must be the URL of a Prefect server's API without a password, http://HOST:4200/api")
    return url.rstrip("/")


def _is_discords_api(url: str) -> str:
    if not _DISCORD_API.fullmatch(url):
        raise ValueError(
            "must be the https:// URL of an API like Discord's, such as https://discord.example.com/api/v10; http:// "
            "only for this machine"
        )
    return url.rstrip("/")


def _is_discords_gateway(url: str) -> str:
    if not _DISCORD_GATEWAY.fullmatch(url):
        raise ValueError(
            "must be the wss:// URL of a gateway like Discord's, such as wss://gateway.example.com; ws:// only for "
            "this machine"
        )
    return url


def _of_ids(given: object) -> IdSet:
    """Ids as they are typed, with commas or blanks between them; or a collection of numbers."""
    if isinstance(given, str):
        words: Iterable[object] = given.replace(",", " ").split()
    elif isinstance(given, Iterable):
        words = given
    else:
        words = (given,)
    ids = [int(each) if isinstance(each, str) and each.isascii() and each.isdigit() else each for each in words]
    known = [each for each in ids if isinstance(each, int) and 0 < each <= _LARGEST_ID]
    if len(known) < len(ids):
        raise ValueError("must be ids of Discord with commas between them, such as 80351110224678912,41771983423143937")
    return IdSet(known)


def _of_quota(given: object) -> object:
    if isinstance(given, Quota):
        return given
    match = _QUOTA.fullmatch(given) if isinstance(given, str) else None
    quota = Quota(int(match[1]), int(match[2])) if match else None
    if quota is None or max(quota.person, quota.guild) > _LARGEST_QUOTA:
        raise ValueError(
            f"must be two whole numbers from 0 to {_LARGEST_QUOTA}, a day's for one person and for one guild, such as "
            "200/2000"
        )
    return quota


def _is_a_task_runner(runner: str) -> str:
    if not _TASK_RUNNER.fullmatch(runner):
        raise ValueError("must be threads:N or dask:N with N from 1 to 99, or dask+tcp://HOST:PORT of a scheduler")
    return runner


def _is_a_time_zone(key: str) -> str:
    try:
        ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder such as "Asia"
        raise ValueError("must be a time zone such as Asia/Tokyo, Europe/Berlin or UTC") from None
    return key


def is_space(text: str) -> bool:
    """Whether `text` names a space: personal, guild:<id> or user:<id>."""
    return _SPACE.fullmatch(text) is not None


def parse_sqlite_url(url: str) -> str:
    """The file a SQLite URL names, exactly as SQLAlchemy reads it: three slashes relative, four absolute.

    ValueError, worded for a person, for what is not a plain file.
    """
    match = _URL.fullmatch(url)
    if match is None or match["driver"] not in _SQLITE_DRIVERS:
        raise ValueError("must be a URL of SQLite: sqlite:////absolute/path.db or sqlite:///relative/path.db")
    if match["query"] is not None:
        raise ValueError('must not hold a query string: drop everything from the "?" on')
    if match["server"]:
        raise ValueError("must not name a user or server: the path begins after three slashes, sqlite:///…")
    database = match["database"] or ""
    if database in ("", ":memory:"):
        raise ValueError("must name a file: a database in memory would lose every note")
    if database.endswith("/") or "\0" in database:
        raise ValueError("must name a file, not a folder")
    if database.startswith("file:"):
        raise ValueError("must be a plain path: SQLite's file: URIs are not supported")
    return database


Folder = Annotated[Path, AfterValidator(_expand_home)]
SqliteUrl = Annotated[str, AfterValidator(_is_a_file_of_sqlite)]
CollectionName = Annotated[str, AfterValidator(_suits_chroma)]
ServerUrl = Annotated[str, AfterValidator(_is_a_server)]
OffSiteTarget = Annotated[str, AfterValidator(_is_a_bucket_or_a_folder)]
Endpoint = Annotated[str, AfterValidator(_keeps_secrets_from_the_line)]
PublicKeys = Annotated[str, AfterValidator(_is_for_public_keys)]
Branch = Annotated[str, AfterValidator(_is_a_branch)]
FolderInRepository = Annotated[str, AfterValidator(_is_within_the_repository)]
Spaces = Annotated[SpaceSet, NoDecode, PlainValidator(_of_spaces)]
FolderInVault = Annotated[str, AfterValidator(_is_within_the_vault)]
GitAuthor = Annotated[str, AfterValidator(_is_an_author)]
Space = Annotated[str, AfterValidator(_is_a_space)]
ApiUrl = Annotated[str, AfterValidator(_is_an_api)]
TaskRunner = Annotated[str, AfterValidator(_is_a_task_runner)]
TimeZone = Annotated[str, AfterValidator(_is_a_time_zone)]
DiscordApi = Annotated[str, AfterValidator(_is_discords_api)]
DiscordGateway = Annotated[str, AfterValidator(_is_discords_gateway)]
Ids = Annotated[IdSet, NoDecode, PlainValidator(_of_ids)]
DayQuota = Annotated[Quota, NoDecode, BeforeValidator(_of_quota)]
