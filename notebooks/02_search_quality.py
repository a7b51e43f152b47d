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
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display

from nescord.home import DataFolder
from nescord.reports import asking, axes, golden, intervals, reading, style, tables, texts
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
say.title("検索の質", "How good search is")
built_at, has_texts, spaces = con.sql("SELECT built_at, texts, spaces FROM mart").fetchall()[0]
today = built_at.date()
MODES = {
    "keyword": (say.text("語", "words"), style.ORANGE, "s"),
    "vector": (say.text("意味", "meaning"), style.SKY, "^"),
    "hybrid": (say.text("両方", "both"), style.BLUE, "o"),
}

# %%
say.heading("どれだけ検索され、どれだけ空振りでしたか？", "How much is searched, and how often in vain?")
searches, vain, first = con.sql(
    "SELECT count(*), count(*) FILTER (WHERE hits = 0), min(happened_at)::DATE FROM events_search"
).fetchall()[0]
if not searches:
    say(
        "検索の記録はまだありません（NESCORD_SEARCH_EVENTS=off なら記録されません）。",
        "No search is on record yet (none is kept with NESCORD_SEARCH_EVENTS=off).",
    )
else:
    found = intervals.share(vain, searches)
    say(
        "{first} からの検索は {n} 回、うち {vain} 回（{share:.0%}）は何も見つかりませんでした。"
        "同じような検索が続くとき、この割合は 95% の確かさで {low:.0%}〜{high:.0%} です。",
        "Since {first} there were {n:search/searches}; {vain} of them ({share:.0%}) found nothing. "
        "With 95 % confidence that share lies between {low:.0%} and {high:.0%}.",
        first=first, n=searches, vain=vain, share=found.value, low=found.low, high=found.high,
    )  # fmt: skip
    step = axes.step_of(first, today)
    counted = con.sql(
        f"SELECT date_trunc('{step}', happened_at)::DATE AS since, count(*) FILTER (WHERE hits > 0) AS found, "
        "count(*) FILTER (WHERE hits = 0) AS vain FROM events_search GROUP BY 1"
    ).df()
    counted = axes.filled(counted, "since", step, today)
    fig, ax = style.figure(height=2.8)
    width = 0.85 * (7 if step == "week" else 1)
    ax.bar(counted.index, counted["found"], width, color=style.BLUE, label=say.text("見つかった", "found something"))
    ax.bar(
        counted.index, counted["vain"], width, bottom=counted["found"], color=style.ORANGE, hatch="///",
        edgecolor="white", linewidth=0, label=say.text("空振り", "found nothing"),
    )  # fmt: skip
    ax.set_ylabel(say.text("検索（回）", "searches"))
    ax.set_title(say.text("週ごと", "By week") if step == "week" else say.text("日ごと", "By day"))
    axes.days(ax, counted.index[0], counted.index[-1])
    axes.whole(ax.yaxis)
    axes.legend(ax)
    style.show(fig, say.text("検索の回数と空振りの回数", "Searches, and those that found nothing"))

# %%
say.heading("何を探して見つからなかったのですか？", "What was looked for and not found?")
terms = con.sql(
    """
    SELECT min(query) AS query, count(*) FILTER (WHERE hits = 0) AS vain,
        max(happened_at) FILTER (WHERE hits = 0) AS last,
        arg_max(hits, happened_at) > 0 AS is_found_now
    FROM (SELECT *, lower(nfc_normalize(regexp_replace(trim(query), '\\s+', ' ', 'g'))) AS term FROM events_search)
    WHERE trim(query) <> '' GROUP BY term HAVING count(*) FILTER (WHERE hits = 0) > 0
    ORDER BY vain DESC, last DESC, query
    """
).df()
if searches and not has_texts:
    say(
        "このマートには言葉が入っていないため、何が探されたかは分かりません。",
        "These marts hold no texts, so what was looked for is not known.",
    )
