"""Asking: `/ask`, what is said around an answer, and its buttons."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.ask.name": ("ask", "質問"),
    "cmd.ask.description": ("An answer from your notes, with its sources", "ノートをもとに、出典付きで質問に答えます"),
    "cmd.ask.question.name": ("question", "質問文"),
    "cmd.ask.question.description": ("What you want to know", "知りたいこと"),
    "cmd.ask.tag.name": ("tag", "タグ"),
    "cmd.ask.tag.description": ("Only from notes with this tag", "このタグが付いたノートだけをもとに答えます"),
    "cmd.ask.share.name": ("share", "共有"),
    "cmd.ask.share.description": (
        "Show the answer to everybody here; then only notes of this server are used",
        "回答を全員に表示します（このサーバーのノートだけが対象になります）",
    ),
    "ask.generated": (
        "Written by a model ({model}) from your notes. Please check what matters.",
        "モデル（{model}）がノートをもとに書いた回答です。重要な点は出典をご確認ください。",
    ),
    "ask.passages": (
        "Passages from the notes, word for word.",
        "ノートの該当箇所をそのまま引用しています。",
    ),
    "ask.not_found": (
        "No answer in the notes. What you see are the nearest passages, if any.",
        "ノートに答えは見つかりませんでした。近い内容がある場合だけ表示しています。",
    ),
    "ask.nothing": (
        "Your notes say nothing about this.",
        "この質問に関係するノートは見つかりませんでした。",
    ),
    "ask.weak": (
        "Nothing fits well: these passages are only near to it.",
        "ぴったりの内容はなく、近い箇所を表示しています。",
    ),
    "ask.whole": ("The whole answer is in the file.", "回答の全文は添付ファイルにあります。"),
    "ask.useful": ("Useful", "役に立った"),
    "ask.not_useful": ("Not useful", "役に立たなかった"),
    "ask.sources": ("Sources", "出典"),
    "ask.follow_up": ("Follow-up", "続けて質問"),
    "ask.follow_up_title": ("Follow-up question", "続けて質問"),
    "ask.follow_up_label": ("Your question", "質問文"),
    "ask.follow_up_hint": ("What was said before is taken into account", "これまでのやり取りをふまえて答えます"),
    "ask.thanks_useful": ("Thank you: noted as useful.", "ありがとうございます。「役に立った」と記録しました。"),
    "ask.thanks_not_useful": (
        "Thank you: noted as not useful.",
        "ありがとうございます。「役に立たなかった」と記録しました。",
    ),
    "ask.gone": (
        "This answer is not kept any more, or it is not for you to see. Please ask again.",
        "この回答は保存期間を過ぎたか、閲覧する権限がありません。もう一度質問してください。",
    ),
    "ask.sources_title": ("Sources of this answer", "この回答の出典"),
    "ask.no_sources": ("This answer has no sources.", "この回答には出典がありません。"),
    "ask.source_gone": ("This note is not there any more.", "このノートは現在ありません。"),
    "ask.source_changed": (
        "This note was changed since: please open it.",
        "このノートはその後変更されました。ノートを開いてご確認ください。",
    ),
    "ask.sources_whole": ("All passages in full are in the file.", "引用箇所の全文は添付ファイルにあります。"),
    "ask.empty": ("Please say what you want to know.", "質問を入力してください。"),
    "ask.no_model": (
        "No model is set up to write answers, so the passages themselves are shown.",
        "回答を書くモデルが設定されていないため、該当箇所をそのまま表示しています。",
    ),
    "ask.budget": (
        "The month's budget for written answers is used up, so the passages themselves are shown.",
        "回答生成の今月の予算を使い切ったため、該当箇所をそのまま表示しています。",
    ),
    "ask.not_written": (
        "The model could not write an answer this time, so the passages themselves are shown.",
        "今回はモデルが回答を書けなかったため、該当箇所をそのまま表示しています。",
    ),
    "ask.cut": ("The answer was cut off before its end.", "回答は途中で途切れています。"),
    "ask.longest": (
        "The answer reached the greatest length and was cut there.",
        "回答が長さの上限に達したため、途中で終わっています。",
    ),
    "ask.unsupported": (
        "Sentences marked [?] are not supported by the notes.",
        "[?] の付いた文は、ノートで裏付けられていません。",
    ),
    "ask.together": (
        "The question was searched together with the one before it.",
        "前の質問と合わせて検索しました。",
    ),
}
