"""Settings: what is accepted, what is refused and how it is said, and that a secret is never said."""

from __future__ import annotations

import pickle
import re
import traceback
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from nescord.errors import SettingsError
from nescord.setting_rules import Quota, parse_sqlite_url
from nescord.settings import Settings

ENV_EXAMPLE = Path(__file__).parent.parent / ".env.example"
NAMES = {field: str(info.validation_alias) for field, info in Settings.model_fields.items()}


@pytest.fixture(autouse=True)
def _an_empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    return str(caught.value)


def test_without_any_setting_the_defaults_hold() -> None:
    settings = Settings()
    assert (settings.data_dir, settings.database_url, settings.vault, settings.gemini_api_key) == (None,) * 4
    assert (settings.collection_name, settings.hybrid_search_alpha, settings.max_results) == (
        "nescord_knowledge",
        0.7,
        10,
    )
    assert (settings.chunk_target, settings.chunk_max, settings.max_note_bytes) == (800, 2400, 64 * 2**20)
    assert (settings.lock_timeout, settings.timezone) == (30, "Asia/Tokyo")
    assert (settings.vault_space, settings.gemini_monthly_limit) == ("personal", 1_000_000)


def test_the_owners_names_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMADB_COLLECTION_NAME", "mine")
    monkeypatch.setenv("PKM_HYBRID_SEARCH_ALPHA", "0.25")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////app/data/nescordbot.db")
    settings = Settings()
    assert settings.collection_name == "mine"
    assert settings.hybrid_search_alpha == 0.25
    assert settings.database_url == "sqlite:////app/data/nescordbot.db"


def test_a_keyword_wins_over_the_environment_and_the_environment_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text(
        "PKM_MAX_RESULTS=3\nNESCORD_MAX_NOTE_BYTES=3000\nNESCORD_CHUNK_TARGET=300\n", encoding="utf-8"
    )
    monkeypatch.setenv("PKM_MAX_RESULTS", "4")
    monkeypatch.setenv("NESCORD_MAX_NOTE_BYTES", "4000")
    settings = Settings(max_results=5)
    assert (settings.max_results, settings.max_note_bytes, settings.chunk_target) == (5, 4000, 300)


