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
import networkx as nx
import numpy as np
from IPython.display import display

from nescord.reports import linking, nearness, reading, style, tables, texts, topics

# %% tags=["parameters"]
data_dir = ""  # the data folder; empty: the one that NESCORD_DATA_DIR names
language = "ja"  # of what is said: "ja" or "en"
generation = ""  # of the marts; empty: the newest
space = ""  # only notes of this space; empty: all

# %%
style.setup(language)
say = texts.Speaker(language)
con = reading.open_marts(data_dir, generation, space)
say.title("知識の地図", "Knowledge map")

# %%
notes = con.sql(
    # Marts without texts have no titles.
    "SELECT note_id, coalesce(title, right(note_id, 8)) AS title, lang, updated_at FROM notes "
    "WHERE trashed_at IS NULL ORDER BY note_id"
).df()
title = dict(zip(notes.note_id, notes.title, strict=True))
lang = dict(zip(notes.note_id, notes.lang, strict=True))
notes["changed"] = notes.updated_at.dt.tz_localize(None).dt.normalize()
means = nearness.note_means(con)
say(
    "{notes} 件のノートのうち {embedded} 件に、意味のベクトルがあります。",
    "Of {notes:note}, {embedded} have vectors of what they mean.",
    notes=len(notes),
    embedded=len(means),
)

# %%
say.heading("どんな話題がありますか？", "What is it about?")
found = topics.topic_map(means.vectors, [lang[note] for note in means.ids])
names, topic_of = [], {}
if found is None:
    say(
        "話題に分けるには、ベクトルのあるノートが {fewest} 件以上必要です。",
        "Topics need at least {fewest:note} with vectors.",
        fewest=topics.FEWEST,
    )
else:
    rows = {row for telling in topics.told_by(found) for row in telling}
    wanted = [means.ids[row] for row in sorted(rows)]
    bodies = dict(
        con.execute("SELECT note_id, text FROM notes WHERE note_id IN (SELECT unnest(?))", [wanted]).fetchall()
    )
    names = topics.topic_names(found, {row: bodies[means.ids[row]] for row in rows})
    topic_of = dict(zip(means.ids, found.topics.tolist(), strict=True))
    say(
        "ノートは {topics} 個の話題に分かれます。いちばん大きいのは「{first}」です。"
        "名前は、その話題に多く、ほかに少ない言葉です。",
        "The notes fall into {topics:topic}; the largest is “{first}”. Each is named by words "
        "that are in many of its notes and in few of the others.",
        topics=len(names),
        first=names[0],
    )

# %%
if found is not None:
    table = notes[notes.note_id.isin(means.ids)].assign(topic=lambda these: these.note_id.map(topic_of))
    by_topic = table.groupby("topic").agg(
        notes=("note_id", "size"), ja=("lang", lambda each: (each == "ja").mean()), newest=("changed", "max")
    )
    by_topic["name"] = names
    by_topic["number"] = np.arange(1, len(names) + 1)
    by_topic["ja"] = by_topic.ja.map("{:.0%}".format)
    by_topic["typical"] = [
        say.text("、", ", ").join(str(title[means.ids[row]]) for row in rows[:3]) for rows in found.nearest
    ]
    display(
        tables.table(
            by_topic,
            names={
                "number": say.text("番号", "no."),
                "name": say.text("話題", "topic"),
                "notes": say.text("ノート数", "notes"),
                "ja": say.text("日本語", "Japanese"),
                "newest": say.text("最後の更新", "last change"),
                "typical": say.text("代表的なノート", "typical notes"),
            },
        )
    )

