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
import numpy as np
import pandas as pd
from IPython.display import display

from nescord.reports import asking, nearness, reading, style, tables, texts

# %% tags=["parameters"]
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all

# %%
style.setup(language)
say = texts.Speaker(language)
con = reading.open_marts(data_dir, generation, space)
say.title("重複と欠け", "Duplicates and gaps")

# %%
[(now,)] = con.sql("SELECT built_at FROM mart").fetchall()
# Marts without texts have no titles.
notes = con.sql(
    "SELECT note_id, coalesce(title, right(note_id, 8)) AS title, chars, updated_at FROM notes "
    "WHERE trashed_at IS NULL ORDER BY note_id"
).df()
notes["changed"] = notes.updated_at.dt.date
title = dict(zip(notes.note_id, notes.title, strict=True))
chars = dict(zip(notes.note_id, notes.chars, strict=True))
means = nearness.note_means(con)
say(
    "{notes} 件のノートを比べます。意味のベクトルは {embedded} 件にあります。",
    "{notes:note} to compare, {embedded} with vectors of what they mean.",
    notes=len(notes),
    embedded=len(means),
)

# %%
say.heading("ほとんど同じノートはありますか？", "Which notes say nearly the same?")
NEAR = 0.92
# A passage in common is reason to look only where it is much of a note: a signature is not.
twins = nearness.twins(con, means, near=NEAR, share=0.5)
if len(twins):
    say(
        "候補は {pairs} 組です（意味の近さ {near:.2f} 以上、または本文の半分以上が共通）。"
        "うち {same} 組には、まったく同じ段落があります。",
        "{pairs:pair is a candidate/pairs are candidates}: as near as {near:.2f} in meaning, or with half of the text "
        "in common; {same} of them share a passage to the letter.",
        pairs=len(twins),
        near=NEAR,
        same=int((twins.passages > 0).sum()),
    )
else:
    say("見当たりません。", "None.")

# %%
nearest = nearness.nearest_cosines(means.vectors)
if len(nearest):
    fig, ax = style.figure(height=3)
    counts, edges, bars = ax.hist(nearest, np.linspace(min(0.2, nearest.min()), 1, 45), color=style.BLUE)
    for bar, edge in zip(bars, edges[:-1], strict=True):
        if edge >= NEAR:
            bar.set(color=style.VERMILION, hatch="//", edgecolor="white")
    ax.axvline(NEAR, color=style.BLACK, linestyle="--", linewidth=1.2)
    ax.annotate(say.text("候補 →", "candidates →"), (NEAR, 0.93), xycoords=("data", "axes fraction"), ha="right")
    ax.set_xlabel(say.text("いちばん近いノートとの近さ（コサイン）", "nearness of the nearest other note (cosine)"))
    ax.set_ylabel(say.text("ノート数", "notes"))
    ax.yaxis.get_major_locator().set_params(integer=True)
    style.show(fig, say.text("各ノートと、いちばん近いノートとの近さ", "How near the nearest other note is"))

# %%
# Nearness finds the candidates; whether they say the same, letter by letter, is looked at for the first of them.
if len(twins):
    best = twins.head(200).copy()
    best["agree"] = nearness.agreement(con, best)
    best = best.sort_values(["agree", "cosine"], ascending=False, kind="stable")
    say(
        "近い順に {compared} 組の本文を比べると、{alike} 組は文字の 8 割以上が一致します。",
        "Compared letter by letter ({compared:pair}, the nearest first), {alike} agree in four fifths or more.",
        compared=len(best),
        alike=int((best.agree >= 0.8).sum()),
    )
    best["one"], best["other"] = best["first"].map(title), best["second"].map(title)
    best["length"] = [
        f"{chars[one]:,} / {chars[other]:,}" for one, other in zip(best["first"], best["second"], strict=True)
    ]
    display(
        tables.table(
            best,
            most=15,
            names={
                "one": say.text("ノート", "note"),
                "other": say.text("もう一方", "and"),
                "agree": say.text("文字の一致", "letters alike"),
                "cosine": say.text("意味の近さ", "nearness"),
                "passages": say.text("同じ段落", "same passages"),
                "length": say.text("文字数", "characters"),
            },
        )
    )

# %%
say.heading("何度も書かれている段落は？", "Which passages stand in many notes?")
repeated = con.sql(
    "SELECT any_value(text ORDER BY chunk_id) AS text, count(DISTINCT note_id) AS notes, max(chars) AS longest "
    "FROM chunks GROUP BY text_hash HAVING count(DISTINCT note_id) > 1 ORDER BY notes * longest DESC, text_hash"
).df()
if len(repeated):
    say(
        "{passages} 個の段落が複数のノートにそのままあります。いちばん多いものは {most} 件のノートにあります。",
        "{passages:passage stands/passages stand} in several notes, word by word; the most frequent in {most:note}.",
        passages=len(repeated),
        most=int(repeated.notes.max()),
    )
    display(
        tables.table(
            repeated,
            most=8,
            names={"text": say.text("段落", "passage"), "notes": say.text("ノート数", "notes")},
        )
    )