elif terms.empty:
    say("空振りした検索語はありません。", "Nothing was looked for in vain.")
else:
    say(
        "見つからなかった検索語は {n} 種類です。いちばん多いのは「{most}」（{times} 回）でした。"
        "そのうち {now} 種類は、その後の検索で見つかっています。",
        "{n:query/queries} found nothing, “{most}” most often ({times:time}). "
        "{now} of them have found something since.",
        n=len(terms), most=style.shown(terms["query"].iloc[0], 60), times=int(terms["vain"].iloc[0]),
        now=int(terms["is_found_now"].sum()),
    )  # fmt: skip
    heads = {
        "query": say.text("検索語", "query"),
        "vain": say.text("空振り（回）", "times in vain"),
        "last": say.text("最後", "last time"),
        "is_found_now": say.text("今は見つかる", "found since"),
    }
    display(tables.table(terms, names=heads, most=15))

# %%
say.heading(
    "空振りと、答えのない質問は増えていますか？", "Are searches in vain and questions without an answer on the rise?"
)
asked, unanswered = con.sql("SELECT count(*), count(*) FILTER (WHERE NOT is_answered) FROM questions").fetchall()[0]
if not asked:
    say("質問の記録はまだありません。", "No question is on record yet.")
else:
    found = intervals.share(unanswered, asked)
    say(
        "{n} 件の質問のうち {none} 件（{share:.0%}、95% 区間 {low:.0%}〜{high:.0%}）は、"
        "ノートに答えがありませんでした。",
        "Of {n:question}, {none} ({share:.0%}, 95 % interval {low:.0%} to {high:.0%}) had no answer in the notes.",
        n=asked, none=unanswered, share=found.value, low=found.low, high=found.high,
    )  # fmt: skip
