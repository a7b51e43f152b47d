"""What a person is told when something fails: by the class of the error. Its own words may hold a path."""

TEXTS: dict[str, tuple[str, str]] = {
    "errors.unexpected": (
        "Something went wrong on my side. (reference `{reference}`)",
        "内部でエラーが発生しました。（参照番号 `{reference}`）",
    ),
    "errors.failed": (
        "That did not work. (reference `{reference}`)",
        "処理できませんでした。（参照番号 `{reference}`）",
    ),
    "errors.usage": (
        "That cannot be done as it was asked for: please look at the options again. (reference `{reference}`)",
        "この指定では実行できません。入力内容をご確認ください。（参照番号 `{reference}`）",
    ),
    "errors.query": (
        "I do not understand a filter in this query: a date looks like `after:2026-01-31`. (reference `{reference}`)",
        "検索条件を解釈できませんでした。日付は `after:2026-01-31` の形で指定してください。（参照番号 `{reference}`）",
    ),
    "errors.not_found": (
        "There is no such note here, or you may not see it. (reference `{reference}`)",
        "該当するノートがないか、閲覧する権限がありません。（参照番号 `{reference}`）",
    ),
    "errors.conflict": (
        "Somebody changed this note meanwhile. Please open it again and make your change there."
        " (reference `{reference}`)",
        "その間にノートが変更されました。もう一度開いてから編集してください。（参照番号 `{reference}`）",
    ),
    "errors.quota": (
        "You have used this up for today. It comes back {returns}.",
        "本日の上限に達しました。次に使えるようになるのは {returns} です。",
    ),
    "errors.quota_guild": (
        "This server has used this up for today. It comes back {returns}.",
        "このサーバーの本日の上限に達しました。次に使えるようになるのは {returns} です。",
    ),
    "errors.quota_off": (
        "This is switched off here.",
        "この機能は無効になっています。",
    ),
    "errors.busy": (
        "The knowledge base is busy. Please try again in a moment. (reference `{reference}`)",
        "ナレッジベースが使用中です。少し待ってから、もう一度お試しください。（参照番号 `{reference}`）",
    ),
    "errors.store": (
        "The knowledge base cannot be used right now. Its owner can find out why. (reference `{reference}`)",
        "現在ナレッジベースを利用できません。所有者がログで原因を確認できます。（参照番号 `{reference}`）",
    ),
    "errors.disk": (
        "The disk of the knowledge base is in trouble, so nothing was changed. (reference `{reference}`)",
        "ナレッジベースのディスクに問題があるため、何も変更されませんでした。（参照番号 `{reference}`）",
    ),
    "errors.service": (
        "A service that this needs does not answer. Please try again later. (reference `{reference}`)",
        "必要なサービスが応答しません。時間をおいて、もう一度お試しください。（参照番号 `{reference}`）",
    ),
    "errors.budget": (
        "The month's budget is used up, so this is switched off for now. (reference `{reference}`)",
        "今月の予算を使い切ったため、この機能は停止しています。（参照番号 `{reference}`）",
    ),
    "errors.not_shown": (
        "I have an answer to this, but Discord refuses to show it here. (reference `{reference}`)",
        "回答は用意できましたが、Discord がここでの表示を受け付けませんでした。（参照番号 `{reference}`）",
    ),
    "errors.fetch": (
        "The attached file could not be got. (reference `{reference}`)",
        "添付ファイルを取得できませんでした。（参照番号 `{reference}`）",
    ),
}
