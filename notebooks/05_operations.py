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
from datetime import timedelta

import numpy as np
import pandas as pd
from IPython.display import display

from nescord.reports import axes, forecasts, intervals, reading, style, tables, texts

# %% tags=["parameters"]
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all

# %%
style.setup(language)
say = texts.Speaker(language)
con = reading.open_marts(data_dir, generation, space)
say.title("運用", "Operations")
[(built_at, model, spaces)] = con.sql("SELECT built_at, model, spaces FROM mart").fetchall()
today = built_at.date()
is_narrowed = bool(space) or spaces is not None
if is_narrowed:
    say(
        "運用はスペースごとに分けられないので、スペースを限ったときは、断片のことだけを示します。",
        "Operations are not told apart by space: of some spaces alone, only what is left undone is shown.",
    )

# %%
if not is_narrowed:
    say.heading("フローはきちんと動いていますか？", "Do the flows run as they should?")
BAD = ("FAILED", "CRASHED")
SHOWN = 120  # days of single runs and findings in a plot: more would be one bar of marks
since = pd.Timestamp(built_at) - pd.Timedelta(days=SHOWN)
runs = con.sql(
    "SELECT flow, name, state, started, seconds, retries FROM events_flow WHERE started IS NOT NULL "
    "ORDER BY started, flow, name"
).df()
if is_narrowed:
    pass
elif runs.empty:
    say(
        "フローの実行記録はまだありません（Prefect サーバーに届かなかったか、まだ動いていません）。",
        "No run of a flow is on record yet: none was made, or the Prefect server could not be asked.",
    )
else:
    is_bad = runs["state"].isin(BAD)
    failed = intervals.share(int(is_bad.sum()), len(runs))
    say(
        "{first} から {n} 回動き、{bad} 回（{share:.1%}、95% 区間 {low:.1%}〜{high:.1%}）失敗しました。"
        "やり直しは合わせて {retries} 回です。",
        "Since {first} there were {n:run}, of which {bad} failed ({share:.1%}, 95 % interval {low:.1%} to {high:.1%}); "
        "{retries:retry/retries} in all.",
        first=runs["started"].iloc[0].date(), n=len(runs), bad=int(is_bad.sum()), share=failed.value, low=failed.low,
        high=failed.high, retries=int(runs["retries"].fillna(0).sum()),
    )  # fmt: skip
    failing = con.sql(
        """
        SELECT flow, min(started) AS since, count(*) AS times FROM events_flow AS run
        WHERE state IN ('FAILED', 'CRASHED') AND started > coalesce((SELECT max(started) FROM events_flow AS good
            WHERE good.flow = run.flow AND good.state = 'COMPLETED'), '-infinity'::TIMESTAMPTZ)
        GROUP BY flow ORDER BY since, flow
        """
    ).df()
    for each in failing.itertuples():
        say(
            "<strong>{flow} は {when} から成功していません（失敗 {n} 回）。</strong>",
            "<strong>{flow} has not gone well since it failed on {when} ({n:failure}).</strong>",
            flow=each.flow, when=each.since.date(), n=each.times,
        )  # fmt: skip
    if is_bad.any() and failing.empty:
        last = runs[is_bad].iloc[-1]
        say(
            "最後の失敗は {when} の {flow} でした。失敗したどのフローも、その後は成功しています。",
            "The last failure was {flow} on {when}; every flow that failed has gone well since.",
            when=last["started"].date(), flow=last["flow"],
        )  # fmt: skip
    flows = sorted(runs["flow"].unique(), reverse=True)
    fig, ax = style.figure(height=1.2 + 0.38 * len(flows))
    place = runs["flow"].map({flow: at for at, flow in enumerate(flows)})
    is_done = runs["state"] == "COMPLETED"
    is_late = runs["started"] >= since
    kinds = (
        (is_done, say.text("成功", "completed"), style.SKY, "o", 16),
        (~is_done & ~is_bad, say.text("その他", "other"), style.GREY, "s", 22),
        (is_bad, say.text("失敗", "failed"), style.VERMILION, "X", 70),
    )
    for which, label, colour, marker, size in kinds:
        which = which & is_late
        if which.any():
            ax.scatter(runs["started"][which], place[which], size, color=colour, marker=marker, label=label, zorder=3)
    ax.set_yticks(range(len(flows)), [style.shown(flow) for flow in flows])
    ax.set_ylim(-0.6, len(flows) - 0.4)
    axes.days(ax, max(since, runs["started"].min()).date(), today)
    axes.legend(ax)
    ax.set_title(say.text("実行した時と結果（最近 120 日）", "When they ran, and how it went (the last 120 days)"))
    style.show(fig, say.text("フローの実行と結果", "Runs of flows and how they ended"))

