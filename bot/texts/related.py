"""What is near to a note, or to a message."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.related.name": ("related", "関連"),
    "cmd.related.description": ("Notes that are near to one of your notes", "ノートに関連するほかのノートを探します"),
    "cmd.related.note.name": ("note", "ノート"),
    "cmd.related.note.description": ("The note: begin to type its title", "ノート（タイトルを入力すると候補が出ます）"),
    "cmd.find_related.name": ("Find related", "関連ノート"),
    "related.title": ("Related to “{title}”", "「{title}」に関連するノート"),
    "related.message_title": ("Notes related to this message", "このメッセージに関連するノート"),
    "related.none": ("No note is near to “{title}”.", "「{title}」に関連するノートは見つかりませんでした。"),
    "related.none_message": (
        "No note is related to this message.",
        "このメッセージに関連するノートは見つかりませんでした。",
    ),
    "related.no_text": ("There is no text in this message.", "このメッセージにはテキストがありません。"),
}
