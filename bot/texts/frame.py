"""What is said around every answer: keeping, waiting, quotas, who may."""

TEXTS: dict[str, tuple[str, str]] = {
    "frame.not_kept_yet": (
        "Not kept yet: the knowledge base is busy. I keep trying and change this message as soon as it is kept.",
        "まだ保存できていません。ナレッジベースが使用中です。保存でき次第、このメッセージを更新します。",
    ),
    "frame.not_kept": (
        "This was **not** kept. Please send it again later.",
        "**保存できませんでした**。時間をおいて、もう一度お送りください。",
    ),
    "frame.not_allowed": (
        "This bot is not open to you or this server. Its owner can allow it (NESCORD_ALLOW_IDS).",
        "このボットは、あなたやこのサーバーでは利用できません。ボットの所有者が許可できます（NESCORD_ALLOW_IDS）。",
    ),
    "frame.managers_only": (
        "This needs the permission Manage Server.",
        "この操作には「サーバー管理」の権限が必要です。",
    ),
    "frame.unknown": (
        "I do not know this any more: it comes from another version. Please use the command again.",
        "この操作は別のバージョンのものなので、今は使えません。もう一度コマンドを実行してください。",
    ),
    "frame.too_slow": (
        "The knowledge base is busy. Please try again in a moment.",
        "ナレッジベースが混み合っています。少し待ってから、もう一度お試しください。",
    ),
    "frame.left_searches": ("Searches left today: {left}", "本日の残り検索回数：{left}回"),
    "frame.left_answers": ("Answers left today: {left}", "本日の残り回答回数：{left}回"),
    "frame.left_notes": ("Notes left today: {left}", "本日保存できる残りのノート：{left}件"),
    "frame.left_flows": ("Flow runs left today: {left}", "本日の残りフロー実行回数：{left}回"),
}