is_long = bool(searches) and (today - first).days > 62
step = "month" if is_long else "week"
missed = con.sql(
    f"""
    SELECT 'search' AS what, date_trunc('{step}', happened_at)::DATE AS since, count(*) AS n,
        count(*) FILTER (WHERE hits = 0) AS missed
    FROM events_search GROUP BY 2
    UNION ALL SELECT 'question', date_trunc('{step}', happened_at)::DATE, count(*),
        count(*) FILTER (WHERE NOT is_answered)
    FROM questions GROUP BY 2 ORDER BY 1, 2
    """
).df()
for what, ja, en in (
    ("search", "空振りの検索", "Searches in vain"),
    ("question", "答えのない質問", "Unanswered questions"),
):
    recent = con.sql(
        "SELECT happened_at >= (SELECT built_at FROM mart) - INTERVAL 28 DAY AS is_late, count(*), count(*) FILTER "
        "(WHERE missed) FROM "
        + (
            "(SELECT happened_at, hits = 0 AS missed FROM events_search)"
            if what == "search"
            else "(SELECT happened_at, NOT is_answered AS missed FROM questions)"
        )
        + " WHERE happened_at >= (SELECT built_at FROM mart) - INTERVAL 56 DAY GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if len(recent) == 2:
        before, after = (intervals.share(lost, n) for _, n, lost in recent)
        if after.low > before.high:
            verdict = say.text("増えています", "on the rise")
        elif after.high < before.low:
            verdict = say.text("減っています", "going down")
        else:
            verdict = say.text("偶然の範囲を超える変化はありません", "no change beyond chance")
        say(
            "{what}：前の 4 週間 {before:.0%}、この 4 週間 {after:.0%}。{verdict}。",
            "{what}: {before:.0%} in the four weeks before, {after:.0%} in the last four; {verdict}.",
            what=say.text(ja, en), before=before.value, after=after.value, verdict=verdict,
        )  # fmt: skip
if not missed.empty:
    fig, ax = style.figure(height=2.8)
    for shift, (what, label, colour, marker) in enumerate(
        (
            ("search", say.text("空振りの検索", "searches in vain"), style.ORANGE, "s"),
            ("question", say.text("答えのない質問", "unanswered questions"), style.BLUE, "o"),
        )
    ):
        rows = missed[missed["what"] == what]
        each = [intervals.share(int(row.missed), int(row.n)) for row in rows.itertuples()]
        if each:
            ax.errorbar(
                rows["since"] + np.timedelta64((72 if is_long else 18) * shift, "h"), [one.value for one in each],
                yerr=[[one.below for one in each], [one.above for one in each]],
                color=colour, marker=marker, linestyle="", capsize=3, elinewidth=0.9, label=label,
            )  # fmt: skip
    ax.set_ylim(-0.02, 1.02)
    axes.shares(ax.yaxis)
    axes.days(ax, missed["since"].min(), missed["since"].max())
    if is_long:
        ax.set_title(say.text("月ごとの割合と 95% 区間", "Share by month with 95 % intervals"))
    else:
        ax.set_title(say.text("週ごとの割合と 95% 区間", "Share by week with 95 % intervals"))
    axes.legend(ax)
    style.show(fig, say.text("空振りと答えのない質問の割合", "Shares of searches in vain and of unanswered questions"))

# %%
say.heading("検索は速いですか？", "Is search fast?")
SLOW = 1_000.0  # milliseconds: about where a person loses the thread (Nielsen 1993)
times = con.sql("SELECT mode, milliseconds FROM events_search WHERE milliseconds > 0 ORDER BY mode, milliseconds").df()
if times.empty:
    say("計れる検索がまだありません。", "There is no search to be timed yet.")
else:
    slow = int((times["milliseconds"] >= SLOW).sum())
    typical, late = (intervals.quantile(times["milliseconds"], q) for q in (0.5, 0.95))
    say(
        "半分は {median:,.0f} ミリ秒以内、95% は {late:,.0f} ミリ秒以内に答えました。"
        "1 秒以上かかった検索は {slow} 回（{share:.1%}）です。",
        "Half of them were answered within {median:,.0f} ms, 95 % within {late:,.0f} ms; "
        "{slow:search/searches} ({share:.1%}) took a second or more.",
        median=typical.value, late=late.value, slow=slow, share=slow / len(times),
    )  # fmt: skip
    fig, ax = style.figure(height=2.4)
    labels = []
    for place, mode in enumerate(mode for mode in reversed(MODES) if (times["mode"] == mode).any()):
        name, colour, _ = MODES[mode]
        of_mode = times.loc[times["mode"] == mode, "milliseconds"]
        labels.append(f"{name} ({len(of_mode):,})")
        for q, marker in ((0.5, "o"), (0.95, "D")):
            each = intervals.quantile(of_mode, q)
            ax.errorbar(each.value, place, xerr=[[each.below], [each.above]], color=colour, marker=marker, capsize=4)
    ax.axvline(SLOW, color=style.GREY, linestyle="--", linewidth=1)
    axes.logarithmic(ax, "x")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.set_xlabel(
        say.text(
            "ミリ秒（● 中央値、◆ 95%、横線は 95% 区間、破線は 1 秒）",
            "ms (● median, ◆ 95 % are faster; bars: 95 % intervals; dashed: one second)",
        )
    )
    ax.set_title(say.text("探し方ごとの時間", "Time by mode of search"))
    style.show(fig, say.text("探し方ごとの検索時間", "Time that a search takes, by mode"))
    slowest = con.sql(
        f"SELECT query, mode, milliseconds::BIGINT AS ms, hits, happened_at FROM events_search WHERE milliseconds "
        f">= {SLOW} "
        "ORDER BY milliseconds DESC, happened_at DESC, query LIMIT 10"
    ).df()
    if not slowest.empty:
        slowest["mode"] = [MODES[mode][0] if mode in MODES else mode for mode in slowest["mode"]]
        heads = {
            "query": say.text("遅かった検索", "slow query"),
            "mode": say.text("探し方", "by"),
            "ms": say.text("ミリ秒", "ms"),
            "hits": say.text("件数", "hits"),
            "happened_at": say.text("いつ", "when"),
        }
        display(tables.table(slowest, names=heads))

# %%
say.heading("意味での検索は、いつも使えましたか？", "Could vectors always be asked?")
degraded = con.sql(
    "SELECT reason, count(*) AS times, max(happened_at) AS last FROM (SELECT happened_at, unnest(degraded) AS "
    "reason FROM events_search) "
    "GROUP BY reason ORDER BY times DESC, reason"
).df()
lacking = con.sql("SELECT count(*) FROM events_search WHERE len(degraded) > 0").fetchall()[0][0]
if not searches:
    say("まだ検索がありません。", "There was no search yet.")
elif degraded.empty:
    say(
        "{n} 回の検索すべてで、頼まれた探し方ができました。",
        "All {n:search/searches} were answered as asked.",
        n=searches,
    )
else:
    found = intervals.share(lacking, searches)
    say(
        "{n} 回（{share:.1%}）の検索は、頼まれたとおりには探せませんでした。おもな理由は下の表のとおりです。",
        "{n:search/searches} ({share:.1%}) could not be answered as asked, for these reasons.",
        n=lacking, share=found.value,
    )  # fmt: skip
    heads = {
        "reason": say.text("理由", "reason"),
        "times": say.text("回数", "times"),
        "last": say.text("最後", "last time"),
    }
    display(tables.table(degraded, names=heads, most=8, longest=120))

# %%
say.heading(
    "答えの分かっている質問に、どの探し方がよく答えますか？", "Which mode answers best where the answer is known?"
)
folder = Path(data_dir) if data_dir else DataFolder.at(Settings()).path
is_narrowed = bool(space) or spaces is not None
runs = [] if is_narrowed else golden.history(folder)
GROUPS = {
    "ja": say.text("日本語", "Japanese"),
    "en": say.text("英語", "English"),
    "across": say.text("言語をまたぐ", "across languages"),
}
usable = [run for run in runs if any(each.expected for each in run.queries)]
if is_narrowed:
    say(
        "ゴールデンクエリは全スペースに対して行うため、スペースを限ったレポートには出しません。",
        "Golden queries are asked of all spaces, and so are not in a report of some of them.",
    )
elif not runs:
    say(
        "ゴールデンクエリがありません。data フォルダかノートのフォルダの直下に <code>golden.jsonl</code> を置くと、"
        "レポートのたびに測ります。1 行に 1 問、"
        "<code>{{&quot;query&quot;: &quot;…&quot;, &quot;expected&quot;: [&quot;フォルダ/ノート.md&quot;]}}</code>。"
        "20 問ほどから役に立ちます（書き方は data/sample/README.md）。",
        "There are no golden queries. Put a <code>golden.jsonl</code> into the data folder or beside your notes, "
        "and each "
        "report measures them. One query a line, "
        "<code>{{&quot;query&quot;: &quot;…&quot;, &quot;expected&quot;: [&quot;folder/note.md&quot;]}}</code>; "
        "some twenty begin to tell something (data/sample/README.md says more).",
    )
elif runs[-1].problem:
    say(
        "前回は質問できませんでした：{why}", "They could not be asked the last time: {why}", why=runs[-1].problem
    )  # fmt: skip


def day_of(run):
    """The day of a run where the person is."""
    return datetime.fromisoformat(run.at).astimezone(built_at.tzinfo).date()


def scores(run, mode, group=None, measure=intervals.reciprocal_rank):
    """One number for each query of a run that was asked in that mode."""
    asked = [each for each in run.queries if each.expected and mode in each.ranks and group in (None, each.group)]
    return [measure(each.ranks[mode]) for each in asked]


# %%
if usable:
    newest = usable[-1]
    overall = {mode: intervals.mean(scores(newest, mode)) for mode in MODES if scores(newest, mode)}
    best = max(overall, key=lambda mode: (overall[mode].value, mode))
    say(
        "{when}、{n} 問を {notes} 件のノートに尋ねました。正解の順位の逆数の平均（MRR）は「{best}」が最もよく "
        "{mrr:.2f}（95% 区間 {low:.2f}〜{high:.2f}）でした。1 なら、いつも一番上に正解があります。",
        "On {when}, {n:query/queries} were asked of {notes:note}. By “{best}” they were answered best: the mean of "
        "1 / rank "
        "(MRR) is {mrr:.2f}, 95 % interval {low:.2f} to {high:.2f}; 1 means that the right note always comes first.",
        when=day_of(newest), n=overall[best].count, notes=newest.notes, best=MODES[best][0],
        mrr=overall[best].value, low=overall[best].low, high=overall[best].high,
    )  # fmt: skip
    singles = {mode: scores(newest, mode) for mode in ("keyword", "vector") if mode in overall}
    if "hybrid" in overall and singles:
        rival = max(singles, key=lambda mode: sum(singles[mode]))
        if len(singles[rival]) == overall["hybrid"].count:
            gain = intervals.difference(scores(newest, "hybrid"), singles[rival])
            if gain.low > 0:
                verdict = say.text("確かに「両方」が上です", "“both” is ahead for sure")
            elif gain.high < 0:
                verdict = say.text("「両方」は確かに下です", "“both” is behind for sure")
            else:
                verdict = say.text("差は偶然かもしれません", "that may be chance")
            say(
                "「両方」から「{rival}」だけを引いた差は {gain:+.3f}（{low:+.3f}〜{high:+.3f}）：{verdict}。",
                "“Both” less “{rival}” alone is {gain:+.3f} ({low:+.3f} to {high:+.3f}): {verdict}.",
                rival=MODES[rival][0], gain=gain.value, low=gain.low, high=gain.high, verdict=verdict,
            )  # fmt: skip
    fig, ax = style.figure(height=3)
    groups = [group for group in GROUPS if any(each.group == group for each in newest.queries)]
    for at, mode in enumerate(overall):
        name, colour, marker = MODES[mode]
        each = [intervals.mean(scores(newest, mode, group)) for group in groups]
        places = np.arange(len(groups)) + 0.2 * (at - 1)
        ax.errorbar(
            [one.value for one in each], places, xerr=[[one.below for one in each], [one.above for one in each]],
            linestyle="", color=colour, marker=marker, markersize=8, capsize=4, elinewidth=1.5, label=name,
        )  # fmt: skip
    counts = [sum(each.group == group for each in newest.queries) for group in groups]
    ax.set_yticks(range(len(groups)), [f"{GROUPS[group]} ({n:,})" for group, n in zip(groups, counts, strict=True)])
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(say.text("MRR（横線は 95% 区間）", "MRR (bars: 95 % intervals)"))
    axes.legend(ax)
    style.show(fig, say.text("探し方と言語ごとの MRR", "MRR by mode and language"))

# %%
if usable:
    lines = []
    for mode in overall:
        for group in groups:
            of_group = [each for each in newest.queries if each.group == group and mode in each.ranks]
            line = {"mode": MODES[mode][0], "group": GROUPS[group], "n": len(of_group)}
            for k in (1, 5, 10):
                found = intervals.mean([intervals.recall(each.ranks[mode], each.expected, k) for each in of_group])
                line[f"recall{k}"] = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]" if of_group else "–"
            lines.append(line)
    heads = {
        "mode": say.text("探し方", "by"),
        "group": say.text("質問", "queries"),
        "n": say.text("数", "n"),
        **{f"recall{k}": say.text(f"再現率@{k}", f"recall@{k}") for k in (1, 5, 10)},
    }
    display(tables.table(pd.DataFrame(lines), names=heads))
    quiet = [each for each in newest.queries if not each.expected and "hybrid" in each.silent]
    if quiet:
        say(
            "答えのない {n} 問のうち {k} 問では、何も出ないか「弱い」印だけが付きました。",
            "Of {n:query/queries} that no note answers, {k} got nothing, or only hits that are marked as weak.",
            n=len(quiet), k=sum(each.silent["hybrid"] for each in quiet),
        )  # fmt: skip

