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
from datetime import datetime, time, timedelta

import pandas as pd
from IPython.display import display

from nescord.reports import axes, forecasts, reading, style, tables, texts
from nescord.settings import Settings

# %% tags=["parameters"]
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all

# %%
style.setup(language)
say = texts.Speaker(language)
con = reading.open_marts(data_dir, generation, space)
say.title("費用", "Budget")
[(built_at, has_texts, spaces, model)] = con.sql("SELECT built_at, texts, spaces, model FROM mart").fetchall()
settings, today = Settings(), built_at.date()
limit = settings.gemini_monthly_limit
PURPOSES = {
    "embed_new": (say.text("新しいノートの埋め込み", "embedding new notes"), style.BLUE, ""),
    "embed_query": (say.text("検索の埋め込み", "embedding queries"), style.SKY, ""),
    "reembed": (say.text("モデルの乗り換え", "changing the model"), style.GREEN, "\\\\"),
    "answer": (say.text("回答", "answers"), style.ORANGE, ""),
    "rewrite": (say.text("質問の言い換え", "rewording questions"), style.YELLOW, "//"),
    "summary": (say.text("要約", "summaries"), style.VERMILION, ""),
    "tags": (say.text("タグ付け", "tags"), style.PURPLE, "//"),
    "forgotten": (say.text("復元前の分（内訳不明）", "before a restore (for what is not known)"), style.GREY, ""),
}
con.execute("CREATE TEMP VIEW spending AS SELECT *, settled_at IS NULL AS is_open FROM ledger")
is_narrowed = bool(space) or spaces is not None


def prices(purpose: str) -> tuple[float, float]:
    """US dollars for a million tokens, at least and at most: the ledger does not tell what was read from what was
    written."""
    if purpose in ("embed_new", "embed_query", "reembed"):
        return settings.price_embedding, settings.price_embedding
    both = (settings.price_input, settings.price_output)
    return (min(*both, settings.price_embedding), max(both)) if purpose == "forgotten" else (min(both), max(both))


def dollars(rows: pd.DataFrame) -> tuple[float, float]:
    """What tokens by purpose have cost, at least and at most."""
    costs = [
        (tokens / 1e6 * low, tokens / 1e6 * high)
        for tokens, (low, high) in zip(rows["tokens"], map(prices, rows["purpose"]), strict=True)
    ]
    return sum(low for low, _ in costs), sum(high for _, high in costs)


def shown_dollars(low: float, high: float) -> str:
    """One sum, or from one to the other."""
    digits = 2 if high >= 1 else 4
    least, most = f"${low:,.{digits}f}", f"${high:,.{digits}f}"
    return most if least == most else f"{least} – {most}"


def priced(column: str) -> pd.DataFrame:
    """Calls, tokens, money (as it is shown) and the last day of each value of a column of the ledger."""
    parts = con.sql(
        f"SELECT {column}, purpose, sum(tokens)::BIGINT AS tokens, count(*) AS calls, max(day) AS last FROM spending "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    ).df()
    lines = [
        {
            column: value,
            "calls": rows["calls"].sum(),
            "tokens": rows["tokens"].sum(),
            "money": shown_dollars(*dollars(rows)),
            "last": rows["last"].max(),
        }
        for value, rows in parts.groupby(column)
    ]
    return pd.DataFrame(lines)


# %%
say.heading("今月はどれだけ使いましたか？", "What has this month used?")
month = today.replace(day=1)
ends = (month + timedelta(days=32)).replace(day=1)
calls = con.sql("SELECT count(*) FROM spending").fetchall()[0][0]
by_purpose = con.sql(
    f"SELECT purpose, sum(tokens)::BIGINT AS tokens, count(*) AS calls FROM spending WHERE day >= DATE '{month}' "
    "GROUP BY purpose ORDER BY tokens DESC, purpose"
).df()
spent = int(by_purpose["tokens"].sum())
if not calls and is_narrowed:
    say(
        "このスペースだけのために外のモデルを使ったことはありません。",
        "No model elsewhere was called for these spaces alone.",
    )
