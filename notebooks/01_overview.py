# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %%
from datetime import timedelta

import numpy as np
import pandas as pd
from IPython.display import display

from nescord.reports import reading, style, tables, texts

# %% tags=["parameters"]
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all

# %%
style.setup(language)
say = texts.Speaker(language)
con = reading.open_marts(data_dir, generation, space)
say.title("概要：何がどれだけあるか", "Overview: what is there, and how much")

# %%
# All that is counted from "now" is counted from the moment of the marts: a report read later says the same.
[(now,)] = con.sql("SELECT built_at FROM mart").fetchall()
# Marts without texts have no titles.
notes = con.sql(
    "SELECT note_id, coalesce(title, right(note_id, 8)) AS title, source, source_kind, lang, created_at, updated_at, "
    "chars FROM notes WHERE trashed_at IS NULL ORDER BY note_id"
).df()
notes["changed"] = notes.updated_at.dt.tz_localize(None).dt.normalize()
[(chunks, tags, links, trashed, failed)] = con.sql(
    "SELECT (SELECT count(*) FROM chunks), (SELECT count(DISTINCT tag) FROM tags), "
    "(SELECT count(*) FROM links WHERE to_note IS NOT NULL), "
    "(SELECT count(*) FROM notes WHERE trashed_at IS NOT NULL), (SELECT count(*) FROM failures)"
).fetchall()
say(
    "{when} の時点で、ノートは <b>{notes} 件</b>、{chars} 文字です。"
    "断片は {chunks} 件、タグは {tags} 種類、つながったリンクは {links} 本、ごみ箱に {trashed} 件あります。",
    "On {when} there are <b>{notes:note}</b> of {chars:character}: {chunks:passage}, {tags:tag}, "
    "{links:link that leads/links that lead} somewhere, and {trashed:note} in the trash.",
    when=now,
    notes=len(notes),
    chars=int(notes.chars.sum()),
    chunks=chunks,
    tags=tags,
    links=links,
    trashed=trashed,
)
if undated := reading.undated(con):
    say(
        "{n} 件のノートの日付はありえないもの（1900 年より前、または先の日）なので、時間についての話では数えません。",
        "The dates of {n:note} cannot be (before 1900, or still to come): what is told of time leaves these out.",
        n=undated,
    )

# %%
say.heading("どのように増えてきましたか？", "How does it grow?")
created = notes.created_at.dropna().sort_values()
last_30 = int((created > now - timedelta(days=30)).sum())
last_365 = int((created > now - timedelta(days=365)).sum())
say(
    "この 30 日で {month} 件、この 1 年で {year} 件のノートが加わりました。",
    "{month:note} came in the last 30 days, {year:note} in the last year.",
    month=last_30,
    year=last_365,
)

# %%
if len(created) > 1:
    fig, ax = style.figure(height=3.2)
    # Stairs, not a slope: between two notes nothing was written.
    days, heights = [*created, now], [*range(1, len(created) + 1), len(created)]
    ax.step(days, heights, where="post", color=style.BLUE)
    ax.fill_between(days, heights, step="post", color=style.SKY, alpha=0.3)
    ax.set_title(say.text("ノートの数の移り変わり", "Notes over time"))
    ax.set_ylabel(say.text("ノート数", "notes"))
    ax.set_ylim(bottom=0)
    ax.set_xlim(days[0] - max(timedelta(days=1), (now - days[0]) / 40), now + timedelta(days=1))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    style.show(fig, say.text("作成日ごとに積み上げたノートの数", "The number of notes by the day each was created"))

# %%
say.heading("どの言語で書かれていますか？", "In which languages is it written?")
LANGUAGES = {"ja": say.text("日本語", "Japanese"), "en": say.text("英語", "English")}
notes["language"] = notes.lang.map(LANGUAGES).fillna(say.text("その他・不明", "other or unknown"))
by_language = notes.groupby("language").agg(notes=("note_id", "size"), chars=("chars", "sum"))
by_language = by_language.sort_values("notes", ascending=False).reset_index()
if len(by_language):
    first = by_language.iloc[0]
    say(
        "いちばん多いのは{language}で、ノートの {share:.0%} です。",
        "Most are in {language}: {share:.0%} of the notes.",
        language=first.language,
        share=first.notes / len(notes),
    )
