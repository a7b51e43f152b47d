"""Running flows: `/flow`."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.flow.name": ("flow", "フロー"),
    "cmd.flow.description": ("Run a flow, or see the last runs", "フローを実行します。最近の実行も確認できます"),
    "cmd.flow.run.name": ("run", "実行"),
    "cmd.flow.run.description": (
        "Run a flow (needs Manage Server)",
        "フローを実行します（「サーバー管理」の権限が必要です）",
    ),
    "cmd.flow.run.flow.name": ("flow", "フロー"),
    "cmd.flow.run.flow.description": ("Which flow", "実行するフロー"),
    "cmd.flow.run.deep.name": ("deep", "詳細"),
    "cmd.flow.run.deep.description": (
        "verify: read every page of the database",
        "verify：データベースをすべて読んで検査します",
    ),
    "cmd.flow.status.name": ("status", "状態"),
    "cmd.flow.status.description": (
        "The last runs (needs Manage Server)",
        "最近の実行を表示します（「サーバー管理」の権限が必要です）",
    ),
    "cmd.flow.status.run.name": ("run", "実行名"),
    "cmd.flow.status.run.description": ("The name of one run", "特定の実行の名前"),
    "flow.not_allowed": (
        "This flow cannot be run from here. These can: {flows}.",
        "このフローはここから実行できません。実行できるのは {flows} です。",
    ),
    "flow.no_parameter": (
        "`{flow}` has no option `{name}`.",
        "`{flow}` に `{name}` という項目はありません。",
    ),
    "flow.no_server": (
        "There is no Prefect server to ask right now: flows run again as soon as it is back.",
        "現在Prefectサーバーに接続できません。サーバーが復旧すると、再びフローを実行できます。",
    ),
    "flow.not_served": (
        "The server does not serve that flow right now.",
        "現在、サーバーではこのフローを実行できません。",
    ),
    "flow.no_run": ("There is no run “{run}”.", "「{run}」という実行はありません。"),
    "flow.no_runs": ("No flow has run yet.", "まだ実行されたフローはありません。"),
    "flow.latest": ("The last runs", "最近の実行"),
    "flow.look": (
        "What went wrong is in the log of the run (`nescord flows logs`).",
        "原因は実行のログで確認できます（`nescord flows logs`）。",
    ),
    "flow.open": ("Open the run", "実行を開く"),
    "flow.seconds": ("{seconds} s", "{seconds}秒"),
    "flow.scheduled": ("🕓 planned", "🕓 予定"),
    "flow.pending": ("🕓 about to start", "🕓 開始待ち"),
    "flow.running": ("▶️ running", "▶️ 実行中"),
    "flow.completed": ("✅ done", "✅ 完了"),
    "flow.failed": ("❌ failed", "❌ 失敗"),
    "flow.crashed": ("❌ broke off", "❌ 異常終了"),
    "flow.cancelling": ("⏹️ being stopped", "⏹️ 停止処理中"),
    "flow.cancelled": ("⏹️ stopped", "⏹️ 停止"),
    "flow.paused": ("⏸️ paused", "⏸️ 一時停止"),
}
