"""How it is, and what there is: `/status`, `/help`."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.status.name": ("status", "状態"),
    "cmd.status.description": (
        "How I am, and what is left for you today",
        "ボットの状態と、今日の残り回数を表示します",
    ),
    "cmd.help.name": ("help", "ヘルプ"),
    "cmd.help.description": ("What I can do", "使い方を表示します"),
    "status.well": ("Everything works", "すべて正常に動いています"),
    "status.degraded": ("It works, but not all of it", "一部の機能に制限があります"),
    "status.notes": ("Notes you can find here", "ここで検索できるノート"),
    "status.due": ("Cards due", "復習するカード"),
    "status.latency": ("Latency", "応答時間"),
    "status.quotas": ("Left today", "今日の残り"),
    "status.searches": ("Searches", "検索"),
    "status.answers": ("Answers", "回答"),
    "status.new_notes": ("New notes", "新しいノート"),
    "status.flows": ("Flow runs", "フローの実行"),
    "status.of_guild": ("{left} ({guild} for this server)", "{left}（このサーバー：{guild}）"),
    "status.budget": ("Tokens this month", "今月のトークン"),
    "status.pending": (
        "{count} passages wait to be found by meaning; by their words they are found.",
        "{count}件の文章は意味による検索の準備中です（言葉では検索できます）。",
    ),
    "help.title": ("What I can do", "できること"),
    "help.body": (
        "**Find**\n"
        "`/search` notes by words and meaning · `/ask` a question, answered from the notes with its sources ·"
        " `/related` notes near to one\n"
        "**Keep**\n"
        "`/note add` a note, also from a file · right-click a message → Apps → **Save to notes** ·"
        " `/note show`, `edit`, `delete`, `history`, `list`\n"
        "**Come back**\n"
        "`/review` a day, week or month, or one note after the other · `/digest` a daily message\n"
        "**Set up**\n"
        "`/settings` language, time zone, tags, who sees new notes · `/privacy` what is kept of you, as a file, or gone"
        " · `/status` how I am · `/flow` for managers\n\n"
        "Your notes are seen by you alone unless you put them into the server (`where`). Only you see my answers unless"
        " you choose `share`; then only the server's notes are used.",
        "**探す**\n"
        "`/検索` 言葉と意味でノートを検索 · `/質問` ノートをもとに、出典付きで質問に回答"
        " · `/関連` 関連するノートを表示\n"
        "**残す**\n"
        "`/ノート 追加` ノートを追加（ファイルからも可能） · メッセージを右クリック → アプリ → **ノートに保存** ·"
        " `/ノート 表示`・`編集`・`削除`・`履歴`・`一覧`\n"
        "**振り返る**\n"
        "`/振り返り` 一日・一週間・一か月の振り返りと復習 · `/ダイジェスト` 毎日のお知らせ\n"
        "**設定する**\n"
        "`/個人設定` 言語、タイムゾーン、タグ、ノートの公開範囲 · `/プライバシー` 保存された情報の表示・受け取り・削除"
        " · `/状態` ボットの状態 · `/フロー` 管理者向け\n\n"
        "ノートはあなただけが見られます（公開範囲をサーバーにした場合を除きます）。返信もあなただけに表示されます。「共有」を選ぶと"
        "全員に表示され、そのときはサーバーのノートだけを使います。",
    ),
    "help.footer": (
        'Words: tag:work · after:2026-01-31 · -not · "exact words"',
        '検索のヒント：tag:仕事 · after:2026-01-31 · -除外語 · "完全一致"',
    ),
}
