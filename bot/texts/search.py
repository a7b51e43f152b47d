"""Searching: `/search`, what is shown of hits, and what could not be asked."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.search.name": ("search", "検索"),
    "cmd.search.description": (
        "Search your notes, and those of this server",
        "自分のノートとこのサーバーのノートを検索します",
    ),
    "cmd.search.query.name": ("query", "検索語"),
    "cmd.search.query.description": (
        "What to look for: words, a question, tag:…, after:2026-01-31, -not",
        "探したい言葉や質問。tag:… や after:2026-01-31、-除外語 も使えます",
    ),
    "cmd.search.tag.name": ("tag", "タグ"),
    "cmd.search.tag.description": ("Only notes with this tag", "このタグが付いたノートだけを探します"),
    "cmd.search.limit.name": ("limit", "件数"),
    "cmd.search.limit.description": ("How many notes at most (5)", "表示する件数の上限（初期値は5件）"),
    "cmd.search.mode.name": ("mode", "方法"),
    "cmd.search.mode.description": ("How to look for it (words and meaning)", "探し方（初期値は「言葉と意味」）"),
    "cmd.search.mode.hybrid": ("words and meaning", "言葉と意味"),
    "cmd.search.mode.keyword": ("words only", "言葉だけ"),
    "cmd.search.mode.vector": ("meaning only", "意味だけ"),
    "cmd.search.share.name": ("share", "共有"),
    "cmd.search.share.description": (
        "Show the answer to everybody here; then only notes of this server are searched",
        "結果を全員に表示します（このサーバーのノートだけが対象になります）",
    ),
    "search.title": ("Found for “{query}”", "「{query}」の検索結果"),
    "search.weak": ("a distant match", "関連は薄めです"),
    "search.all_weak": (
        "Nothing fits well: these are the nearest notes.",
        "ぴったりのノートはなく、近いものを表示しています。",
    ),
    "search.none": ("Nothing was found for “{query}”.", "「{query}」に一致するノートは見つかりませんでした。"),
    "search.none_words": (
        "Fewer or other words may find more.",
        "言葉を減らすか、別の言葉でお試しください。",
    ),
    "search.none_tag": (
        "Only notes with the tag “{tag}” were searched.",
        "タグ「{tag}」が付いたノートだけを検索しました。",
    ),
    "search.none_mode": (
        "Only exact words were searched: the mode “words and meaning” finds what says the same in other words, too.",
        "言葉の一致だけで検索しました。方法を「言葉と意味」にすると、別の言い方のノートも見つかります。",
    ),
    "search.in_shared": (
        "Others can see this answer, so only this server's notes were searched.",
        "全員に表示されるため、このサーバーのノートだけを検索しました。",
    ),
    "search.in_guild": (
        "Your own notes and this server's were searched.",
        "自分のノートとこのサーバーのノートを検索しました。",
    ),
    "search.in_direct": ("Your own notes were searched.", "自分のノートを検索しました。"),
    "search.empty": ("Please say what to look for.", "検索する言葉を入力してください。"),
    "search.off": (
        "Search by meaning is switched off: notes are found by their words only.",
        "意味による検索は無効になっているため、言葉の一致だけで検索しました。",
    ),
    "search.not_yet": (
        "Search by meaning is not ready yet: notes are found by their words only.",
        "意味による検索の準備がまだできていないため、言葉の一致だけで検索しました。",
    ),
    "search.waiting": (
        "Some new notes can be found by their words only for now.",
        "新しいノートの一部は、まだ言葉の一致でしか見つかりません。",
    ),
    "search.local": (
        "The usual model does not answer, so a simpler one stood in for it.",
        "通常のモデルが応答しないため、簡易なモデルで検索しました。",
    ),
    "search.scanned": (
        "The vector index does not answer, so all notes were compared one by one: nothing is missing.",
        "ベクトル索引が応答しないため、すべてのノートを直接比較しました。結果に漏れはありません。",
    ),
    "search.budget": (
        "The month's budget for search by meaning is used up: notes are found by their words only.",
        "意味による検索の今月の予算を使い切ったため、言葉の一致だけで検索しました。",
    ),
    "search.away": (
        "Search by meaning does not work right now: notes are found by their words only.",
        "現在、意味による検索を利用できないため、言葉の一致だけで検索しました。",
    ),
    "search.degraded": (
        "Something could not be asked: notes may be missing here.",
        "一部を検索できなかったため、結果が不完全な可能性があります。",
    ),
}
