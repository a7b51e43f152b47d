"""Every setting, as one frozen value.

The only reader of the environment (and of `.env` in the working directory), so that nothing else depends on what a
shell happens to export. What is out of range, or would lose data, is refused here with a message fit for a person.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from nescord import setting_rules
from nescord.errors import SettingsError
from nescord.setting_rules import (
    ApiUrl,
    Branch,
    CollectionName,
    DayQuota,
    DiscordApi,
    DiscordGateway,
    Endpoint,
    Folder,
    FolderInRepository,
    FolderInVault,
    GitAuthor,
    Ids,
    IdSet,
    OffSiteTarget,
    PublicKeys,
    Quota,
    ServerUrl,
    Space,
    Spaces,
    SpaceSet,
    SqliteUrl,
    TaskRunner,
    TimeZone,
)

_LONGEST_SHOWN_VALUE = 200
_MAY_HOLD_A_PASSWORD = frozenset(
    {
        *("DATABASE_URL", "CHROMA_URL", "NESCORD_OFF_SITE", "NESCORD_OFF_SITE_ENDPOINT", "PREFECT_API_URL"),
        *("NESCORD_VAULT_GIT_URL", "DISCORD_API_BASE", "DISCORD_GATEWAY"),
    }
)


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
    database_url: SqliteUrl | None = Field(None, validation_alias="DATABASE_URL")
    chroma_dir: Folder | None = Field(None, validation_alias="CHROMADB_PERSIST_DIRECTORY")
    collection_name: CollectionName = Field("nescord_knowledge", validation_alias="CHROMADB_COLLECTION_NAME")
    chroma_url: ServerUrl | None = Field(None, validation_alias="CHROMA_URL")
    vector: Literal["auto", "chroma", "exact"] = Field("auto", validation_alias="NESCORD_VECTOR")
    hybrid_search_alpha: float = Field(0.7, ge=0, le=1, allow_inf_nan=False, validation_alias="PKM_HYBRID_SEARCH_ALPHA")
    fusion: Literal["imputed", "convex", "rrf"] = Field("imputed", validation_alias="NESCORD_FUSION")
    max_results: int = Field(10, ge=1, le=100, validation_alias="PKM_MAX_RESULTS")
    gemini_api_key: SecretStr | None = Field(None, validation_alias="GEMINI_API_KEY")
    generator: Literal["auto", "none", "gemini", "genai"] = Field("auto", validation_alias="NESCORD_GENERATOR")
    gemini_embedding_model: str = Field("gemini-embedding-001", validation_alias="NESCORD_GEMINI_EMBEDDING_MODEL")
    gemini_dims: int = Field(768, ge=128, le=3072, validation_alias="NESCORD_GEMINI_DIMS")
    gemini_model: str = Field("gemini-3.5-flash-lite", validation_alias="NESCORD_GEMINI_MODEL")
    gemini_endpoint: Endpoint | None = Field(None, validation_alias="NESCORD_GEMINI_ENDPOINT")
    gemini_requests_per_minute: int = Field(
        100, ge=1, le=1_000_000, validation_alias="NESCORD_GEMINI_REQUESTS_PER_MINUTE"
    )
    gemini_tokens_per_minute: int = Field(
        30_000, ge=2048, le=1_000_000_000, validation_alias="NESCORD_GEMINI_TOKENS_PER_MINUTE"
    )
    gemini_parallel: int = Field(2, ge=1, le=16, validation_alias="NESCORD_GEMINI_PARALLEL")
    gemini_timeout: float = Field(60, ge=1, le=600, allow_inf_nan=False, validation_alias="NESCORD_GEMINI_TIMEOUT")
    price_embedding: float = Field(0.15, ge=0, allow_inf_nan=False, validation_alias="NESCORD_PRICE_EMBEDDING")
    price_input: float = Field(0.3, ge=0, allow_inf_nan=False, validation_alias="NESCORD_PRICE_INPUT")
    price_output: float = Field(2.5, ge=0, allow_inf_nan=False, validation_alias="NESCORD_PRICE_OUTPUT")
    mask: Literal["on", "off"] = Field("on", validation_alias="NESCORD_MASK")
    context_tokens: int = Field(6000, ge=500, le=200_000, validation_alias="NESCORD_CONTEXT_TOKENS")
    gemini_monthly_limit: int = Field(1_000_000, ge=0, validation_alias="GEMINI_MONTHLY_LIMIT")
    embedder: Literal["auto", "none", "local", "e5", "local+e5", "gemini", "genai"] = Field(
        "auto", validation_alias="NESCORD_EMBEDDER"
    )
    embedding_workers: int = Field(0, ge=0, le=16, validation_alias="NESCORD_EMBEDDING_WORKERS")
    vault: Folder | None = Field(None, validation_alias="NESCORD_VAULT")
    vault_git_url: str | None = Field(None, validation_alias="NESCORD_VAULT_GIT_URL")
    vault_git_branch: Branch | None = Field(None, validation_alias="NESCORD_VAULT_GIT_BRANCH")
    vault_git_folder: FolderInRepository | None = Field(None, validation_alias="NESCORD_VAULT_GIT_FOLDER")
    vault_git_token: SecretStr | None = Field(None, validation_alias="NESCORD_VAULT_GIT_TOKEN")
    vault_git_key: SecretStr | None = Field(None, validation_alias="NESCORD_VAULT_GIT_KEY")
    vault_space: Space = Field("personal", validation_alias="NESCORD_VAULT_SPACE")
    writeback: bool = Field(False, validation_alias="NESCORD_WRITEBACK")
    writeback_spaces: Spaces = Field(SpaceSet(("personal",)), validation_alias="NESCORD_WRITEBACK_SPACES")
    writeback_folder: FolderInVault = Field("inbox", validation_alias="NESCORD_WRITEBACK_FOLDER")
    writeback_author: GitAuthor = Field(
        "NescordBot <nescordbot@localhost>", validation_alias="NESCORD_WRITEBACK_AUTHOR"
    )
    watch_rescan_minutes: int = Field(60, ge=1, le=1440, validation_alias="NESCORD_WATCH_RESCAN_MINUTES")
    chunk_target: int = Field(800, ge=200, le=4000, validation_alias="NESCORD_CHUNK_TARGET")
    chunk_max: int = Field(2400, ge=400, le=16_000, validation_alias="NESCORD_CHUNK_MAX")
    max_note_bytes: int = Field(64 * 2**20, ge=1024, le=2**30, validation_alias="NESCORD_MAX_NOTE_BYTES")
    off_site: OffSiteTarget | None = Field(None, validation_alias="NESCORD_OFF_SITE")
    off_site_endpoint: Endpoint | None = Field(None, validation_alias="NESCORD_OFF_SITE_ENDPOINT")
    aws_access_key_id: SecretStr | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_region: str = Field("us-east-1", validation_alias="AWS_REGION")
    backup_recipient: PublicKeys | None = Field(None, validation_alias="NESCORD_BACKUP_RECIPIENT")
    trash_days: int = Field(30, ge=0, le=36_500, validation_alias="NESCORD_TRASH_DAYS")
    lock_timeout: float = Field(30, ge=0, le=3600, allow_inf_nan=False, validation_alias="NESCORD_LOCK_TIMEOUT")
    timezone: TimeZone = Field("Asia/Tokyo", validation_alias="NESCORD_TZ")
    language: Literal["ja", "en"] = Field("en", validation_alias="NESCORD_LANG")
    port: int = Field(8080, ge=0, le=65535, validation_alias="PORT")
    status_token: SecretStr | None = Field(None, validation_alias="NESCORD_STATUS_TOKEN")
    log_format: Literal["text", "json"] = Field("text", validation_alias="NESCORD_LOG_FORMAT")
    discord_token: SecretStr | None = Field(None, validation_alias="DISCORD_TOKEN")
    owner_ids: Ids = Field(IdSet(), validation_alias="NESCORD_OWNER_IDS")
    allow_ids: Ids = Field(IdSet(), validation_alias="NESCORD_ALLOW_IDS")
    discord_api_base: DiscordApi | None = Field(None, validation_alias="DISCORD_API_BASE")
    discord_gateway: DiscordGateway | None = Field(None, validation_alias="DISCORD_GATEWAY")
    quota_searches: DayQuota = Field(Quota(200, 2000), validation_alias="NESCORD_QUOTA_SEARCHES")
    quota_answers: DayQuota = Field(Quota(30, 300), validation_alias="NESCORD_QUOTA_ANSWERS")
    quota_notes: DayQuota = Field(Quota(300, 3000), validation_alias="NESCORD_QUOTA_NOTES")
    quota_flows: DayQuota = Field(Quota(20, 50), validation_alias="NESCORD_QUOTA_FLOWS")
    search_events: Literal["on", "off"] = Field("on", validation_alias="NESCORD_SEARCH_EVENTS")
    event_days: int = Field(90, ge=0, le=3650, validation_alias="NESCORD_EVENT_DAYS")
    discord_webhook: SecretStr | None = Field(None, validation_alias="NESCORD_DISCORD_WEBHOOK")
    notebooks: Folder | None = Field(None, validation_alias="NESCORD_NOTEBOOKS")
    report_parallel: int = Field(1, ge=1, le=2, validation_alias="NESCORD_REPORT_PARALLEL")
    task_runner: TaskRunner = Field("threads:1", validation_alias="NESCORD_TASK_RUNNER")
    prefect_api_url: ApiUrl | None = Field(None, validation_alias="PREFECT_API_URL")
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

    @field_validator("discord_webhook")
    @classmethod
    def _is_a_webhook(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not setting_rules.WEBHOOK.fullmatch(secret.get_secret_value()):
            raise ValueError("must be the https:// URL that Discord shows for the webhook of a channel")
        return secret

    @field_validator("status_token")
    @classmethod
    def _is_not_to_be_guessed(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < setting_rules.SHORTEST_TOKEN:
            raise ValueError(
                f"must be at least {setting_rules.SHORTEST_TOKEN} characters: whoever knows it sees what is stored"
            )
        return secret

    @field_validator("vault_git_url")
    @classmethod
    def _is_a_repository(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        if re.match(r"https?://[^/]*@|ssh://[^/]*:[^/]*@", url):
            raise ValueError("must not hold a user or a password: put the token into NESCORD_VAULT_GIT_TOKEN")
        if not setting_rules.GIT_URL.fullmatch(url):
            raise ValueError(
                "must be https://HOST/PATH.git, ssh://git@HOST/PATH.git, git@HOST:PATH.git or the absolute path of a "
                "repository (http:// only on this machine)"
            )
        if info.data.get("vault") is not None:
            raise ValueError("cannot be used together with NESCORD_VAULT, which names a folder: unset one of them")
        return url

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
        # The path of a file may hold any character.
        if key.startswith("-") and not key.isascii():
            raise ValueError("holds a character that no private key has (they are plain ASCII): copy it once more")
        if (info.data.get("vault_git_url") or "").startswith(("http", "file://", "/")):
            raise ValueError("is for ssh URLs: for https:// use NESCORD_VAULT_GIT_TOKEN")
        return secret

    @field_validator("chunk_max")
    @classmethod
    def _leaves_room_for_the_target(cls, chunk_max: int, info: ValidationInfo) -> int:
        target = info.data.get("chunk_target")
        if target is not None and chunk_max < 2 * target:
            raise ValueError(f"must be a whole number from {2 * target} (twice NESCORD_CHUNK_TARGET) to 16000")
        return chunk_max


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