# %%
if usable:
    say.heading("良くなっていますか？", "Is it getting better?")
    late = usable[-26:]
    before, after = (scores(late[0], best), scores(late[-1], best))
    are_same = late[0].fingerprint == late[-1].fingerprint and len(before) == len(after)
    if len(late) == 1:
        say("まだ一度しか測っていません。", "It was measured only once so far.")
    elif not are_same:
        say(
            "{first} からの間に質問が変わったため、最初と今とは比べられません。",
            "The queries have changed since {first}: then and now cannot be compared.",
            first=day_of(late[0]),
        )
    else:
        change = intervals.difference(after, before)
        if change.low > 0:
            verdict = say.text("良くなりました", "it is better")
        elif change.high < 0:
            verdict = say.text("悪くなりました", "it is worse")
        else:
            verdict = say.text("はっきりした変化はありません", "there is no clear change")
        say(
            "{first} から今までの「{mode}」の変化は {change:+.3f}（{low:+.3f}〜{high:+.3f}）：{verdict}。",
            "Since {first}, “{mode}” has changed by {change:+.3f} ({low:+.3f} to {high:+.3f}): {verdict}.",
            first=day_of(late[0]), mode=MODES[best][0], change=change.value, low=change.low, high=change.high,
            verdict=verdict,
        )  # fmt: skip
    fig, ax = style.figure(height=3)
    for at, (mode, (name, colour, marker)) in enumerate(MODES.items()):
        each = [(place, intervals.mean(scores(run, mode))) for place, run in enumerate(late) if scores(run, mode)]
        if each:
            ax.errorbar(
                [place + 0.06 * (at - 1) for place, _ in each], [one.value for _, one in each],
                yerr=[[one.below for _, one in each], [one.above for _, one in each]],
                color=colour, marker=marker, capsize=3, elinewidth=0.9, label=name,
            )  # fmt: skip
    for place in range(1, len(late)):
        if (late[place].fingerprint, late[place].model) != (late[place - 1].fingerprint, late[place - 1].model):
            ax.axvline(place - 0.5, color=style.GREY, linestyle=":", linewidth=1.5)
    shown = range(0, len(late), max(1, math.ceil(len(late) / 8)))
    ax.set_xticks(shown, [f"{day_of(late[place]):%m-%d}" for place in shown])
    ax.set_xlim(-0.5, len(late) - 0.5)
    ax.set_ylim(-0.02, 1.02)
    ax.set_title(
        say.text("測るたびの MRR（点線：質問かモデルが変わった）", "MRR run by run (dotted: queries or model changed)")
    )
    axes.legend(ax)
    style.show(fig, say.text("MRR の推移", "MRR over time"))