# %%
if not runs.empty:
    say.heading("どのフローに時間がかかりますか？", "Which flows take long?")
    timed = runs[is_done & (runs["seconds"] > 0)]
    by_flow = con.sql(
        """
        SELECT flow, count(*) AS runs, count(*) FILTER (WHERE state IN ('FAILED', 'CRASHED')) AS failed,
            coalesce(sum(retries), 0)::BIGINT AS retries,
            median(seconds) FILTER (WHERE state = 'COMPLETED') AS usual,
            max(seconds) FILTER (WHERE state = 'COMPLETED') AS longest, max(started) AS last
        FROM events_flow WHERE started IS NOT NULL GROUP BY flow ORDER BY usual DESC NULLS LAST, flow
        """
    ).df()
    if timed.empty:
        say("終わりまで動いたものがまだありません。", "None has come to its end yet.")
    else:
        top = by_flow.iloc[0]
        say(
            "いちばん長いのは {flow} で、ふだん {usual:,.0f} 秒、最長 {longest:,.0f} 秒でした。",
            "{flow} takes longest: {usual:,.0f} seconds as a rule, {longest:,.0f} at most.",
            flow=top["flow"], usual=top["usual"], longest=top["longest"],
        )  # fmt: skip
        for flow, rows in timed.groupby("flow"):
            recent = rows["started"] > rows["started"].max() - pd.Timedelta(days=14)
            late, early = rows["seconds"][recent], rows["seconds"][~recent]
            if min(len(late), len(early)) >= 7:
                now, then = intervals.quantile(late, 0.5), intervals.quantile(early, 0.5)
                if now.low > 1.2 * then.high:
                    say(
                        "{flow} は最近 2 週間で遅くなりました（{then:,.0f} 秒 → {now:,.0f} 秒）。",
                        "{flow} has become slower in the last two weeks ({then:,.0f} → {now:,.0f} seconds).",
                        flow=flow, then=then.value, now=now.value,
                    )  # fmt: skip
        fig, ax = style.figure(height=1.2 + 0.38 * timed["flow"].nunique())
        names = [flow for flow in flows if (timed["flow"] == flow).any()]
        parts = ax.boxplot(
            [timed.loc[timed["flow"] == flow, "seconds"] for flow in names], orientation="horizontal", widths=0.55,
            patch_artist=True, flierprops={"marker": "o", "markersize": 3, "markeredgecolor": style.BLUE},
            medianprops={"color": style.BLACK}, tick_labels=[style.shown(flow) for flow in names],
        )  # fmt: skip
        for box in parts["boxes"]:
            box.set(facecolor=style.SKY, edgecolor=style.BLUE)
        axes.logarithmic(ax, "x")
        ax.set_xlabel(say.text("秒（箱は半分の実行、線は中央値）", "seconds (box: half of the runs; line: median)"))
        style.show(fig, say.text("フローごとの所要時間", "How long each flow takes"))
    heads = {
        "flow": say.text("フロー", "flow"),
        "runs": say.text("回数", "runs"),
        "failed": say.text("失敗", "failed"),
        "retries": say.text("やり直し", "retries"),
        "usual": say.text("ふだん（秒）", "usually (s)"),
        "longest": say.text("最長（秒）", "longest (s)"),
        "last": say.text("最後", "last"),
    }
    display(tables.table(by_flow, names=heads))

# %%
say.heading("たまっている仕事はありますか？", "Is there work left undone?")
chunks, waiting = con.sql(
    "SELECT count(*), count(*) FILTER (WHERE text_hash NOT IN (SELECT text_hash FROM embeddings)) FROM chunks"
).fetchall()[0]
if model is None:
    say(
        "ベクトルはまだないので、{n} 個の断片は語だけで探せます。",
        "There are no vectors yet: {n:chunk is/chunks are} found by words only.",
        n=chunks,
    )
elif not waiting:
    say("{n} 個の断片すべてにベクトルがあります。", "All of the {n:chunk} have their vector.", n=chunks)