else:
    say("まだノートがありません。", "There are no notes yet.")

# %%
if len(by_language):
    fig, ax = style.figure(height=1.3 + 0.35 * len(by_language))
    shares = by_language[["notes", "chars"]] / by_language[["notes", "chars"]].sum().clip(lower=1)
    place = np.arange(len(by_language))
    for offset, column, colour, name in (
        (-0.19, "notes", style.BLUE, say.text("ノートの割合", "of the notes")),
        (0.19, "chars", style.ORANGE, say.text("文字数の割合", "of the characters")),
    ):
        bars = ax.barh(place + offset, shares[column], height=0.36, color=colour, label=name)
        ax.bar_label(bars, labels=[f"{share:.0%}" for share in shares[column]], padding=3)
    ax.set_yticks(place, by_language.language)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_xlim(0, 1.1)
    ax.legend(loc="lower right")
    ax.grid(axis="y", visible=False)
    style.show(fig, say.text("言語ごとのノートと文字数の割合", "Share of notes and characters by language"))

# %%
say.heading("どこから集まっていますか？", "Where does it come from?")
by_source = (
    notes.groupby(["source", "source_kind"])
    .agg(notes=("note_id", "size"), chars=("chars", "sum"), newest=("changed", "max"))
    .sort_values(["notes", "chars"], ascending=False)
    .reset_index()
)
say(
    "ノートのもとは {sources} か所です。",
    "The notes come from {sources:source}.",
    sources=len(by_source),
)
tables.table(
    by_source,
    names={
        "source": say.text("もと", "source"),
        "source_kind": say.text("種類", "kind"),
        "notes": say.text("ノート数", "notes"),
        "chars": say.text("文字数", "characters"),
        "newest": say.text("最後の更新", "last change"),
    },
)