def test_none_as_a_keyword_counts_as_not_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NESCORD_DATA_DIR", str(tmp_path))
    assert Settings(data_dir=None).data_dir == tmp_path


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_blank_text_counts_as_unset(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    for name in NAMES.values():
        monkeypatch.setenv(name, blank)
    settings = Settings()
    assert settings.gemini_api_key is None
    assert settings.data_dir is None
    assert settings.max_results == 10


def test_an_env_file_with_a_byte_order_mark_and_strangers_in_it_is_read() -> None:
    Path(".env").write_bytes("\ufeffNESCORD_TZ=UTC # as at sea\nSOMETHING_ELSE=1\n".encode())
    assert Settings().timezone == "UTC"


def test_an_env_file_that_is_not_text_is_refused_without_quoting_it() -> None:
    Path(".env").write_bytes(b"GEMINI_API_KEY=hush\xff\xfe\n")
    message = refusal()
    assert ".env" in message
    assert "hush" not in message


def test_variables_of_other_programs_named_like_our_fields_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        if field.upper() not in NAMES.values():
            monkeypatch.setenv(field.upper(), "7")
        monkeypatch.setenv(field, "7")
    assert Settings() == Settings.model_construct()


def test_a_misspelt_keyword_is_a_bug_and_not_ignored() -> None:
    with pytest.raises(TypeError, match="datadir"):
        Settings(datadir="/tmp")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().max_results = 3


def test_a_home_folder_is_expanded_where_no_shell_did_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Path(".env").write_text("NESCORD_DATA_DIR=~/kb\n", encoding="utf-8")
    assert Settings().data_dir == tmp_path / "kb"


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("hybrid_search_alpha", "1.01", "from 0 to 1"),
        ("hybrid_search_alpha", "nan", "from 0 to 1"),
        ("max_results", "0", "from 1 to 100"),
        ("max_results", "101", "from 1 to 100"),
        ("max_results", "many", "a whole number from 1 to 100"),
        ("gemini_monthly_limit", "-1", "of 0 or more"),
        ("vault_space", "everyone", "personal, guild:<id> or user:<id>"),
        ("vault_space", "user:", "personal, guild:<id> or user:<id>"),
        ("vault_space", "user:１", "personal, guild:<id> or user:<id>"),
        ("chunk_target", "199", "from 200 to 4000"),
        ("chunk_target", "4001", "from 200 to 4000"),
        ("chunk_max", "1599", "from 1600 (twice NESCORD_CHUNK_TARGET) to 16000"),
        ("chunk_max", "16001", "to 16000"),
        ("max_note_bytes", "1023", "from 1024 to 1073741824"),
        ("max_note_bytes", "1073741825", "from 1024 to 1073741824"),
        ("lock_timeout", "-0.1", "from 0 to 3600"),
        ("lock_timeout", "inf", "from 0 to 3600"),
        ("timezone", "Asia/Edo", "a time zone such as"),
        ("timezone", "Asia", "a time zone such as"),
        ("timezone", "/etc/passwd", "a time zone such as"),
        ("collection_name", "ab", "3 to 512 characters"),
        ("collection_name", "_knowledge", "3 to 512 characters"),
        ("collection_name", "知識の庭", "3 to 512 characters"),
        ("collection_name", "a" * 513, "3 to 512 characters"),
        ("owner_ids", "ada", "ids of Discord with commas"),
        ("owner_ids", "0", "ids of Discord with commas"),
        ("allow_ids", "7,-1", "ids of Discord with commas"),
        ("allow_ids", str(2**63), "ids of Discord with commas"),
        ("quota_searches", "200", "two whole numbers from 0 to 1000000"),
        ("quota_flows", "1/1000001", "two whole numbers from 0 to 1000000"),
        ("quota_notes", "-1/3", "two whole numbers from 0 to 1000000"),
        ("event_days", "3651", "from 0 to 3650"),
        ("discord_api_base", "http://example.com/api", "http:// only for this machine"),
        ("discord_api_base", "https://example.com/api?v=10", "must be the https:// URL"),
        ("discord_gateway", "ws://example.com", "ws:// only for this machine"),
        ("discord_gateway", "https://example.com", "must be the wss:// URL"),
    ],
)
def test_a_value_out_of_range_is_refused_with_name_value_and_range(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(NAMES[field], value)
    message = refusal()
    assert message.startswith(NAMES[field])
    assert value.partition("?")[0][:100] in message
    assert allowed in message
    monkeypatch.delenv(NAMES[field])
    assert allowed in refusal(**{field: value}), "a keyword is held to the same range"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hybrid_search_alpha", "0"),
        ("hybrid_search_alpha", "1"),
        ("max_results", "100"),
        ("gemini_monthly_limit", "0"),
        ("vault_space", "guild:7"),
        ("vault_space", "user:1234567890123456789"),
        ("chunk_max", "1600"),
        ("chunk_max", "16000"),
        ("lock_timeout", "0"),
        ("collection_name", "a.b-c_d"),
        ("collection_name", "a" * 512),
        ("timezone", "UTC"),
        ("quota_answers", "0/1000000"),
        ("event_days", "0"),
        ("discord_api_base", "http://127.0.0.1:8080/api/v10"),
        ("discord_gateway", "ws://localhost:8080/gateway"),
    ],
)
def test_the_edges_of_a_range_are_inside(field: str, value: str) -> None:
    assert str(getattr(Settings(**{field: value}), field)).removesuffix(".0") == value


def test_ids_are_typed_with_commas_and_an_empty_list_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_OWNER_IDS", " 42, 41771983423143937,42")
    settings = Settings(allow_ids={7})
    assert settings.owner_ids == {42, 41771983423143937}
    assert settings.allow_ids == {7}
    monkeypatch.setenv("NESCORD_OWNER_IDS", "")
    assert Settings().owner_ids == frozenset()