else:
    say(
        "{n} 個の断片のうち {waiting} 個（{share:.1%}）に、まだベクトルがありません"
        "（待っているか、モデルに断られました）。",
        "Of {n:chunk}, {waiting} ({share:.1%}) have no vector yet: they wait, or the model has refused them.",
        n=chunks, waiting=waiting, share=waiting / chunks,
    )  # fmt: skip
for check, ja, en in (
    ("database.pending", "ベクトルを待つ断片", "Chunks that wait for a vector"),
    ("database.behind", "Chroma への反映の遅れ", "What Chroma has not been told"),
):
    told = con.sql(
        "SELECT count(*), count(*) FILTER (WHERE status <> 'pass'), arg_max(value, happened_at) FROM "
        "verification_checks "
        f"WHERE name = '{check}'"
    ).fetchall()[0]
    if told[0]:
        say(
            "{what}：検証 {n} 回のうち {bad} 回で気になる量でした。いちばん新しい値は「{value}」です。",
            "{what}: too much in {bad} of {n:verification}; the newest says “{value}”.",
            what=say.text(ja, en), n=told[0], bad=told[1], value=told[2],
        )  # fmt: skip

# %%
if not is_narrowed:
    say.heading("バックアップは頼りになりますか？", "Can the backups be relied on?")
backups = con.sql(
    "SELECT id, created_at, status, bytes_added, bytes_total, drilled_at, drill_ok, off_site FROM backups ORDER BY id"
).df()
if is_narrowed:
    pass
elif backups.empty:
    say(
        "<strong>バックアップがありません。</strong><code>nescord backup create</code> で作れます。",
        "<strong>There is no backup.</strong> <code>nescord backup create</code> makes one.",
    )
else:
    newest = backups.iloc[-1]
    age = (pd.Timestamp(built_at) - newest["created_at"]) / pd.Timedelta(days=1)
    say(
        "{n} 世代あり、合わせて {size} です。いちばん新しいのは {when}（このレポートの {age:,.1f} 日前）でした。",
        "There {are} {n:backup}, {size} together; the newest is of {when}, {age:,.1f} days before this report.",
        n=len(backups), size=axes.size(backups["bytes_total"].max()), when=newest["created_at"].date(),
        age=max(0.0, age), are="is" if len(backups) == 1 else "are",
    )  # fmt: skip
    bad = backups[backups["status"] == "bad"]
    if len(bad):
        say(
            "<strong>{n} 世代は壊れています：{ids}</strong>",
            "<strong>{n:backup is/backups are} damaged: {ids}</strong>",
            n=len(bad), ids=", ".join(bad["id"].head(5)),
        )  # fmt: skip
    drilled = backups[backups["drilled_at"].notna()].sort_values("drilled_at")
    if drilled.empty:
        say(
            "復元の訓練はまだ一度もしていません（<code>nescord backup drill</code>）。",
            "None was ever restored on trial (<code>nescord backup drill</code>).",
        )
    else:
        last = drilled.iloc[-1]
        say(
            "復元の訓練は {n} 世代で行い、{good} 世代で成功しました。最後は {when}、{how}。",
            "{n:backup was/backups were} restored on trial, {good} with success; the last on {when}: {how}.",
            n=len(drilled), good=int((drilled["drill_ok"] == True).sum()), when=last["drilled_at"].date(),  # noqa: E712
            how=say.text("成功", "it went well") if last["drill_ok"] else say.text("失敗", "it failed"),
        )  # fmt: skip
    fig, ax = style.figure(height=3)
    unit, unit_name = axes.unit_of(backups["bytes_total"].max())
    ax.step(backups["created_at"], backups["bytes_total"] / unit, where="post", color=style.BLUE)
    for which, label, colour, marker in (
        (backups["drill_ok"].isna(), say.text("未訓練", "not tried"), style.GREY, "o"),
        (backups["drill_ok"] == True, say.text("訓練に成功", "restored on trial"), style.GREEN, "^"),  # noqa: E712
        (backups["drill_ok"] == False, say.text("訓練に失敗", "trial failed"), style.VERMILION, "X"),  # noqa: E712
    ):
        if which.any():
            ax.scatter(
                backups["created_at"][which], backups["bytes_total"][which] / unit, 45,
                color=colour, marker=marker, label=label, zorder=3,
            )  # fmt: skip
    ax.set_ylim(0, max(1e-3, 1.15 * backups["bytes_total"].max() / unit))
    ax.set_ylabel(unit_name)
    ax.set_title(say.text("バックアップ全体の大きさ", "Size of all backups"))
    # A few backups of one hour lie on one day of this axis, not on microseconds of it.
    first, final = backups["created_at"].min(), max(pd.Timestamp(built_at), backups["created_at"].max())
    ax.set_xlim(first - pd.Timedelta(hours=18), final + pd.Timedelta(hours=18))
    axes.days(ax, first.date(), final.date())
    axes.legend(ax)
    style.show(fig, say.text("バックアップの大きさと訓練", "Size of the backups, and trials"))

