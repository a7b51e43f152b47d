"""Every setting, as one frozen value.

The only reader of the environment (and of `.env` in the working directory), so that nothing else depends on what a
shell happens to export. What is out of range, or would lose data, is refused here with a message fit for a person.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from annotated_types import Ge, Le
from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from nescord.errors import SettingsError

# The start of SQLAlchemy's own URL pattern. Like there, the path ends at "?", "#" is a plain character, and nothing is
# percent-decoded (SQLAlchemy decodes only the user and the password).
_URL = re.compile(r"(?P<driver>[\w+]+)://(?P<server>[^/?]*)(?:/(?P<database>[^?]*))?(?P<query>\?.*)?")
_SQLITE_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"})
_SERVER_URL = re.compile(r"https?://[^/?#@\s]+/?")
_SPACE = re.compile(r"personal|(guild|user):[0-9]{1,20}")
# Chroma's rule for the name of a collection.
_COLLECTION_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")
_LONGEST_SHOWN_VALUE = 200
_MAY_HOLD_A_PASSWORD = frozenset(
    {
        *("DATABASE_URL", "CHROMA_URL", "NESCORD_OFF_SITE", "NESCORD_OFF_SITE_ENDPOINT", "PREFECT_API_URL"),
        "NESCORD_VAULT_GIT_URL",
    }
)
_BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=-]+)*")
_HTTPS = re.compile(r"https://[^/?#@\s]+/?")
# What stays on this machine; anywhere else plain HTTP would send notes in the clear.
_HTTP_TO_HERE = re.compile(r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?/?")
_WEBHOOK = re.compile(rf"(https://[^/?#@\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?')})/[^\s]*")
_GIT_URL = re.compile(
    rf"https://[^/?#@\s]+/[^?#\s]+|{_HTTP_TO_HERE.pattern.removesuffix('/?')}/[^?#\s]+|"
    r"ssh://([\w.][\w.-]*@)?(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/[^?#\s]+|"
    r"[\w.][\w.-]*@\w[\w.-]*:[^-:\s][^\s]*|(file://)?/[^/\x00-\x1f][^\x00-\x1f]*"
)
# What git itself takes for the name of a branch, see git check-ref-format.
_GIT_BRANCH = re.compile(
    r"(?!-)(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)))[^\x00-\x20\x7f~^:?*\[\\./][^\x00-\x20\x7f~^:?*\[\\]*(?<![./])"
)
_SHORTEST_TOKEN = 16
_AGE_KEY = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_API_URL = re.compile(r"https?://[^/?#@\s]+(/[\w.~%-]+)*/?")
_TASK_RUNNER = re.compile(r"(threads|dask):([1-9][0-9]?)|dask\+(tcp|tls)://[^/?#@\s]+:[0-9]{1,5}")


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"must be a folder that can be found: {error}") from None


Folder = Annotated[Path, AfterValidator(_expand_home)]


class Settings(BaseSettings):
    """What the environment, `.env` and the caller say, checked. Keywords are the field names: `Settings(data_dir=…)`.

    A keyword wins over the environment, the environment over `.env`; `None` and blank text count as not given.
    """

    # Not pydantic's populate_by_name: with it the *environment* is read by field name too, and a stray VAULT or
    # TIMEZONE of some other program would become a setting of ours. __init__ translates the keywords instead.
    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    data_dir: Folder | None = Field(None, validation_alias="NESCORD_DATA_DIR")
    railway_volume_mount_path: Folder | None = Field(None, validation_alias="RAILWAY_VOLUME_MOUNT_PATH")
    railway_environment_id: str | None = Field(None, validation_alias="RAILWAY_ENVIRONMENT_ID")
    railway_deployment_id: str | None = Field(None, validation_alias="RAILWAY_DEPLOYMENT_ID")
    ephemeral: bool = Field(False, validation_alias="NESCORD_EPHEMERAL")
    run_as: int | None = Field(None, ge=1, le=2**31 - 1, validation_alias="NESCORD_UID")
    database_url: str | None = Field(None, validation_alias="DATABASE_URL")
    chroma_dir: Folder | None = Field(None, validation_alias="CHROMADB_PERSIST_DIRECTORY")
    collection_name: str = Field("nescord_knowledge", validation_alias="CHROMADB_COLLECTION_NAME")
    chroma_url: str | None = Field(None, validation_alias="CHROMA_URL")
    vector: Literal["auto", "chroma", "exact"] = Field("auto", validation_alias="NESCORD_VECTOR")
    hybrid_search_alpha: float = Field(0.7, ge=0, le=1, allow_inf_nan=False, validation_alias="PKM_HYBRID_SEARCH_ALPHA")
    fusion: Literal["imputed", "convex", "rrf"] = Field("imputed", validation_alias="NESCORD_FUSION")
    max_results: int = Field(10, ge=1, le=100, validation_alias="PKM_MAX_RESULTS")
    gemini_api_key: SecretStr | None = Field(None, validation_alias="GEMINI_API_KEY")
    gemini_monthly_limit: int = Field(1_000_000, ge=0, validation_alias="GEMINI_MONTHLY_LIMIT")
    embedding_provider: Literal["auto", "local", "none"] = Field("auto", validation_alias="NESCORD_EMBEDDING_PROVIDER")
    embedding_workers: int = Field(0, ge=0, le=16, validation_alias="NESCORD_EMBEDDING_WORKERS")
    vault: Folder | None = Field(None, validation_alias="NESCORD_VAULT")
    vault_git_url: str | None = Field(None, validation_alias="NESCORD_VAULT_GIT_URL")
    vault_git_branch: str | None = Field(None, validation_alias="NESCORD_VAULT_GIT_BRANCH")
    vault_git_folder: str | None = Field(None, validation_alias="NESCORD_VAULT_GIT_FOLDER")
    vault_git_token: SecretStr | None = Field(None, validation_alias="NESCORD_VAULT_GIT_TOKEN")
    vault_git_key: SecretStr | None = Field(None, validation_alias="NESCORD_VAULT_GIT_KEY")
    vault_space: str = Field("personal", validation_alias="NESCORD_VAULT_SPACE")
    chunk_target: int = Field(800, ge=200, le=4000, validation_alias="NESCORD_CHUNK_TARGET")
    chunk_max: int = Field(2400, ge=400, le=16_000, validation_alias="NESCORD_CHUNK_MAX")
    max_note_bytes: int = Field(64 * 2**20, ge=1024, le=2**30, validation_alias="NESCORD_MAX_NOTE_BYTES")
    off_site: str | None = Field(None, validation_alias="NESCORD_OFF_SITE")
    off_site_endpoint: str | None = Field(None, validation_alias="NESCORD_OFF_SITE_ENDPOINT")
    aws_access_key_id: SecretStr | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_region: str = Field("us-east-1", validation_alias="AWS_REGION")
    backup_recipient: str | None = Field(None, validation_alias="NESCORD_BACKUP_RECIPIENT")
    trash_days: int = Field(30, ge=0, le=36_500, validation_alias="NESCORD_TRASH_DAYS")
    lock_timeout: float = Field(30, ge=0, le=3600, allow_inf_nan=False, validation_alias="NESCORD_LOCK_TIMEOUT")
    timezone: str = Field("Asia/Tokyo", validation_alias="NESCORD_TZ")
    language: Literal["ja", "en"] = Field("en", validation_alias="NESCORD_LANG")
    port: int = Field(8080, ge=0, le=65535, validation_alias="PORT")
    status_token: SecretStr | None = Field(None, validation_alias="NESCORD_STATUS_TOKEN")
    log_format: Literal["text", "json"] = Field("text", validation_alias="NESCORD_LOG_FORMAT")
    discord_token: SecretStr | None = Field(None, validation_alias="DISCORD_TOKEN")
    discord_webhook: SecretStr | None = Field(None, validation_alias="NESCORD_DISCORD_WEBHOOK")
    task_runner: str = Field("threads:1", validation_alias="NESCORD_TASK_RUNNER")
    prefect_api_url: str | None = Field(None, validation_alias="PREFECT_API_URL")
    prefect_api_key: SecretStr | None = Field(None, validation_alias="PREFECT_API_KEY")
    prefect_api_auth_string: SecretStr | None = Field(None, validation_alias="PREFECT_API_AUTH_STRING")

    def __init__(self, **values: Any) -> None:  # Any: the signature of BaseSettings
        given = {_environment_name(name): value for name, value in values.items() if value is not None}
        try:
            super().__init__(**given)
        except ValidationError as error:
            lines = error.errors(include_url=False, include_context=False)
            message = "; ".join(_explain(line) for line in lines)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            message = f".env in the working directory cannot be read: {reason}; mend or remove the file"
        else:
            return
        # Raised outside the handlers: the caught errors hold the values, and would travel along as __context__.
        raise SettingsError(message)

    @model_validator(mode="before")
    @classmethod
    def _blank_counts_as_unset(cls, values: dict[str, object]) -> dict[str, object]:
        stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in stripped.items() if value != ""}

    @field_validator("database_url")
    @classmethod
    def _is_a_file_of_sqlite(cls, url: str | None) -> str | None:
        if url is not None:
            parse_sqlite_url(url)
        return url

    @field_validator("collection_name")
    @classmethod
    def _suits_chroma(cls, name: str) -> str:
        if not _COLLECTION_NAME.fullmatch(name):
            raise ValueError("must be 3 to 512 characters of a-z A-Z 0-9 . _ -, with a letter or digit at both ends")
        return name

    @field_validator("chroma_url")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        if url is not None and not _SERVER_URL.fullmatch(url):
            raise ValueError("must be the URL of a Chroma server without a path, such as http://localhost:8000")
        return url

    @field_validator("off_site")
    @classmethod
    def _is_a_bucket_or_a_folder(cls, target: str | None) -> str | None:
        if target is None:
            return None
        if target.startswith("s3://"):
            bucket = target.rstrip("/")
            if not _BUCKET_URL.fullmatch(bucket) or {".", ".."} & set(bucket.split("/")):
                raise ValueError("must be s3://BUCKET or s3://BUCKET/PREFIX, without a key in it")
            return bucket
        path = Path(unquote(target.removeprefix("file://")))
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be s3://BUCKET/PREFIX, or the absolute path of a folder on another disk")
        return str(path)

    @field_validator("off_site_endpoint")
    @classmethod
    def _keeps_secrets_from_the_line(cls, url: str | None) -> str | None:
        if url is not None and not _HTTPS.fullmatch(url) and not _HTTP_TO_HERE.fullmatch(url):
            raise ValueError(
                "must be an https:// URL without a path; http:// only for this machine, such as http://localhost:9000"
            )
        return None if url is None else url.rstrip("/")

    @field_validator("backup_recipient")
    @classmethod
    def _is_for_public_keys(cls, keys: str | None) -> str | None:
        if keys is None:
            return None
        each = sorted(set(keys.replace(",", " ").split()))
        if not each or not all(_AGE_KEY.fullmatch(key) for key in each):
            raise ValueError("must be the public key age1… that nescord backup keygen prints, or several with blanks")
        return " ".join(each)

    @field_validator("discord_webhook")
    @classmethod
    def _is_a_webhook(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not _WEBHOOK.fullmatch(secret.get_secret_value()):
            raise ValueError("must be the https:// URL that Discord shows for the webhook of a channel")
        return secret

    @field_validator("status_token")
    @classmethod
    def _is_not_to_be_guessed(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _SHORTEST_TOKEN:
            raise ValueError(f"must be at least {_SHORTEST_TOKEN} characters: whoever knows it sees what is stored")
        return secret

    @field_validator("vault_git_url")
    @classmethod
    def _is_a_repository(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        if re.match(r"https?://[^/]*@|ssh://[^/]*:[^/]*@", url):
            raise ValueError("must not hold a user or a password: put the token into NESCORD_VAULT_GIT_TOKEN")
        if not _GIT_URL.fullmatch(url):
            raise ValueError(
                "must be https://HOST/PATH.git, ssh://git@HOST/PATH.git, git@HOST:PATH.git or the absolute path of a "
                "repository (http:// only on this machine)"
            )
        if info.data.get("vault") is not None:
            raise ValueError("cannot be used together with NESCORD_VAULT, which names a folder: unset one of them")
        return url

    @field_validator("vault_git_branch")
    @classmethod
    def _is_a_branch(cls, branch: str | None) -> str | None:
        if branch is not None and not _GIT_BRANCH.fullmatch(branch):
            raise ValueError("must be the name of a branch, such as main")
        return branch

    @field_validator("vault_git_folder")
    @classmethod
    def _is_within_the_repository(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        path = PurePosixPath(folder)
        if path.is_absolute() or not folder.isprintable() or {"..", ".git"} & set(path.parts):
            raise ValueError('must be a folder in the repository, such as notes or my/notes, without ".."')
        return None if path == PurePosixPath() else str(path)

    @field_validator("vault_git_token")
    @classmethod
    def _is_a_token_for_http(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is None:
            return None
        if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
            raise ValueError("must be one word, a token or USER:TOKEN")
        if not (info.data.get("vault_git_url") or "https://").startswith(("https://", "http://")):
            raise ValueError("is for https:// URLs: for ssh use NESCORD_VAULT_GIT_KEY")
        return secret

    @field_validator("vault_git_key")
    @classmethod
    def _is_a_private_key(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is None:
            return None
        key = secret.get_secret_value()
        if not re.match(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|[/~]", key):
            raise ValueError("must be the text of a private key, with its BEGIN and END lines, or the path of its file")
        if (info.data.get("vault_git_url") or "").startswith(("http", "file://", "/")):
            raise ValueError("is for ssh URLs: for https:// use NESCORD_VAULT_GIT_TOKEN")
        return secret

    @field_validator("vault_space")
    @classmethod
    def _is_a_space(cls, space: str) -> str:
        if not is_space(space):
            raise ValueError("must be personal, guild:<id> or user:<id>, where <id> is a number of Discord")
        return space

    @field_validator("chunk_max")
    @classmethod
    def _leaves_room_for_the_target(cls, chunk_max: int, info: ValidationInfo) -> int:
        target = info.data.get("chunk_target")
        if target is not None and chunk_max < 2 * target:
            raise ValueError(f"must be a whole number from {2 * target} (twice NESCORD_CHUNK_TARGET) to 16000")
        return chunk_max

    @field_validator("prefect_api_url")
    @classmethod
    def _is_an_api(cls, url: str | None) -> str | None:
        if url is not None and not _API_URL.fullmatch(url):
            raise ValueError("must be the URL of a Prefect server's API without a password, http://HOST:4200/api")
        return None if url is None else url.rstrip("/")

    @field_validator("task_runner")
    @classmethod
    def _is_a_task_runner(cls, runner: str) -> str:
        if not _TASK_RUNNER.fullmatch(runner):
            raise ValueError("must be threads:N or dask:N with N from 1 to 99, or dask+tcp://HOST:PORT of a scheduler")
        return runner

    @field_validator("timezone")
    @classmethod
    def _is_a_time_zone(cls, key: str) -> str:
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


def _environment_name(keyword: str) -> str:
    if keyword.startswith("_"):  # pydantic-settings' own options, such as _env_file
        return keyword
    if keyword not in Settings.model_fields:
        raise TypeError(f"Settings has no field {keyword!r}")
    return str(Settings.model_fields[keyword].validation_alias)


def _explain(line: ErrorDetails) -> str:
    """One refused value: the setting's name, what it was and what it may be."""
    location = str(line["loc"][0])  # the environment name, or the field name when the default itself is refused
    field = Settings.model_fields.get(location) or next(
        field for field in Settings.model_fields.values() if field.validation_alias == location
    )
    name, reason = str(field.validation_alias), line["msg"]
    must = reason.removeprefix("Value error, ") if line["type"] == "value_error" else (_allowed_range(field) or reason)
    # A private key may have been put where the public one belongs.
    if field.annotation == SecretStr | None or "SECRET-KEY" in str(line["input"]).upper():
        return f"{name} (a secret, not shown) cannot be used: {must}"
    value = str(line["input"])
    shown = repr(_without_credentials(value) if name in _MAY_HOLD_A_PASSWORD else value)
    if len(shown) > _LONGEST_SHOWN_VALUE:
        shown = shown[:_LONGEST_SHOWN_VALUE] + "…"
    return f"{name} is {shown}: {must}"


def _allowed_range(field: FieldInfo) -> str:
    low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    number = "a whole number" if field.annotation is int else "a number"
    if low is None:
        return ""
    return f"must be {number} of {low} or more" if high is None else f"must be {number} from {low} to {high}"


def _without_credentials(url: str) -> str:
    """A refused URL is often that of a server database, and then holds a password before the "@" or after the "?"."""
    url = re.sub(r"^([\w+]*://)?.*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"\?.*", "?***", url, flags=re.DOTALL)