# %%
say.heading("いつ書いていますか？", "When is it written?")
# A note tells when it was written and when it was changed last, not what happened between.
WEEKS = 53
moments = pd.concat([notes.created_at, notes.updated_at[notes.changed.dt.date != notes.created_at.dt.date]]).dropna()
days = pd.to_datetime(moments.dt.date)
monday = pd.Timestamp(now.date()) - timedelta(days=now.weekday() + 7 * (WEEKS - 1))
days = days[(days >= monday) & (days <= pd.Timestamp(now.date()))]
heat = np.zeros((7, WEEKS), dtype=int)
np.add.at(heat, (days.dt.day_of_week.to_numpy(int), ((days - monday).dt.days // 7).to_numpy(int)), 1)
names_of_days = say.text("月火水木金土日", "Mon Tue Wed Thu Fri Sat Sun")
names_of_days = names_of_days.split() if " " in names_of_days else list(names_of_days)
if heat.any():
    busiest = int(heat.sum(axis=1).argmax())
    say(
        "この 1 年で、書いたり直したりした日は {active} 日あります。いちばん多い曜日は{day}です。",
        "Something was written or changed on {active:day} of the last year, most often on {day}.",
        active=int((heat > 0).sum()),
        day=names_of_days[busiest] + say.text("曜日", ""),
    )
else:
    say("この 1 年に書かれたノートはありません。", "Nothing was written in the last year.")

# %%
if heat.any():
    fig, ax = style.figure(height=2.4)
    future = np.add.outer(np.arange(7), 7 * np.arange(WEEKS)) > (pd.Timestamp(now.date()) - monday).days
    # A day with fifty imported notes must not make every other day look empty.
    shades = np.ma.masked_where(future | (heat == 0), np.sqrt(heat))
    ax.set_facecolor("#F2F2F2")
    grid = ax.pcolormesh(np.arange(WEEKS + 1), np.arange(8), shades, cmap=f"{style.RAMP}_r", edgecolors="white")
    grid.set_clim(0, max(2, np.sqrt(heat.max())))
    starts = [monday + timedelta(weeks=week) for week in range(WEEKS)]
    changes = [week for week, day in enumerate(starts) if day.day <= 7]
    ax.set_xticks(changes, [f"{starts[week]:%Y-%m}" for week in changes], rotation=45, ha="right")
    ax.set_yticks(np.arange(7) + 0.5, names_of_days)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    most = int(heat.max())
    ax.set_title(
        say.text("週ごとの活動（濃いほど多い、最大 {n} 件）", "Activity by week (darker: more, up to {n})", n=most)
    )
    style.show(
        fig, say.text("週と曜日ごとに、書いたり直したりしたノートの数", "Notes written or changed, by week and weekday")
    )

# %%
say.heading("古くなっているのはどれですか？", "What is stale?")
AGES = (30, 90, 180, 365, 730)
age_names = [
    say.text("1 か月以内", "a month"),
    say.text("3 か月以内", "3 months"),
    say.text("半年以内", "half a year"),
    say.text("1 年以内", "a year"),
    say.text("2 年以内", "2 years"),
    say.text("それより前", "older"),
]
notes["days"] = (pd.Timestamp(now) - notes.updated_at).dt.days
ages = np.bincount(np.digitize(notes.days.dropna(), AGES), minlength=len(age_names))
stale = notes[notes.days > 365]
say(
    "1 年を超えて手が入っていないノートは {stale} 件（{share:.0%}）です。",
    "{stale:note} ({share:.0%}) stayed untouched for more than a year.",
    stale=len(stale),
    share=len(stale) / max(1, len(notes)),
)

# %%
if len(notes):
    fig, ax = style.figure(height=2.8)
    bars = ax.bar(age_names, ages, color=[*[style.SKY] * 4, *[style.VERMILION] * 2], width=0.7)
    ax.bar_label(bars, labels=[f"{each:,}" for each in ages], padding=2)
    ax.set_title(say.text("最後の更新からの時間", "Time since the last change"))
    ax.set_ylabel(say.text("ノート数", "notes"))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.margins(y=0.15)
    ax.grid(axis="x", visible=False)
    style.show(fig, say.text("最後の更新からの時間ごとのノートの数", "Notes by the time since their last change"))

# %%
linked = con.sql(
    "SELECT to_note AS note_id, count(DISTINCT from_note) AS links_in FROM links "
    "WHERE to_note IS NOT NULL AND to_note <> from_note GROUP BY 1"
).df()
read_on = stale.merge(linked, on="note_id").sort_values(["links_in", "days", "note_id"], ascending=[False, False, True])
if len(read_on):
    say(
        "そのうち {count} 件には、ほかのノートからリンクがあります。読まれ続けているものから見直すとよいでしょう。",
        "Other notes still link to {count} of them: worth a look first, the most linked first.",
        count=len(read_on),
    )
    display(
        tables.table(
            read_on,
            most=10,
            names={
                "title": say.text("題名", "title"),
                "changed": say.text("最後の更新", "last change"),
                "links_in": say.text("リンク元", "linked from"),
            },
        )
    )

# %%
say.heading("読み取れなかったものは？", "What could not be read, and why?")
failures = con.sql(
    "SELECT source, path, reason, stored, last_seen FROM failures ORDER BY stored, last_seen DESC, source, path"
).df()
if len(failures):
    say(
        "{lost} 件のファイルは取り込めませんでした。ほかに {warned} 件は取り込みましたが、直すところがあります。",
        "{lost:file} could not be taken in; {warned} more were, but have something to mend.",
        lost=int((~failures.stored).sum()),
        warned=int(failures.stored.sum()),
    )
else:
    say("すべてのファイルを読み取れました。", "Every file was read.")

# %%
if len(failures):
    display(
        tables.table(
            failures,
            longest=160,
            names={
                "source": say.text("もと", "source"),
                "path": say.text("ファイル", "file"),
                "reason": say.text("理由", "reason"),
                "stored": say.text("取り込み済み", "taken in"),
                "last_seen": say.text("最後に確認", "last seen"),
            },
        )
    )
