"""What is kept of a person: `/privacy`."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.privacy.name": ("privacy", "プライバシー"),
    "cmd.privacy.description": ("What is kept of you", "あなたについて保存されている情報"),
    "cmd.privacy.show.name": ("show", "表示"),
    "cmd.privacy.show.description": ("What is kept of you, and why", "保存されている情報とその目的を表示します"),
    "cmd.privacy.export.name": ("export", "エクスポート"),
    "cmd.privacy.export.description": (
        "All that is kept of you, as a file",
        "保存されている情報をファイルで受け取ります",
    ),
    "cmd.privacy.delete.name": ("delete", "削除"),
    "cmd.privacy.delete.description": ("Erase all that is kept of you", "保存されている情報をすべて削除します"),
    "privacy.title": ("What is kept of you", "あなたについて保存されている情報"),
    "privacy.statement": (
        "I keep the notes that you give me, what you search and ask here, your settings and your reviews: to find, to"
        " answer and to remind, and for nothing else. I read no messages but those that you hand me. Where the owner"
        " has set up a model of Google's (Gemini), your notes, searches and questions are sent there; what looks like a"
        " password or a key is masked first, unless the owner has switched that off. The owner of this bot can read"
        " what is stored; nobody else can but those that a note is shared with. `/privacy export` gives you all of it,"
        " `/privacy delete` erases it.",
        "お預かりするのは、保存を依頼されたノート、ここでの検索と質問、設定、復習の記録です。検索・回答・お知らせのためだけに"
        "使います。渡されたメッセージ以外は読みません。所有者がGoogleのモデル（Gemini）を設定している場合、ノート・検索語・質問が"
        "送信されます。パスワードやキーと思われる部分は、所有者が無効にしていない限り伏せられます。保存された内容は、このボットの"
        "所有者が読めます。それ以外の人が読めるのは、共有されたノートだけです。`/プライバシー エクスポート` ですべてを"
        "受け取り、`/プライバシー 削除` で削除できます。",
    ),
    "privacy.kept": ("Kept now", "現在の保存状況"),
    "privacy.nothing": ("nothing", "ありません"),
    "privacy.backups": ("Elsewhere", "ほかに残る場所"),
    "privacy.no_backups": ("There is none that holds any of it.", "該当するバックアップはありません。"),
    "privacy.forget_at": (
        "What is erased now is in no regular backup any more from {day} on. A restore of an older one erases it again.",
        "いま削除した内容は、{day} 以降、通常のバックアップにも残りません。古いバックアップから復元しても、"
        "再び削除されます。",
    ),
    "privacy.pinned": (
        "Backups that the owner keeps for good hold it for longer: {count}.",
        "所有者が保管しているバックアップ（{count}件）には、より長く残ります。",
    ),
    "privacy.off_site": (
        "Copies elsewhere are kept by the owner of this bot until they delete them; a restore of one leaves out what"
        " was erased.",
        "別の場所にある複製は、ボットの所有者が削除するまで残ります。そこから復元しても、削除した内容は除かれます。",
    ),
    "privacy.merged": (
        "Notes of others that yours were merged into: {count}. They keep that text.",
        "あなたのノートが統合された、ほかの人のノート：{count}件。その文章は残ります。",
    ),
    "privacy.exported": (
        "All that is kept of you. Where attachments did not fit, `about.json` names them: the owner of this bot can"
        " hand them to you.",
        "保存されている情報のすべてです。入りきらなかった添付ファイルは `about.json` に記載しています。"
        "ボットの所有者に依頼してください。",
    ),
    "privacy.too_large": (
        "It is more than Discord takes as a file. The owner of this bot can hand it to you (`nescord privacy export`).",
        "Discordで送れる大きさを超えています。ボットの所有者に依頼してください（`nescord privacy export`）。",
    ),
    "privacy.delete_title": ("Erase all that is kept of you", "すべての情報を削除"),
    "privacy.word": ("Type DELETE to erase it for good", "完全に削除するには「削除」と入力"),
    "privacy.word_hint": ("DELETE", "削除"),
    "privacy.not_deleted": (
        "Nothing was erased: the word was not DELETE.",
        "「削除」と入力されなかったため、何も削除していません。",
    ),
    "privacy.deleted": ("Erased for good", "完全に削除しました"),
    "privacy.not_all_yet": (
        "Something could not be erased at once, and will be with the next maintenance.",
        "一部をすぐに削除できませんでした。次回のメンテナンスで削除されます。",
    ),
    "privacy.notes": ("notes", "ノート"),
    "privacy.trashed": ("notes in the trash", "ゴミ箱のノート"),
    "privacy.revisions": ("earlier versions of notes", "ノートの過去の版"),
    "privacy.attachments": ("attachments", "添付ファイル"),
    "privacy.searches": ("searches", "検索の記録"),
    "privacy.questions": ("questions", "質問の記録"),
    "privacy.conversations": ("answers", "回答の記録"),
    "privacy.cards": ("cards to review", "復習カード"),
    "privacy.preferences": ("settings", "設定"),
    "privacy.digests": ("digests", "ダイジェストの設定"),
    "privacy.inbox": ("commands not done yet", "処理中のコマンド"),
    "privacy.calls": (
        "calls of models (the sums stay, without your name)",
        "モデルの利用記録（合計のみ匿名で残ります）",
    ),
}
