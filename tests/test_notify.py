"""Messages to Discord: one when something fails, one when it is over, with nothing of a note in them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nescord import KnowledgeManager, Settings, errors, notifying
from nescord.backup.manager import BackupManager
from nescord.backup.store import BackupStore
from nescord.errors import DiskError, FailedChecksError, NescordError, SettingsError, VaultError
from nescord.home import read_identity, write_identity
from nescord.notifying_texts import BACKUP_AGE, Told, text_of
from tests.vaults import write_notes
from tests.webhook import Webhook, webhook

SECRET_PATH = "/home/somebody/Diary/私の秘密.md"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture
def settings(hook: Webhook, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "kb", discord_webhook=hook.url)


def broken(name: str = "ingest", error: object = None) -> Told:
    return Told(name, error or DiskError(f"cannot read {SECRET_PATH}"), run="quick-fox")


def test_an_incident_is_one_message_and_its_end_is_another(hook: Webhook, settings: Settings) -> None:
    assert notifying.recovered(settings, "ingest") == ""
    assert hook.texts == []
    for _ in range(3):
        assert notifying.failed(settings, broken()) == ""
    notifying.failed(settings, broken("backup"))
    assert [text.split("**")[1] for text in hook.texts] == ["ingest", "backup"]
    for _ in range(2):
        assert notifying.recovered(settings, "ingest") == ""
    assert len(hook.texts) == 3
    assert "**ingest** works again" in hook.texts[2]
    notifying.failed(settings, broken())
    assert len(hook.texts) == 4, "it is another incident"


def test_an_incident_outlives_the_process(hook: Webhook, settings: Settings, tmp_path: Path) -> None:
    notifying.failed(settings, broken())
    code = (
        "from nescord import Settings, notifying; from nescord.notifying_texts import Told; settings = Settings();"
        "print([notifying.failed(settings, Told('ingest', crashed=True)), notifying.recovered(settings, 'ingest')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"NESCORD_DATA_DIR": str(tmp_path / "kb"), "NESCORD_DISCORD_WEBHOOK": hook.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "['', '']", done.stderr
    assert len(hook.texts) == 2
    assert "works again" in hook.texts[1]


def _made(kind: type[Exception]) -> Exception:
    if kind is errors.QuotaError:
        return errors.QuotaError(SECRET_PATH, what="notes", used_up="person", returns_at=datetime.now(UTC))
    return kind(SECRET_PATH, {}) if kind is errors.UnusableVectorsError else kind(SECRET_PATH)


def test_a_message_names_the_kind_of_an_error_and_nothing_that_it_says(hook: Webhook, settings: Settings) -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NescordError)]
    for number, kind in enumerate([*kinds, OSError, RecursionError, TimeoutError]):
        notifying.failed(settings, broken(f"flow{number}", _made(kind) if kind is not FailedChecksError else None))
    notifying.failed(settings, broken("verify", FailedChecksError("database.pages", "disk.free")))
    assert len(hook.texts) == len(kinds) + 4
    assert not any(word in text for text in hook.texts for word in ("Diary", "秘密", "somebody", "s3cret"))
    assert "RecursionError" in "".join(hook.texts)
    assert "database.pages, disk.free" in hook.texts[-1]
    assert all(request["allowed_mentions"] == {"parse": []} for request in hook.requests)
    assert all(header["User-Agent"] == "NescordBot" for header in hook.headers)


def test_messages_come_in_the_language_that_is_set(hook: Webhook, settings: Settings) -> None:
    japanese = settings.model_copy(update={"language": "ja"})
    notifying.failed(japanese, broken(error=VaultError("gone")))
    notifying.recovered(japanese, "ingest")
    assert "失敗しています" in hook.texts[0]
    assert "Vault を読めません" in hook.texts[0]
    assert "復旧しました" in hook.texts[1]
    errors_told = [FailedChecksError("a"), DiskError("x"), VaultError("x"), ZeroDivisionError("x"), TimeoutError("x")]
    for told in (*(Told("x", error) for error in errors_told), Told("x", crashed=True), Told(BACKUP_AGE, hours=40)):
        for is_over in (False, True):
            ours, theirs = (text_of(told, language, is_over=is_over) for language in ("ja", "en"))
            assert ours != theirs
            assert not any(mark in text for text in (ours, theirs) for mark in "{}")
            assert len(ours) < 2000


def test_who_is_asked_to_wait_waits_once(hook: Webhook, settings: Settings) -> None:
    hook.answers = [(429, '{"message": "slow down", "retry_after": 0.7}', 0.0)]
    began = time.monotonic()
    assert notifying.failed(settings, broken()) == ""
    assert time.monotonic() - began >= 0.7
    assert len(hook.requests) == 2
    hook.answers = [(429, '{"retry_after": 0.01}', 0.0)] * 2
    assert notifying.failed(settings, broken("backup")) == "the webhook answered 429"
    assert len(hook.requests) == 4
    hook.answers = [(429, '{"retry_after": 3600}', 0.0)]
    assert notifying.failed(settings, broken("drill")) == "the webhook answered 429"
    assert len(hook.requests) == 5, "nobody waits an hour"


def test_what_could_not_be_told_is_told_the_next_time(hook: Webhook, settings: Settings) -> None:
    hook.answers = [(500, "", 0.0)]
    assert notifying.failed(settings, broken()) == "the webhook answered 500"
    assert notifying.failed(settings, broken()) == ""
    hook.answers = [(502, "", 0.0)]
    assert notifying.recovered(settings, "ingest") == "the webhook answered 502"
    assert notifying.recovered(settings, "ingest") == ""
    assert len(hook.requests) == 4
    hook.answers = [(500, "", 0.0)]
    notifying.failed(settings, broken())
    notifying.recovered(settings, "ingest")
    assert len(hook.requests) == 5, "who did not hear of the failure hears nothing of its end"


def test_a_webhook_that_does_not_answer_is_given_up(
    hook: Webhook, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "_TIMEOUT_SECONDS", 0.3)
    hook.answers = [(204, "", 1.5)]
    assert "cannot be reached (TimeoutError)" in notifying.failed(settings, broken())
    gone = settings.model_copy(
        update={"discord_webhook": Settings(discord_webhook="http://127.0.0.1:9/x").discord_webhook}
    )
    assert "cannot be reached (ConnectionRefusedError)" in notifying.failed(gone, broken("backup"))


def test_without_a_webhook_nothing_is_done_and_nothing_is_kept(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "kb")
    assert notifying.failed(settings, broken()) == notifying.recovered(settings, "x") == ""
    assert notifying.watch_backup_age(settings) == ""
    assert not (tmp_path / "kb").exists()


def test_a_state_that_is_garbled_costs_one_message_at_most(hook: Webhook, settings: Settings, tmp_path: Path) -> None:
    notifying.failed(settings, broken())
    (tmp_path / "kb" / "run" / "incidents.json").write_text('{"ingest": 1', encoding="utf-8")
    notifying.failed(settings, broken())
    notifying.failed(settings, broken())
    assert len(hook.texts) == 2


def test_a_backup_that_is_too_old_is_told_once_and_a_fresh_one_too(
    hook: Webhook, settings: Settings, tmp_path: Path
) -> None:
    assert notifying.watch_backup_age(settings) == ""
    write_notes(tmp_path / "vault", {"Tea.md": "Green tea."})
    with KnowledgeManager.open(settings) as knowledge:
        knowledge.ingest(tmp_path / "vault")
        folder = knowledge.folder
    notifying.watch_backup_age(settings)
    assert hook.texts == [], "a knowledge base of today may be without a backup"
    ago = datetime.now(UTC) - timedelta(hours=40)
    write_identity(folder, replace(read_identity(folder), first_seen=ago.isoformat(timespec="seconds")))
    for _ in range(2):
        notifying.watch_backup_age(settings)
    assert len(hook.texts) == 1
    assert "is 40 hours old" in hook.texts[0]
    snapshot = BackupManager(settings).create().id
    for _ in range(2):
        notifying.watch_backup_age(settings)
    assert len(hook.texts) == 2
    assert "a fresh good backup" in hook.texts[1]
    BackupStore(folder.backups).set_status(snapshot, state="bad")
    notifying.watch_backup_age(settings)
    assert len(hook.texts) == 3, "a bad one is none"


def test_a_url_that_is_no_webhook_is_refused_and_not_shown() -> None:
    for url in (
        "discord.com/api/webhooks/1/s3cret",
        "http://example.com/s3cret",
        "https://discord.com",
        "ftp://x/s3cret",
    ):
        with pytest.raises(SettingsError) as caught:
            Settings(discord_webhook=url)
        assert "NESCORD_DISCORD_WEBHOOK (a secret, not shown)" in str(caught.value)
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Settings(discord_webhook="https://discord.com/api/webhooks/1/s3cret"))