elif not calls:
    say(
        "外のモデルは一度も使っていないので、費用はかかっていません。",
        "No model elsewhere was ever called: nothing was spent.",
    )
else:
    open_calls = con.sql(
        f"SELECT count(*), coalesce(sum(tokens), 0)::BIGINT FROM spending WHERE is_open AND day >= DATE '{month}'"
    ).fetchall()[0]
    say(
        "{month} は {when} までに {spent} トークンで、上限 {limit} の {share:.0%} です。金額にすると {money} "
        "ほどです。",
        "{month} has used {spent} tokens by {when}, {share:.0%} of the limit of {limit}: about {money}.",
        month=f"{month:%Y-%m}", when=today, spent=spent, limit=limit, share=spent / limit if limit else 1.0,
        money=shown_dollars(*dollars(by_purpose)),
    )  # fmt: skip
    say(
        "金額は設定の単価（埋め込み ${embedding:g}、入力 ${read:g}、出力 ${write:g} / 100 "
        "万トークン）による見積もりです。"
        "回答などは入力と出力の割合が記録されないので、幅で示します。",
        "Money is an estimate by the prices in the settings (embedding ${embedding:g}, input ${read:g}, output "
        "${write:g} "
        "for a million tokens). How much of an answer was read and how much written is not recorded: hence the range.",
        embedding=settings.price_embedding, read=settings.price_input, write=settings.price_output,
    )  # fmt: skip
    if open_calls[0]:
        say(
            "そのうち {n} 回の呼び出し（{tokens} トークン）は終わりが記録されておらず、見積もりのまま数えています。",
            "{n:call} among them ({tokens} tokens) have no known end and count as they were estimated.",
            n=open_calls[0], tokens=open_calls[1],
        )  # fmt: skip

# %%
if calls:
    say.heading("月末にはどうなりますか？", "What will the month come to?")
    daily = con.sql("SELECT day, sum(tokens)::BIGINT AS tokens FROM spending GROUP BY day").df()
    daily = axes.filled(daily, "day", "day", today)["tokens"].astype(float)
    past = daily[daily.index < pd.Timestamp(today)].tail(28)
    midnight = datetime.combine(today + timedelta(days=1), time(), built_at.tzinfo)
    rest_of_today = max(0.0, (midnight - built_at) / timedelta(days=1))
    days_left = (ends - today).days - 1
    ahead = forecasts.month_end(spent, past, days_left + rest_of_today, limit) if len(past) >= 7 else None
    if ahead is None:
        say(
            "記録が {n} 日分だけなので、まだ見通せません（7 日から）。",
            "There are only {n:day} on record: too few for a forecast, which takes 7.",
            n=len(past),
        )
    else:
        say(
            "この {n} 日のような日が続けば、月末には約 {middle:,.0f} トークン（90% の確かさで "
            "{low:,.0f}〜{high:,.0f}）です。",
            "If days like the last {n} go on, the month comes to some {middle:,.0f} tokens ({low:,.0f} to "
            "{high:,.0f} with "
            "90 % confidence).",
            n=len(past), middle=ahead.middle, low=ahead.low, high=ahead.high,
        )  # fmt: skip
        if spent >= limit:
            # What `nescord budget allow` has added to the limit is not in the marts.
            say(
                "<strong>設定の上限を超えています。</strong>"
                "追加で許可した分（<code>nescord budget allow</code>）は、ここでは数えていません。",
                "<strong>That is beyond the limit in the settings.</strong> Allowances "
                "(<code>nescord budget allow</code>) are not counted here.",
            )
        elif ahead.over < 0.005:
            say("上限に届くことは、まずありません。", "It hardly reaches the limit.")
        else:
            say(
                "<strong>上限に届く見込みは {chance:.0%} です</strong>（届くと、"
                "<code>nescord budget allow</code> で許可しないかぎり、月が変わるまで語だけの検索になります）。",
                "<strong>The chance that it reaches the limit is {chance:.0%}</strong>; then search is by words "
                "until the month is over, unless more is allowed (<code>nescord budget allow</code>).",
                chance=ahead.over,
            )  # fmt: skip
    fig, ax = style.figure(height=3.2)
    this_month = daily[daily.index >= pd.Timestamp(month)].cumsum()
    ax.step(this_month.index, this_month, where="post", color=style.BLUE, label=say.text("使った分", "used"))
    if ahead is not None and days_left > 0:
        fan = forecasts.days_to_come(spent, past, days_left)
        dates = [today + timedelta(days=at) for at in range(days_left + 1)]
        low, middle, high = ([spent, *(row[at] for row in fan)] for at in range(3))
        ax.fill_between(dates, low, high, color=style.ORANGE, alpha=0.25, linewidth=0)
        ax.plot(dates, middle, color=style.ORANGE, linestyle="--", label=say.text("見通し", "forecast"))
    most = max(this_month.max(), ahead.high if ahead else 0.0)
    if limit <= 3 * most:
        ax.axhline(limit, color=style.VERMILION, linestyle=":", label=say.text("上限", "limit"))
    ax.set_ylim(0, max(1.0, 1.1 * (max(most, limit) if limit <= 3 * most else most)))
    ax.set_xlim(month - timedelta(days=1), ends)
    axes.whole(ax.yaxis)
    axes.days(ax, month, ends)
    axes.legend(ax)
    ax.set_title(say.text("今月のトークン（帯は 90% 区間）", "Tokens of this month (band: 90 % interval)"))
    style.show(fig, say.text("今月のトークンと月末の見通し", "Tokens of this month, and what it comes to"))