def test_a_quota_is_for_a_person_and_for_a_guild(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESCORD_QUOTA_SEARCHES", "5 / 50")
    settings = Settings()
    assert settings.quota_searches == Quota(person=5, guild=50)
    assert settings.quota_answers == Quota(person=30, guild=300)


def test_a_target_that_outgrows_the_default_maximum_is_told_so() -> None:
    assert refusal(chunk_target=2000) == (
        "NESCORD_CHUNK_MAX is '2400': must be a whole number from 4000 (twice NESCORD_CHUNK_TARGET) to 16000"
    )


def test_all_wrong_values_are_named_at_once() -> None:
    message = refusal(max_results=0, timezone="Mars")
    assert "PKM_MAX_RESULTS" in message
    assert "NESCORD_TZ" in message


def test_a_secret_is_nowhere_to_be_read() -> None:
    settings = Settings(gemini_api_key=" AIzaHush ")
    assert settings.gemini_api_key is not None
    assert settings.gemini_api_key.get_secret_value() == "AIzaHush"
    for text in (repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.model_dump())):
        assert "Hush" not in text
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_secret_is_not_in_an_error_nor_in_its_traceback() -> None:
    for values in (
        {"gemini_api_key": b"\xffHush"},
        {"gemini_api_key": ["Hush"]},
        {"gemini_api_key": "Hush", "max_results": 0},
    ):
        with pytest.raises(SettingsError) as caught:
            Settings(**values)
        assert "Hush" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None, "a caught validation error would carry the value along"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hu/sh@db.example/notes",
        "postgresql+psycopg2://me:hush@db.example/notes?password=hush",
        "libsql://db.example/?authToken=hush",
        "sqlite://me:hush@host/x.db",
        "sqlite:////app/data/x.db?key=hush",
        "me:hush@db.example",
    ],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    message = refusal(database_url=url)
    assert message.startswith("DATABASE_URL is ")
    assert "hush" not in message
    assert "hu/sh" not in message


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rel/x.db", "rel/x.db"),
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite+aiosqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite+pysqlite:///x.db", "x.db"),
        ("sqlite:////abs/a%20b+c#d.db", "/abs/a%20b+c#d.db"),
        ("sqlite:////abs/u:p@x.db", "/abs/u:p@x.db"),
        ("sqlite:///~/x.db", "~/x.db"),
    ],
)
def test_a_sqlite_url_is_read_as_sqlalchemy_reads_it(url: str, path: str) -> None:
    assert parse_sqlite_url(url) == path == make_url(url).database


@given(st.text(st.characters(exclude_characters="?\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_path_in_a_sqlite_url_is_sqlalchemys_path_or_refused(path: str) -> None:
    url = f"sqlite:///{path}"
    try:
        ours = parse_sqlite_url(url)
    except ValueError:
        assert path.endswith("/") or path.startswith("file:") or path == ":memory:"
    else:
        assert ours == make_url(url).database


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////app/x.db?mode=ro", "query string"),
        ("sqlite:////app/x.db?", "query string"),
        ("sqlite://host/x.db", "server"),
        ("sqlite://relative.db", "server"),
        ("sqlite:////app/data/", "not a folder"),
        ("sqlite:///file:x.db", "file: URIs"),
        ("sqlite:/app/x.db", "must be a URL of SQLite"),
        ("/app/data/x.db", "must be a URL of SQLite"),
        ("sqlite+pysqlcipher:////app/x.db", "must be a URL of SQLite"),
        ("mysql://db/x", "must be a URL of SQLite"),
    ],
)
def test_a_url_that_is_no_plain_file_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert reason in refusal(database_url=url)


def test_the_example_file_names_every_setting_once_and_nothing_else() -> None:
    names = re.findall(r"^#?([A-Z_]+)=", ENV_EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(names) == sorted(NAMES.values())


def test_the_example_file_uncommented_is_the_defaults() -> None:
    text = ENV_EXAMPLE.read_text(encoding="utf-8")
    Path(".env").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert Settings() == Settings.model_construct()


def test_every_setting_of_the_example_file_has_a_comment_above_it() -> None:
    lines = ENV_EXAMPLE.read_text(encoding="utf-8").splitlines()
    for above, line in pairwise(lines):
        if re.match(r"#?[A-Z_]+=", line):
            assert above.startswith("# "), line
