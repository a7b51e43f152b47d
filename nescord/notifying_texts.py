"""What is posted to Discord, in English and Japanese: fixed sentences, with nothing in them that comes from a note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nescord.errors import (
    BackupError,
    CatalogError,
    DiskError,
    EmbeddingError,
    FailedChecksError,
    LockTimeoutError,
    NoKnowledgeBaseError,
    ServiceUnavailableError,
    SettingsError,
    UsageError,
    VaultError,
)

Language = Literal["ja", "en"]
BACKUP_AGE = "backup-age"


@dataclass(frozen=True, slots=True)
class Told:
    """What a message is about: the incident's name, and what is known of it.

    `error` is what a run failed with; `crashed`, that its process ended in its midst; `run`, how the run is called;
    `hours`, how old the last good backup is; `since`, when an incident that is over began.
    """

    name: str
    error: object = None
    crashed: bool = False
    run: str = ""
    hours: int = 0
    since: str = ""


# The first that fits. Each says what is wrong and what to do.
_KINDS: tuple[tuple[type[BaseException], Mapping[Language, str]], ...] = (
    (
        FailedChecksError,
        {
            "en": "Checks failed: {checks}. `nescord verify` says what to do about each.",
            "ja": "検査に失敗しました: {checks}。対処は `nescord verify` が示します。",
        },
    ),
    (
        VaultError,
        {
            "en": "The vault cannot be read. Mount it, or set NESCORD_VAULT rightly.",
            "ja": "Vault を読めません。マウントされているか、NESCORD_VAULT が正しいかを確認してください。",
        },
    ),
    (
        NoKnowledgeBaseError,
        {
            "en": "There is no knowledge base at the data folder. Is the volume mounted?",
            "ja": "データフォルダーに知識ベースがありません。ボリュームはマウントされていますか。",
        },
    ),
    (
        SettingsError,
        {
            "en": "A setting cannot be used. `nescord config` names it.",
            "ja": "設定に誤りがあります。`nescord config` で確認してください。",
        },
    ),
    (
        UsageError,
        {
            "en": "It was asked for something that cannot be done. The run's log says what.",
            "ja": "実行できない指定です。詳しくは実行のログを見てください。",
        },
    ),
    (
        DiskError,
        {
            "en": "The disk under the database failed. Look at the volume; the next run tries again.",
            "ja": "データベースのディスクに障害があります。ボリュームを確認してください。次の実行で再試行します。",
        },
    ),
    (
        CatalogError,
        {
            "en": "The database is missing or damaged. `nescord verify` says more, `nescord backup restore` mends it.",
            "ja": "データベースがないか壊れています。`nescord verify` で調べ、`nescord backup restore` で戻せます。",
        },
    ),
    (
        BackupError,
        {
            "en": "A backup could not be made, copied, dropped or read. `nescord backup list` shows what there is.",
            "ja": "バックアップの作成・複製・整理・読み出しに失敗しました。`nescord backup list` で確認できます。",
        },
    ),
    (
        LockTimeoutError,
        {
            "en": "Another process is holding a lock for long. `nescord doctor` tells which.",
            "ja": "別のプロセスが長くロックを保持しています。`nescord doctor` で確認できます。",
        },
    ),
    (
        EmbeddingError,
        {
            "en": "The embedding model gave no usable answer. Notes are stored and found by their words.",
            "ja": "埋め込みモデルの応答が使えません。ノートは保存され、キーワードで検索できます。",
        },
    ),
    (
        ServiceUnavailableError,
        {
            "en": "A service that is needed does not answer. The next run tries again.",
            "ja": "必要なサービスが応答しません。次の実行で再試行します。",
        },
    ),
    (
        TimeoutError,
        {
            "en": "It took longer than it may and was stopped. What it had committed is kept.",
            "ja": "制限時間を超えたため停止しました。確定済みの内容は保たれています。",
        },
    ),
)
_CRASHED = {
    "en": "Its process was ended in its midst (a restart, or too little memory). What it had committed is kept, the "
    "next run does the rest.",
    "ja": "実行中にプロセスが終了しました (再起動またはメモリー不足)。確定済みの内容は保たれます。"
    "続きは次の実行で行います。",
}
_UNEXPECTED = {
    "en": "An unexpected error ({kind}). The run's log says more.",
    "ja": "予期しないエラー ({kind}) です。詳しくは実行のログを見てください。",
}
_FAILED = {
    "en": "🔴 **{name}** fails (run {run}). {reason}",
    "ja": "🔴 **{name}** が失敗しています (実行 {run})。{reason}",
}
_OVER = {
    "en": "🟢 **{name}** works again. It failed since {since}.",
    "ja": "🟢 **{name}** は復旧しました ({since} から失敗していました)。",
}
_OLD = {
    "en": "🔴 The last good backup is {hours} hours old. `nescord backup create` makes one, `nescord flows status` "
    "shows why none was made.",
    "ja": "🔴 最後の正常なバックアップから {hours} 時間が経過しています。`nescord backup create` で作成できます。"
    "作成されなかった理由は `nescord flows status` で確認できます。",
}
_YOUNG = {
    "en": "🟢 There is a fresh good backup again.",
    "ja": "🟢 新しい正常なバックアップができました。",
}


def text_of(told: Told, language: Language, *, is_over: bool) -> str:
    """The message, in one line."""
    if told.name == BACKUP_AGE:
        return (_YOUNG if is_over else _OLD)[language].format(hours=told.hours)
    if is_over:
        return _OVER[language].format(name=told.name, since=told.since)
    return _FAILED[language].format(name=told.name, run=told.run, reason=_reason(told, language))


def _reason(told: Told, language: Language) -> str:
    if told.crashed:
        return _CRASHED[language]
    for kind, words in _KINDS:
        if isinstance(told.error, kind):
            names = told.error.names if isinstance(told.error, FailedChecksError) else ()
            return words[language].format(checks=", ".join(names))
    # Its kind only: what it says may name a note.
    return _UNEXPECTED[language].format(kind=type(told.error).__name__)