else:
    say("ありません。", "None.")

# %%
say.heading("長く手つかずなのに、今も求められているのは？", "What was long untouched and is still asked for?")
# What a search found is not kept (nor should it be), so a question asks for the notes whose title, tags or headings
# hold all of its words; a card that is reviewed asks for its note.
UNTOUCHED = 180
asked = asking.asked_for(con)
wanted = notes.merge(asked, on="note_id")
wanted["days"] = (pd.Timestamp(now) - wanted.updated_at).dt.days
wanted = wanted[wanted.days > UNTOUCHED].sort_values(["times", "days", "note_id"], ascending=[False, False, True])
questions = asking.questions(con)
if len(wanted):
    say(
        "{asked} 件の問いと復習を調べました。半年以上手つかずで今も求められているノートは {notes} 件です。"
        "古くなっていないか確かめましょう。",
        "Of {asked:different question} and of reviews: {notes:note} untouched for half a year and still asked for. "
        "See whether they still hold.",
        asked=len(questions),
        notes=len(wanted),
    )
    fig, ax = style.figure(height=0.9 + 0.32 * min(15, len(wanted)))
    top = wanted.head(15)
    bars = ax.barh(np.arange(len(top)), top.times, color=style.ORANGE)
    ax.bar_label(bars, [f"{day}" for day in top.changed], padding=4)
    ax.set_yticks(np.arange(len(top)), [style.shown(each, 34) for each in top.title])
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(say.text("求められた回数（右の日付は最後の更新）", "times asked for (the date: last change)"))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y", visible=False)
    style.show(fig, say.text("手つかずなのに求められているノート", "Notes untouched and still asked for"))
else:
    say(
        "{asked} 件の問いと復習を調べましたが、半年以上手つかずのノートを求めるものはありません。",
        "Of {asked:different question} and of reviews, none asks for a note untouched for half a year.",
        asked=len(questions),
    )

# %%
say.heading("どのノートも答えていない問いは？", "Which questions does no note answer?")
# What was answered when it was asked last is a gap no more.
open_ones = questions[questions.is_open]
if len(open_ones):
    say(
        "{open} 件の問いに、答えるノートがありませんでした。いちばん多いのは「{first}」（{times} 回）です。",
        "{open:question} found no note that answers, most often “{first}” ({times:time}).",
        open=len(open_ones),
        first=open_ones.iloc[0].text,
        times=int(open_ones.iloc[0].unanswered),
    )
    open_ones = open_ones.assign(last=open_ones["last"].dt.date)
    display(
        tables.table(
            open_ones,
            names={
                "text": say.text("問い", "question"),
                "unanswered": say.text("答えなし", "unanswered"),
                "times": say.text("回数", "times asked"),
                "last": say.text("最後", "last asked"),
            },
        )
    )
elif len(questions):
    say(
        "どの問いにも、最後に尋ねたときには答えるノートがありました。",
        "Every question found a note when it was asked last.",
    )
else:
    say("まだ何も尋ねられていません。", "Nothing was asked yet.")

# %%
gaps = asking.missing_words(con, open_ones)
if len(gaps):
    say(
        "答えのない問いによく出るのに、題名・タグ・見出しにほとんどない言葉です。次に書くとよいことが見えます。",
        "The words of unanswered questions that hardly any title, tag or heading has: what is worth writing next.",
    )
    fig, ax = style.figure(height=0.9 + 0.32 * min(12, len(gaps)))
    top = gaps.head(12)
    place = np.arange(len(top))
    ax.barh(place - 0.2, top.asked, height=0.38, color=style.VERMILION, label=say.text("問い", "questions"))
    ax.barh(place + 0.2, top.notes, height=0.38, color=style.SKY, label=say.text("ノート", "notes"))
    ax.set_yticks(place, [style.shown(word) for word in top.word])
    ax.invert_yaxis()
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    style.show(fig, say.text("問いに出てノートにない言葉", "Words of questions that no note has"))

# %%
say.heading("リンクだけあって、書かれていないノートは？", "Which notes are linked to but were never written?")
missing = con.sql(
    "SELECT target, count(DISTINCT from_note) AS notes FROM links "
    "WHERE to_note IS NULL AND kind = 'wiki' AND target IS NOT NULL GROUP BY 1 ORDER BY notes DESC, target"
).df()
if len(missing):
    say(
        "{targets} 件の題名にリンクがありますが、そのノートがありません。",
        "{targets:title is/titles are} linked to, but no note has one of them.",
        targets=len(missing),
    )
    display(
        tables.table(
            missing,
            most=15,
            names={"target": say.text("リンク先", "target"), "notes": say.text("リンク元", "linked from")},
        )
    )
else:
    say("ありません。", "None.")