# %%
if calls:
    say.heading("何に使いましたか？", "What was it spent on?")
    overall = con.sql(
        "SELECT purpose, sum(tokens)::BIGINT AS tokens, count(*) AS calls FROM spending GROUP BY purpose "
        "ORDER BY tokens DESC, purpose"
    ).df()
    names = {each: PURPOSES.get(each, (each, style.BLACK, ""))[0] for each in overall["purpose"]}
    total = int(overall["tokens"].sum())
    say(
        "{first} から {tokens} トークン、{n} 回の呼び出しです。いちばん多いのは「{most}」で {share:.0%} でした。",
        "Since {first}: {tokens} tokens in {n:call}; most of them, {share:.0%}, for {most}.",
        first=daily.index[0].date(), tokens=total, n=calls, most=names[overall["purpose"].iloc[0]],
        share=overall["tokens"].iloc[0] / total if total else 0.0,
    )  # fmt: skip
    step = axes.step_of(daily.index[0].date(), today)
    parts = con.sql(
        f"SELECT purpose, date_trunc('{step}', day)::DATE AS since, sum(tokens)::BIGINT AS tokens FROM spending "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    ).df()
    wide = parts.pivot(index="since", columns="purpose", values="tokens").fillna(0).reset_index()
    wide = axes.filled(wide, "since", step, today)
    fig, ax = style.figure(height=3.2)
    below = pd.Series(0.0, index=wide.index)
    for purpose in [each for each in (*PURPOSES, *sorted(set(names) - set(PURPOSES))) if each in names]:
        _, colour, hatch = PURPOSES.get(purpose, ("", style.BLACK, ""))
        ax.bar(
            wide.index, wide[purpose], 0.85 * (7 if step == "week" else 1), bottom=below, color=colour, hatch=hatch,
            edgecolor="white", linewidth=0, label=style.shown(names[purpose]),
        )  # fmt: skip
        below = below + wide[purpose]
    axes.whole(ax.yaxis)
    axes.days(ax, wide.index[0].date(), today)
    axes.legend(ax)
    ax.set_title(
        say.text("週ごとのトークン", "Tokens by week")
        if step == "week"
        else say.text("日ごとのトークン", "Tokens by day")
    )
    style.show(fig, say.text("用途ごとのトークン", "Tokens by purpose over time"))
    overall = overall.merge(priced("purpose")[["purpose", "money"]], on="purpose")
    overall["what"] = overall["purpose"].map(names)
    overall["each"] = (overall["tokens"] / overall["calls"]).round().astype("int64")
    heads = {
        "what": say.text("用途", "for"),
        "calls": say.text("呼び出し", "calls"),
        "tokens": say.text("トークン", "tokens"),
        "each": say.text("1 回あたり", "a call"),
        "money": say.text("見積もり", "estimate"),
    }
    display(tables.table(overall, names=heads))
    by_day = priced("day").sort_values("day", ascending=False).head(14)
    costly = by_day.loc[by_day["tokens"].idxmax()]
    say(
        "最近使った {n} 日では、{day} がいちばん多く {tokens} トークン（{money}）でした。",
        "Of the last {n:day} on which anything was spent, {day} took most: {tokens} tokens ({money}).",
        n=len(by_day), day=costly["day"], tokens=int(costly["tokens"]), money=costly["money"],
    )  # fmt: skip
    heads = {
        "day": say.text("日", "day"),
        "calls": say.text("呼び出し", "calls"),
        "tokens": say.text("トークン", "tokens"),
        "money": say.text("見積もり", "estimate"),
    }
    display(tables.table(by_day, names=heads))

