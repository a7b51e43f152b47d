"""The message menu "Save to notes"."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.save_message.name": ("Save to notes", "ノートに保存"),
    "save.from": ("— {name}, {when}: {url}", "— {name}（{when}）{url}"),
    "save.title": ("Message from {name}", "{name} さんのメッセージ"),
    "save.already": (
        "This message is kept already: **{title}** · {where}",
        "このメッセージは保存済みです：**{title}**（{where}）",
    ),
    "save.empty": (
        "There is nothing in this message that can be kept.",
        "このメッセージには保存できる内容がありません。",
    ),
    "save.too_large": ("larger than {most} MB", "{most} MB を超えています"),
    "save.too_many": ("the files of a note may have {most} MB together", "1つのノートの添付は合計 {most} MB までです"),
    "save.not_got": ("it could not be got from Discord", "Discord から取得できませんでした"),
    "save.not_stored": ("“{name}” was not stored: {reason}.", "「{name}」は保存できませんでした：{reason}"),
}
