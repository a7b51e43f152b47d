"""The daily message: `/digest`."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.digest.name": ("digest", "ダイジェスト"),
    "cmd.digest.description": (
        "A daily message about new notes, open tasks and cards that are due",
        "新しいノート、未完了のタスク、復習するカードを毎日お知らせします",
    ),
    "cmd.digest.switch.name": ("switch", "設定"),
    "cmd.digest.switch.description": ("On, off, or how it is set", "オン、オフ、または現在の設定の表示"),
    "cmd.digest.switch.on": ("on", "オン"),
    "cmd.digest.switch.off": ("off", "オフ"),
    "cmd.digest.switch.show": ("show", "表示"),
    "cmd.digest.hour.name": ("hour", "時刻"),
    "cmd.digest.hour.description": ("At which hour, 0 to 23 (7)", "送信する時刻（0〜23時、初期値は7時）"),
    "cmd.digest.zone.name": ("zone", "タイムゾーン"),
    "cmd.digest.zone.description": ("Your time zone, such as Asia/Tokyo", "タイムゾーン（例：Asia/Tokyo）"),
    "cmd.digest.where.name": ("where", "送信先"),
    "cmd.digest.where.description": (
        "To you, or to this channel (needs Manage Server)",
        "自分宛て、またはこのチャンネル（「サーバー管理」の権限が必要です）",
    ),
    "cmd.digest.where.me": ("to me", "自分宛て"),
    "cmd.digest.where.channel": ("to this channel", "このチャンネル"),
    "digest.on": (
        "The digest comes {where} every day at {hour} ({zone}). Next: {when}.",
        "ダイジェストを毎日{hour}（{zone}）に{where}送信します。次回は {when} です。",
    ),
    "digest.to_you": ("to you as a direct message", "ダイレクトメッセージで"),
    "digest.here": (
        "into this channel, about this server's notes only,",
        "このチャンネルに（このサーバーのノートだけを対象に）",
    ),
    "digest.off": ("The digest is switched off.", "ダイジェストをオフにしました。"),
    "digest.was_off": ("The digest was off already.", "ダイジェストはすでにオフです。"),
    "digest.is_off": (
        "The digest is off. `/digest` with `on` switches it on.",
        "ダイジェストはオフです。`/ダイジェスト` で「オン」を選ぶと有効になります。",
    ),
    "digest.no_guild": ("There is no channel of a server here.", "ここはサーバーのチャンネルではありません。"),
    "digest.no_zone": (
        "There is no time zone “{zone}”. Choose one from the list, such as Asia/Tokyo.",
        "「{zone}」というタイムゾーンはありません。一覧から選んでください（例：Asia/Tokyo）。",
    ),
    "digest.failed": (
        "The last one could not be sent: allow me direct messages, or in a channel the permission Send Messages.",
        "前回は送信できませんでした。ダイレクトメッセージの許可、またはチャンネルの「メッセージを送信」権限をご確認ください。",
    ),
}