# %%
if not is_narrowed:
    say.heading("ディスクはいつまでもちますか？", "When will the disk be full?")
volume = con.sql(
    "SELECT happened_at, free_bytes, database_bytes FROM volume WHERE free_bytes IS NOT NULL "
    "AND happened_at >= (SELECT built_at FROM mart) - INTERVAL 90 DAY ORDER BY happened_at"
).df()
# A disk that was made larger, or emptied by hand, is another one: only what came after tells what comes.
steps = volume["free_bytes"].diff()
larger = volume.index[steps > 0.25 * volume["free_bytes"]]
if len(larger):
    say(
        "{when} に空きが {size} 増えています。見通しはその後の記録だけから立てます。",
        "On {when} there was room for {size} more: the forecast goes by what was seen since.",
        when=volume["happened_at"][larger[-1]].date(), size=axes.size(steps[larger[-1]]),
    )  # fmt: skip
    volume = volume.loc[larger[-1] :].reset_index(drop=True)
if is_narrowed:
    pass
elif volume.empty:
    say("空き容量の記録はありません。", "How full the disk is has not been recorded.")
else:
    days = (volume["happened_at"] - volume["happened_at"].iloc[-1]) / pd.Timedelta(days=1)
    free = float(volume["free_bytes"].iloc[-1])
    pace = forecasts.pace(days, volume["free_bytes"])
    if pace is None:
        say(
            "空きは {free} です。記録が {looks} 回・{days:.0f} 日分だけなので、まだ見通せません"
            "（7 日と 4 回から。記録は nescord verify が残します）。",
            "{free} are free. It was looked at {looks:time} over {days:.0f} days: too little for a forecast, which "
            "takes 7 days and 4 looks (nescord verify leaves them).",
            free=axes.size(free), looks=len(volume), days=abs(days.iloc[0]),
        )  # fmt: skip
    else:
        middle, soon, late = pace.months_until(free)
        a_month = -pace.a_day * forecasts.DAYS_A_MONTH
        if math.isinf(soon):
            say(
                "空きは {free} で、減っていません。",
                "{free} are free, and that does not shrink.",
                free=axes.size(free),
            )
        elif math.isinf(middle) or math.isinf(late):
            say(
                "空きは {free} です。減っているかどうかは、まだはっきりしません。減っているとしても、"
                "いっぱいになるのは早くて {soon}後です。",
                "{free} are free. Whether that shrinks is not clear; if it does, the disk is full in {soon} "
                "at the earliest.",
                free=axes.size(free), soon=say.span(soon),
            )  # fmt: skip
        else:
            ends = [say.span(soon), say.span(late)]
            span = ends[0] if ends[0] == ends[1] else say.text("{a}〜{b}", "{a} to {b}", a=ends[0], b=ends[1])
            say(
                "空きは {free}、ひと月に約 {loss} ずつ減っています。このままなら"
                "<strong>約 {middle}</strong>でいっぱいになります（95% の確かさで {range}）。"
                "この {days:.0f} 日が続くとしたときの話で、大きな取り込みや掃除があれば変わります。",
                "{free} are free, some {loss} less each month: <strong>full in about {middle}</strong> "
                "({range} with 95 % confidence), if it goes on like in these {days:.0f} days; "
                "a large import or a clean-up changes it.",
                free=axes.size(free), loss=axes.size(a_month), middle=say.span(middle), range=span,
                days=abs(days.iloc[0]),
            )  # fmt: skip
        fig, ax = style.figure(height=3)
        unit, unit_name = axes.unit_of(volume["free_bytes"].max())
        ax.plot(volume["happened_at"], volume["free_bytes"] / unit, color=style.BLUE, label=say.text("空き", "free"))
        ahead = min(730.0, max(-days.iloc[0], 1.1 * middle * forecasts.DAYS_A_MONTH if math.isfinite(middle) else 0.0))
        future = np.linspace(0, ahead, 60)
        dates = [built_at + timedelta(days=float(day)) for day in future]
        fan = [np.clip((free + speed * future) / unit, 0, None) for speed in (pace.low, pace.a_day, pace.high)]
        ax.fill_between(dates, fan[0], fan[2], color=style.ORANGE, alpha=0.25, linewidth=0)
        ax.plot(dates, fan[1], color=style.ORANGE, linestyle="--", label=say.text("見通し", "forecast"))
        ax.set_ylim(bottom=0)
        ax.set_ylabel(unit_name)
        axes.days(ax, volume["happened_at"].iloc[0].date(), dates[-1].date())
        axes.legend(ax)
        ax.set_title(say.text("空き容量と見通し（帯は 95% 区間）", "Free space and forecast (band: 95 % interval)"))
        style.show(fig, say.text("空き容量の推移と見通し", "Free space over time, and forecast"))

