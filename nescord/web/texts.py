"""What the page says, in English and Japanese."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Language = Literal["ja", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

# Each in English and in Japanese.
TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("NescordBot status", "NescordBot の状態"),
    "level.good": ("Everything runs", "すべて動いています"),
    "level.degraded": ("Runs, but not all is well", "動いていますが、問題があります"),
    "level.starting": ("Starting", "起動しています"),
    "level.stopping": ("Stopping", "停止しています"),
    "level.away": ("Not in service", "ご利用いただけません"),
    "missing": ("Not there now: {parts}.", "現在停止: {parts}。"),
    "failed": ("Failed at the start: {checks}.", "起動時に失敗した検査: {checks}。"),
    "and": (", ", "、"),
    "ready_since": ("Ready since {when}.", "{when} から稼働しています。"),
    "parts": ("Parts", "構成"),
    "part.supervisor": ("Supervisor", "監視プロセス"),
    "part.http": ("This page", "このページ"),
    "part.database": ("Database", "データベース"),
    "part.chroma": ("Search index", "検索インデックス"),
    "part.prefect": ("Scheduler", "スケジューラー"),
    "part.serve": ("Flows", "フロー"),
    "part.bot": ("Discord bot", "Discord ボット"),
    "part.discord": ("Connection to Discord", "Discord との接続"),
    "state.waiting": ("waiting", "待機中"),
    "state.starting": ("starting", "起動中"),
    "state.ready": ("running", "稼働中"),
    "state.pausing": ("restarts soon", "再起動待ち"),
    "state.degraded": ("not running", "停止中"),
    "state.stopped": ("stopped", "停止"),
    "state.failed": ("failed", "失敗"),
    "database.ready": ("readable", "読み取り可"),
    "database.stopped": ("not readable", "読み取り不可"),
    "discord.ready": ("connected", "接続済み"),
    "discord.starting": ("connecting", "接続しています"),
    "discord.pausing": ("reconnecting", "再接続しています"),
    "discord.stopped": ("not connected", "未接続"),
    "last_ack": ("last heartbeat answered {when}", "最後のハートビート応答 {when}"),
    "check": ("Check: {name}", "検査: {name}"),
    "tried_again": ("is tried again later", "後で再試行します"),
    "since": ("since {when}", "{when} から"),
    "restarts": ("restarted {count}×", "再起動 {count} 回"),
    "details": ("Show everything (asks for the token)", "すべて表示（トークンが必要です）"),
    "no_token": (
        "Set NESCORD_STATUS_TOKEN to see more here.",
        "NESCORD_STATUS_TOKEN を設定すると、詳細も表示できます。",
    ),
    "as_of": ("As of {when} ({zone}).", "{when} 現在（{zone}）"),
    "knowledge": ("Knowledge base", "ナレッジベース"),
    "notes": ("Notes", "ノート"),
    "chunks": ("Pieces searched", "検索単位（チャンク）"),
    "pending": ("Waiting for a vector", "ベクトル化待ち"),
    "behind": ("Index behind by", "インデックス未反映"),
    "last_change": ("Last change taken in", "最後に取り込んだ変更"),
    "paused": (
        "Vaults are not read since the restore of {snapshot}: nescord ingest --resume",
        "{snapshot} の復元以降、Vault の取り込みを止めています: nescord ingest --resume",
    ),
    "not_read": ("The database cannot be read now.", "現在データベースを読めません。"),
    "runs": ("Last runs", "最近の実行"),
    "run.flow": ("flow", "フロー"),
    "run.began": ("began", "開始"),
    "run.took": ("took", "所要"),
    "run.state": ("result", "結果"),
    "run.COMPLETED": ("done", "完了"),
    "run.FAILED": ("failed", "失敗"),
    "run.CRASHED": ("crashed", "異常終了"),
    "run.CANCELLED": ("cancelled", "中止"),
    "run.CANCELLING": ("stopping", "中止中"),
    "run.RUNNING": ("running", "実行中"),
    "run.PENDING": ("begins", "開始待ち"),
    "no_runs": ("No run yet.", "まだ実行はありません。"),
    "runs_away": ("The scheduler does not answer now.", "スケジューラーが応答しません。"),
    "reports": ("Reports", "レポート"),
    "report.latest": ("Latest report", "最新のレポート"),
    "report.open": ("Open it", "最新のレポートを開く"),
    "report.all": ("All reports", "すべてのレポート"),
    "report.space": ("only of {space}", "{space} のみ"),
    "report.failed": ("{count} incomplete", "{count} 件が途中まで"),
    "no_report": (
        "No report yet: nescord report build, or the weekly flow, makes one.",
        "レポートはまだありません。週次フローか nescord report build で作成されます。",
    ),
    "safety": ("Backups and checks", "バックアップと検査"),
    "backup": ("Newest good backup", "最新バックアップ"),
    "backups": ("Good backups", "正常な世代数"),
    "bad_backups": ("{count} bad", "不良 {count} 件"),
    "off_site": ("Its copy off site", "外部コピー"),
    "off_site.unused": ("not set up", "未設定"),
    "drill": ("Last rehearsed restore", "最後の復元リハーサル"),
    "verify": ("Last verification", "最後の検査"),
    "verify.deep": ("Last deep verification", "最後の詳細検査"),
    "passed": ("passed", "合格"),
    "warned": ("{count} warned", "警告 {count} 件"),
    "yes": ("yes", "あり"),
    "no": ("no", "なし"),
    "findings": ("Found at the start", "起動時の検査結果"),
    "finding.warn": ("warning", "警告"),
    "finding.fail": ("failed", "失敗"),
    "machine": ("Memory and disk", "メモリーとディスク"),
    "memory": ("Memory: {part}", "メモリー: {part}"),
    "memory.all": ("Memory in all", "メモリー合計"),
    "volume": ("Free on the volume", "ボリュームの空き"),
    "volume.of": ("{free} of {total}", "{free} / {total}"),
    "database_size": ("Database", "データベース"),
    "budget": ("Tokens this month", "今月のトークン"),
    "budget.used": ("{used} of {limit} ({share})", "{limit} 中 {used}（{share}）"),
    "budget.off": ("Tokens of the month: off until {when}: {what}", "今月のトークン: {when} まで停止中: {what}"),
    "purpose.embed_new": ("new notes by meaning", "新しいノートの意味検索"),
    "purpose.embed_query": ("search by meaning", "意味による検索"),
    "purpose.answer": ("answers", "回答"),
    "purpose.rewrite": ("follow-up questions", "続きの質問"),
    "purpose.summary": ("summaries", "要約"),
    "purpose.tags": ("suggested tags", "タグの提案"),
    "purpose.reembed": ("change of the model", "モデルの切り替え"),
    "not_yet": ("not yet", "まだありません"),
    "not_known": ("not known now", "現在は不明"),
    "ago.seconds": ("just now", "たった今"),
    "ago.minutes": ("{count} min ago", "{count} 分前"),
    "ago.hours": ("{count} h ago", "{count} 時間前"),
    "ago.days": ("{count} days ago", "{count} 日前"),
    "took.seconds": ("{count} s", "{count} 秒"),
    "took.minutes": ("{count} min", "{count} 分"),
}

# What the supervisor says; for who reads English it stays as it is.
_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), japanese)
    for pattern, japanese in (
        (r"was killed by SIGKILL, probably because .*", "強制終了されました（おそらくメモリー不足）"),
        (r"was ended by (\w+)", "{0} で終了しました"),
        (r"ended with exit code (\d+)", "終了コード {0} で終了しました"),
        (r"ended with exit code (\d+), which a person must mend", "設定の修正が必要です（終了コード {0}）"),
        (r"the bot does not run", "ボットが動いていません"),
        (r"Discord cannot be reached", "Discord に接続できません"),
        (r"Discord's gateway cannot be reached", "Discord のゲートウェイに接続できません"),
        (r"the knowledge base cannot be opened", "ナレッジベースを開けません"),
        (r"another bot of this data folder runs", "同じデータフォルダーのボットがすでに動いています"),
        (r"not ready within ([\d.]+) s", "{0} 秒以内に起動しませんでした"),
        (r"it has not answered for ([\d.]+) s", "{0} 秒間応答がありません"),
        (r"cannot be started", "起動できません"),
        (r"it ended", "終了しました"),
        (r"a restore is under way", "復元中です"),
        (r"the supervisor was not heard of", "監視プロセスからの連絡が途絶えています"),
        (r"the database cannot be read", "データベースを読めません"),
        (r"the database does not answer", "データベースが応答しません"),
        (r"no supervisor runs", "監視プロセスが動いていません"),
        (r"the services are being started", "サービスを起動しています"),
        (r"the services are being stopped", "サービスを停止しています"),
        (r"a check at the start has failed", "起動時の検査に失敗しました"),
        (r"(\w+) is not ready", "{0} が動いていません"),
    )
)
_PREFERENCE = re.compile(r"\s*([a-zA-Z]{1,8}|\*)(?:-[a-zA-Z0-9-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?\s*")


class Texts:
    """What is said in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._place = 1 if language == "ja" else 0

    def __call__(self, key: str, **values: object) -> str:
        return TEXTS[key][self._place].format(**values)

    def or_plain(self, group: str, name: str) -> str:
        """The text of `group.name`, or the name where it has none."""
        texts = TEXTS.get(f"{group}.{name}")
        return texts[self._place] if texts else name

    def reason(self, said: str) -> str:
        """A reason of the supervisor."""
        if self.language == "ja":
            for pattern, japanese in _REASONS:
                if match := pattern.fullmatch(said):
                    return japanese.format(*match.groups())
        return said


def chosen(asked: str, accepted: str, default: Language) -> Language:
    """The language asked for in the address, else the one that the browser likes best of ours, else the setting."""
    for language in LANGUAGES:
        if asked == language:
            return language
    likings: dict[str, float] = {}
    for each in accepted.split(",")[:20]:
        if match := _PREFERENCE.fullmatch(each):
            likings.setdefault(match[1].lower(), float(match[2] or 1))
    known: list[tuple[float, Language]] = [(likings[one], one) for one in LANGUAGES if likings.get(one)]
    return max(known, key=lambda liking: (liking[0], liking[1] == default))[1] if known else default
