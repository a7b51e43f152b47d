"""Looking back: `/review`."""

TEXTS: dict[str, tuple[str, str]] = {
    "cmd.review.name": ("review", "振り返り"),
    "cmd.review.description": (
        "Look back at a day, week or month, or go through notes before you forget them",
        "一日・一週間・一か月を振り返ります。忘れる前にノートを復習することもできます",
    ),
    "cmd.review.period.name": ("period", "期間"),
    "cmd.review.period.description": ("What to look back at (spaced)", "振り返る期間（初期値は「復習」）"),
    "cmd.review.period.daily": ("today", "今日"),
    "cmd.review.period.weekly": ("the last 7 days", "この一週間"),
    "cmd.review.period.monthly": ("the last 30 days", "この一か月"),
    "cmd.review.period.spaced": ("spaced: one note after the other", "復習：ノートを一つずつ"),
    "review.day": ("Today", "今日の振り返り"),
    "review.week": ("The last 7 days", "この一週間の振り返り"),
    "review.month": ("The last 30 days", "この一か月の振り返り"),
    "review.nothing": (
        "Nothing was written or changed in that time.",
        "この期間に書かれたノートや更新されたノートはありません。",
    ),
    "review.written": ("New notes ({count})", "新しいノート（{count}件）"),
    "review.changed": ("Changed notes ({count})", "更新されたノート（{count}件）"),
    "review.tags": ("Tags", "タグ"),
    "review.tasks": ("Still to do ({count})", "未完了のタスク（{count}件）"),
    "review.questions": ("Asked, and not answered by any note", "ノートに答えが見つからなかった質問"),
    "review.degraded": (
        "There is more than was read for this.",
        "量が多いため、一部だけを対象にまとめました。",
    ),
    "review.new": ("A new note: how well do you know it?", "新しいノートです。どのくらい覚えていますか？"),
    "review.left": ("{left} more are due", "残り{left}件"),
    "review.again": ("Again", "もう一度"),
    "review.hard": ("Hard", "難しい"),
    "review.good": ("Good", "覚えていた"),
    "review.easy": ("Easy", "簡単"),
    "review.again_at": ("The note before comes back {when}.", "前のノートは {when} にまた出てきます。"),
    "review.gone": ("The note before is gone.", "前のノートは削除されています。"),
    "review.done_title": ("All done", "復習は終わりです"),
    "review.done": (
        "Nothing more is due. At most 5 new notes a day are added.",
        "いま復習するノートはありません。新しいノートは一日に5件まで追加されます。",
    ),
}