# %%
if usable:
    say.heading("意味と語の重みは、いくつがよいですか？", "Which weight would be best?")
    swept = [each for each in newest.queries if each.sweep and len(each.sweep) == len(newest.alphas)]
    if not swept:
        say("重みを試した結果はありません。", "No weights were tried.")
    else:
        ranked = np.array([[intervals.reciprocal_rank(ranks) for ranks in each.sweep] for each in swept])
        curve = [intervals.mean(column) for column in ranked.T]
        top = max(range(len(curve)), key=lambda at: (curve[at].value, -abs(newest.alphas[at] - newest.alpha)))
        today_at = int(np.argmin(np.abs(np.array(newest.alphas) - newest.alpha)))
        gain = intervals.difference(ranked[:, top], ranked[:, today_at])
        if top == today_at:
            say(
                "今の {now:.1f} がいちばんよい重みです（MRR {mrr:.2f}）。",
                "The {now:.1f} that is set is the best weight (MRR {mrr:.2f}).",
                now=newest.alphas[today_at], mrr=curve[top].value,
            )  # fmt: skip
        elif gain.low > 0:
            say(
                "{best:.1f} が今の {now:.1f} より確かによく（差 {gain:+.3f}、{low:+.3f}〜{high:+.3f}）、"
                "<code>PKM_HYBRID_SEARCH_ALPHA={best:.1f}</code> を試す価値があります。"
                "同じ質問で選んだため、差は少し大きめに出ています。",
                "{best:.1f} is ahead of the {now:.1f} that is set ({gain:+.3f}, {low:+.3f} to {high:+.3f}): "
                "<code>PKM_HYBRID_SEARCH_ALPHA={best:.1f}</code> is worth a try. "
                "It was chosen on these very queries, which flatters it a little.",
                best=newest.alphas[top], now=newest.alpha, gain=gain.value, low=gain.low, high=gain.high,
            )  # fmt: skip
        else:
            say(
                "{best:.1f} がいちばん高いものの、今の {now:.1f} との差 {gain:+.3f}（{low:+.3f}〜{high:+.3f}）は"
                "偶然の範囲です。変える理由はありません。",
                "{best:.1f} is highest, but ahead of the {now:.1f} that is set by {gain:+.3f} only "
                "({low:+.3f} to {high:+.3f}), which may be chance: no reason to change it.",
                best=newest.alphas[top], now=newest.alpha, gain=gain.value, low=gain.low, high=gain.high,
            )  # fmt: skip
        fig, ax = style.figure(height=3.2)
        ax.fill_between(
            newest.alphas,
            [one.low for one in curve],
            [one.high for one in curve],
            color=style.BLUE,
            alpha=0.15,
            linewidth=0,
        )
        ax.plot(
            newest.alphas, [one.value for one in curve], color=style.BLUE, marker="o", label=say.text("すべて", "all")
        )
        for group, colour, marker in (
            ("ja", style.VERMILION, "s"),
            ("en", style.GREEN, "^"),
            ("across", style.PURPLE, "D"),
        ):
            of_group = ranked[[each.group == group for each in swept]]
            if len(of_group):
                ax.plot(
                    newest.alphas,
                    of_group.mean(axis=0),
                    color=colour,
                    marker=marker,
                    markersize=5,
                    linewidth=1,
                    label=GROUPS[group],
                )
        ax.axvline(newest.alpha, color=style.GREY, linestyle="--", linewidth=1.2)
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel(
            say.text(
                "意味の重み（0：語だけ、1：意味だけ、破線：今の設定）",
                "weight of meaning (0: words only, 1: meaning only; dashed: as set)",
            )
        )
        ax.set_ylabel("MRR")
        ax.set_title(say.text("重みごとの MRR（帯は全体の 95% 区間）", "MRR by weight (band: 95 % interval of all)"))
        axes.legend(ax)
        style.show(fig, say.text("重みごとの MRR", "MRR by weight of meaning"))

# %%
if usable:
    say.heading("どの質問に答えられませんでしたか？", "Which golden queries are not answered?")
    wanted = "hybrid" if "hybrid" in overall else best
    missed = [each for each in newest.queries if each.expected and each.ranks.get(wanted) == ()]
    known = asking.golden_words(newest) if has_texts else {}
    if not missed:
        say("すべての質問で、正解が 10 位までに入りました。", "The right note was among the first ten for every query.")
    else:
        say(
            "{n} 問では、正解が 10 位までにありませんでした。",
            "For {n:query/queries} the right note was not among the first ten.",
            n=len(missed),
        )
        rows = [{"id": each.id, "query": known.get(each.id), "group": GROUPS[each.group]} for each in missed]
        heads = {"id": "id", "query": say.text("質問", "query"), "group": say.text("種類", "kind")}
        display(tables.table(pd.DataFrame(rows), names=heads, most=20))
    for remark in newest.remarks:
        say("注：{what}", "Note: {what}", what=remark)