# %%
if calls:
    say.heading("誰のために使いましたか？", "For whom was it spent?")
    people = priced("who").sort_values(["tokens", "who"], ascending=[False, True]).reset_index(drop=True)
    WORDS = {
        "": say.text("所有者・自動", "owner, or by itself"),
        "erased": say.text("消去された人", "people who were erased"),
    }
    people["name"] = [WORDS.get(who, who) for who in people["who"]]
    say(
        "{n} の使い手のうち、いちばん多いのは「{name}」で {share:.0%} でした。",
        "Of {n:party/parties}, “{name}” had most: {share:.0%}.",
        n=len(people), name=style.shown(people["name"].iloc[0], 60),
        share=people["tokens"].iloc[0] / total if total else 0.0,
    )  # fmt: skip
    top = people.head(12)[::-1]
    fig, ax = style.figure(height=1 + 0.34 * len(top))
    ax.barh(range(len(top)), top["tokens"], color=style.BLUE)
    ax.set_yticks(range(len(top)), [style.shown(name) for name in top["name"]])
    axes.whole(ax.xaxis)
    ax.set_xlabel(say.text("トークン", "tokens"))
    style.show(fig, say.text("誰のために使ったか", "Tokens by who they were for"))
    heads = {
        "name": say.text("誰", "who"),
        "calls": say.text("呼び出し", "calls"),
        "tokens": say.text("トークン", "tokens"),
        "money": say.text("見積もり", "estimate"),
        "last": say.text("最後の日", "last day"),
    }
    display(tables.table(people, names=heads, most=12))

# %%
say.heading("使い回しで、どれだけ節約できましたか？", "What did it save to use vectors again?")
# Only a model elsewhere is paid for; what a local one is spared is time.
is_paid = bool(model) and not model.startswith(("local|", "e5|", "test|"))
chunks, distinct, characters = con.sql(
    """
    WITH known AS (SELECT text_hash, chars FROM chunks WHERE text_hash IN (SELECT text_hash FROM embeddings))
    SELECT (SELECT count(*) FROM known), (SELECT count(DISTINCT text_hash) FROM known),
        (SELECT coalesce(sum(chars), 0) FROM known) - (SELECT coalesce(sum(most), 0) FROM
            (SELECT max(chars) AS most FROM known GROUP BY text_hash))
    """
).fetchall()[0]
unused = con.sql(
    "SELECT count(*) FROM embeddings WHERE text_hash NOT IN (SELECT text_hash FROM chunks)"
).fetchall()[0][0]  # fmt: skip
if not chunks:
    say("ベクトルはまだありません。", "There are no vectors yet.")