# %%
if found is not None:
    say(
        "下の地図では、意味の近いノートが近くにあります。"
        "平面に残るのは違いの {kept:.0%} だけなので、おおまかな地図です。",
        "On the map below, notes that mean similar things lie close. A plane keeps only {kept:.0%} "
        "of how they differ: it is a rough map.",
        kept=found.kept,
    )
    fig, ax = style.figure(height=6)
    for topic, name in enumerate(names):
        here = found.places[found.topics == topic]
        ax.scatter(
            *here.T,
            s=float(np.clip(9000 / len(means), 6, 45)),
            color=style.PALETTE[topic % 6],
            marker=style.MARKERS[topic // 6],
            alpha=0.65,
            linewidths=0,
            label=style.shown(f"{topic + 1}  {name}", 36),
        )
    for topic, middle in enumerate(found.middles):
        box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": style.PALETTE[topic % 6]}
        ax.annotate(str(topic + 1), middle, ha="center", va="center", fontsize=10, bbox=box)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    fig.legend(loc="outside lower center", ncols=2, fontsize=9.5, markerscale=1.5)
    style.show(
        fig, say.text("話題ごとに色と印を分けた、ノートの地図", "A map of the notes, by topic in colour and mark")
    )

# %%
say.heading("どのようにつながっていますか？", "How does it hang together?")
graph = linking.link_graph(con)
parts = sorted((len(part) for part in nx.weakly_connected_components(graph) if len(part) > 1), reverse=True)
orphans = [note for note, degree in graph.degree if degree == 0]
if graph.number_of_edges():
    say(
        "{links} 本のつながりがあり、いちばん大きなまとまりはノートの {share:.0%} を含みます。"
        "ほかに {others} 個のまとまりがあり、{orphans} 件はどこともつながっていません。",
        "There are {links:connection}; the largest part holds {share:.0%} of the notes, "
        "there are {others:other part}, and {orphans:note is linked/notes are linked} with nothing.",
        links=graph.number_of_edges(),
        share=parts[0] / len(graph),
        others=len(parts) - 1,
        orphans=len(orphans),
    )
else:
    say("ノートどうしをつなぐリンクはまだありません。", "No link joins any two notes yet.")

# %%
hubs = sorted((note for note, degree in graph.in_degree if degree), key=lambda note: (-graph.in_degree(note), note))[
    :12
]
if hubs:
    drawn = linking.around_hubs(graph, hubs)
    places = linking.places(drawn)
    fig, ax = style.figure(height=6)
    x, y = np.array([places[note] for note in drawn]).T
    for one, other in drawn.edges:
        ax.plot(*zip(places[one], places[other], strict=True), color="#C4C4C4", linewidth=0.8, zorder=1)
    links_in = np.array([graph.in_degree(note) for note in drawn])
    is_hub = np.array([note in hubs for note in drawn])
    sizes = 25 + 375 * links_in / links_in.max()
    ax.scatter(x[~is_hub], y[~is_hub], s=sizes[~is_hub], color=style.SKY, zorder=2, label=say.text("ノート", "note"))
    ax.scatter(
        x[is_hub], y[is_hub], s=sizes[is_hub], color=style.ORANGE, marker="s", zorder=3, label=say.text("要", "hub")
    )
    for number, note in enumerate(hubs, 1):
        ax.annotate(str(number), places[note], xytext=(9, 6), textcoords="offset points", fontsize=11, zorder=4)
    ax.set_axis_off()
    ax.margins(0.08)
    fig.legend(loc="outside lower center", ncols=2)
    style.show(fig, say.text("要となるノートと、それにつながるノート", "The hubs and the notes linked with them"))

# %%
say.heading("要（ハブ）はどれですか？", "Which notes are hubs?")
if hubs:
    say(
        "いちばんは「{first}」で、{most} 件のノートからリンクがあります。番号は上の図と同じです。",
        "First of all “{first}”: {most:note links/notes link} to it. The numbers are those of the picture above.",
        first=title[hubs[0]],
        most=graph.in_degree(hubs[0]),
    )
    fig, ax = style.figure(height=0.8 + 0.3 * len(hubs))
    bars = ax.barh(
        [style.shown(title[note], 34) + "\u200b" * place for place, note in enumerate(hubs)], [0] * len(hubs)
    )
    ax.cla()
    bars = ax.barh(np.arange(len(hubs)), [graph.in_degree(note) for note in hubs], color=style.ORANGE)
    ax.bar_label(bars, padding=3)
    ax.set_yticks(np.arange(len(hubs)), [f"{style.shown(title[note], 34)}  {n}" for n, note in enumerate(hubs, 1)])
    ax.invert_yaxis()
    ax.set_xlabel(say.text("リンク元のノート数", "notes that link there"))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y", visible=False)
    style.show(fig, say.text("リンク元の多いノート", "The notes that most others link to"))
else:
    say("まだありません。", "None yet.")

# %%
say.heading("橋渡しをしているのは？", "Which notes are bridges?")
bridges = linking.bridges(graph, topic_of).head(10)
if len(bridges):
    bridges["title"] = bridges.note_id.map(title)
    bridges["crossed"] = bridges.crossed.map("{:.1%}".format)
    say("離れたノートを結ぶ道は、多くが次のノートを通ります。", "The ways between distant notes lead through these.")
    if holding := int(bridges.holds.sum()):
        say(
            "そのうち {n} 件は、ほかに道のない要所です。なくなると、つながっていたノートが離ればなれになります。",
            "{n} of them {are} the only way: without such a note, what hangs together falls apart.",
            n=holding,
            are="is" if holding == 1 else "are",
        )
    else:
        say(
            "どの 1 件がなくなっても、ほかの道が残るので、つながりは切れません。",
            "None of them is the only way: without any one of them, the others still hang together.",
        )
    display(
        tables.table(
            bridges,
            names={
                "title": say.text("題名", "title"),
                "crossed": say.text("通る道の割合", "of the ways"),
                "holds": say.text("ほかに道なし", "the only way"),
                "topics": say.text("結ぶ話題の数", "topics joined"),
            },
        )
    )
else:
    say("まだありません。", "None yet.")

# %%
say.heading("どこともつながっていないのは？", "Which notes are orphans?")
alone = notes[notes.note_id.isin(orphans)].sort_values(["updated_at", "note_id"], ascending=[False, True])
if len(alone):
    say(
        "{orphans} 件（{share:.0%}）です。新しいものから並べます。",
        "{orphans:note} ({share:.0%}), the newest first.",
        orphans=len(alone),
        share=len(alone) / len(notes),
    )
    names_of_columns = {"title": say.text("題名", "title"), "changed": say.text("最後の更新", "last change")}
    display(tables.table(alone, names=names_of_columns, most=10))
else:
    say("ありません。", "None.")

# %%
say.heading("どんなリンクを作るとよいですか？", "Which links are worth making?")
linked = linking.linked_cosines(graph, means)
# As near as linked notes usually are; without links, as near as the nearest quarter of neighbours.
nearest = nearness.nearest_cosines(means.vectors)
if len(linked) >= 5:
    limit = float(np.median(linked))
else:
    limit = float(np.quantile(nearest, 0.75)) if len(nearest) else 1.0
worth = linking.links_worth_making(graph, means, limit)
if len(worth):
    say(
        "つながっていないのに、意味の近い（{limit:.2f} 以上の）ノートが {pairs} 組あります。"
        "そのうち {joins} 組は、離れたまとまりを結びます。",
        "{pairs:pair is/pairs are} near in meaning (nearness {limit:.2f} or more) and not linked; "
        "{joins} of them would join parts that nothing connects.",
        pairs=len(worth),
        limit=limit,
        joins=int(worth.joins.sum()),
    )
else:
    say("見当たりません。", "None that show.")

# %%
if len(linked) >= 5:
    picks = np.random.default_rng(0).integers(0, len(means), (2, 5000))
    picks = picks[:, picks[0] != picks[1]]
    anyone = nearness.cosines(means.vectors, *picks)
    fig, ax = style.figure(height=3)
    edges = np.linspace(min(anyone.min(), linked.min()), 1, 40)
    for cosines, colour, name in (
        (anyone, style.BLUE, say.text("任意の 2 件", "any two notes")),
        (linked, style.ORANGE, say.text("つながった 2 件", "two linked notes")),
    ):
        weights = np.full(len(cosines), 1 / len(cosines))
        hatch = "//" if colour == style.ORANGE else None
        ax.hist(cosines, edges, weights=weights, color=colour, alpha=0.55, hatch=hatch, edgecolor="white", label=name)
    ax.axvline(
        limit, color=style.BLACK, linestyle="--", linewidth=1.2, label=say.text("提案の境目", "suggested from here")
    )
    ax.set_xlabel(say.text("意味の近さ（コサイン）", "nearness in meaning (cosine)"))
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend()
    style.show(fig, say.text("つながったノートと任意のノートの近さ", "How near linked notes are, and any two"))

# %%
if len(worth):
    best = worth.sort_values(["joins", "cosine"], ascending=False, kind="stable").head(20)
    best = best.assign(one=best["first"].map(title), other=best["second"].map(title))
    display(
        tables.table(
            best,
            names={
                "one": say.text("ノート", "note"),
                "other": say.text("つなぐとよいノート", "worth linking with"),
                "cosine": say.text("近さ", "nearness"),
                "joins": say.text("まとまりを結ぶ", "joins parts"),
            },
        )
    )