# %%
if not is_narrowed:
    say.heading("検証では何が見つかりましたか？", "What did verifications find?")
verified = con.sql(
    "SELECT happened_at, deep, ok, checks, warned, failed, seconds FROM verifications ORDER BY happened_at"
).df()
if is_narrowed:
    pass
elif verified.empty:
    say(
        "検証の記録はまだありません（<code>nescord verify</code>）。",
        "No verification is on record yet (<code>nescord verify</code>).",
    )
else:
    last, deep = verified.iloc[-1], verified[verified["deep"]]
    say(
        "{n} 回のうち {ok} 回で問題がありませんでした。最後は {when}：{checks} 項目中、注意 {warned}、失敗 "
        "{failed} です。",
        "{ok} of {n:verification} found nothing that failed. The last, on {when}: of {checks:check}, {warned} "
        "warned and "
        "{failed} failed.",
        n=len(verified), ok=int(verified["ok"].sum()), when=last["happened_at"].date(), checks=int(last["checks"]),
        warned=int(last["warned"]), failed=int(last["failed"]),
    )  # fmt: skip
    if deep.empty:
        say("深い検証はまだ一度もしていません。", "None of them was deep.")
    else:
        say(
            "深い検証は {when} が最後です。",
            "The last deep one was on {when}.",
            when=deep["happened_at"].iloc[-1].date(),
        )
    found = con.sql(
        "SELECT name, happened_at, status FROM verification_checks WHERE status IN ('warn', 'fail') ORDER BY "
        "happened_at, name"
    ).df()
    if found.empty:
        say("どの検証でも、すべての項目が合格しました。", "Every check has passed every time.")
    else:
        worst = found["name"].value_counts()
        names = sorted(worst.index, key=lambda name: (-worst[name], name))[:15][::-1]
        fig, ax = style.figure(height=1.3 + 0.32 * len(names))
        rows = found[found["name"].isin(names) & (found["happened_at"] >= since)]
        place = rows["name"].map({name: at for at, name in enumerate(names)})
        for status, label, colour, marker in (
            ("warn", say.text("注意", "warned"), style.ORANGE, "o"),
            ("fail", say.text("失敗", "failed"), style.VERMILION, "X"),
        ):
            which = rows["status"] == status
            if which.any():
                ax.scatter(
                    rows["happened_at"][which], place[which], 60, color=colour, marker=marker, label=label, zorder=3
                )
        ax.set_yticks(range(len(names)), [style.shown(name) for name in names])
        ax.set_ylim(-0.6, len(names) - 0.4)
        edge = pd.Timedelta(days=1)
        ax.set_xlim(max(since, verified["happened_at"].iloc[0]) - edge, verified["happened_at"].iloc[-1] + edge)
        axes.days(ax, max(since, verified["happened_at"].iloc[0]).date(), today)
        axes.legend(ax)
        ax.set_title(say.text("合格しなかった項目（最近 120 日）", "Checks that did not pass (the last 120 days)"))
        style.show(fig, say.text("検証で合格しなかった項目と時", "Checks that did not pass, and when"))
        times = found.groupby("name").agg(
            warned=("status", lambda each: int((each == "warn").sum())),
            failed=("status", lambda each: int((each == "fail").sum())),
            last=("happened_at", "max"),
        )  # fmt: skip
        times = times.reset_index().sort_values(["failed", "warned", "name"], ascending=[False, False, True])
        heads = {
            "name": say.text("項目", "check"),
            "warned": say.text("注意（回）", "warned"),
            "failed": say.text("失敗（回）", "failed"),
            "last": say.text("最後", "last time"),
        }
        display(tables.table(times, names=heads, most=15))