else:
    reused = chunks - distinct
    say(
        "ベクトルのある {chunks} 個の断片に、ベクトルは {distinct} 個だけです。同じ文章の {reused} 個"
        "（{share:.1%}）は作り直していません。"
        "名前を変えただけ、移しただけのノートも、文章が同じなら作り直しません（その回数は記録されません）。",
        "{chunks:chunk} share {distinct:vector}: {reused} ({share:.1%}) repeat a text and were not computed again. "
        "Nor is a "
        "note that was only renamed or moved, whose texts are the same; how often that was is not recorded.",
        chunks=chunks, distinct=distinct, reused=reused, share=reused / chunks,
    )  # fmt: skip
    if unused:
        say(
            "今はどの断片も使っていないベクトルが {n} 個あり、その文章が戻れば、また使えます。",
            "{n:vector is/vectors are} in no use now, and there again should their texts come back.",
            n=unused,
        )
    if is_paid:
        low, high = (
            float(characters) / each for each in (4.0, 1.0)
        )  # an English token has four letters, a Japanese one
        say(
            "見積もり：これで {low:,.0f}〜{high:,.0f} トークン（${money:,.4f} 以下）を払わずにすみました。"
            "文字数から、1 トークンを 1〜4 文字として計算しています。",
            "An estimate: that saved {low:,.0f} to {high:,.0f} tokens (${money:,.4f} at most), by one to four "
            "characters a "
            "token.",
            low=low, high=high, money=high / 1e6 * settings.price_embedding,
        )  # fmt: skip
    else:
        say(
            "モデルはこのマシンで動くので、節約できたのはお金ではなく時間です。",
            "The model runs on this machine: what was saved is time, not money.",
        )

# %%
asked = con.sql(
    """
    SELECT count(*) AS asked, count(DISTINCT trim(regexp_replace(query, '\\s+', ' ', 'g'))) AS distinct_queries
    FROM events_search WHERE mode <> 'keyword' AND query IS NOT NULL
    """
).fetchall()[0]
query_calls = con.sql(
    "SELECT count(*), coalesce(sum(tokens), 0)::BIGINT FROM ledger WHERE purpose = 'embed_query'"
).fetchall()[0]  # fmt: skip
if not has_texts:
    say(
        "検索語がマートに入っていないため、同じ検索が何度あったかは分かりません。",
        "These marts hold no queries, so how often they repeat is not known.",
    )
elif not asked[0]:
    say("意味での検索の記録は、まだありません。", "No search by meaning is on record yet.")
else:
    repeated = asked[0] - asked[1]
    say(
        "意味での検索 {n} 回のうち {repeated} 回（{share:.0%}）は、前にもあった検索語でした。",
        "Of {n:search/searches} by meaning, {repeated} ({share:.0%}) repeated an earlier query.",
        n=asked[0], repeated=repeated, share=repeated / asked[0],
    )  # fmt: skip
    if query_calls[0]:
        each = query_calls[1] / query_calls[0]
        say(
            "見積もり：覚えておいたベクトルで、多くて {n} 回の呼び出し、約 {tokens:,.0f} トークン"
            "（${money:,.4f}）を節約しました"
            "（1 回 {each:,.1f} トークンとして。覚えているのは新しい 2,000 件までです）。",
            "An estimate: vectors that were remembered saved up to {n:call}, some {tokens:,.0f} tokens "
            "(${money:,.4f}), at "
            "{each:,.1f} a call; the latest 2,000 are remembered.",
            n=repeated, tokens=repeated * each, money=repeated * each / 1e6 * settings.price_embedding, each=each,
        )  # fmt: skip
