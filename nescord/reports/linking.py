"""The notes as a graph, for the map of what is known: hubs, orphans, bridges, and links that are worth making.

The graph of whole marts; `nescord graph` asks the same of the live database for its lists (nescord/knowing/graph.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from nescord.reports.nearness import Floats, NoteMeans, cosines, near_pairs

if TYPE_CHECKING:
    import duckdb
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

SEED = 0
# Between so many notes shortest ways are drawn to see which notes they cross: of all, 8,000 notes would take minutes.
_STARTS = 200
_MOST_DRAWN = 70
# Notes nearer than this say the same: they are duplicates to merge, not two notes to link.
_SAME = 0.97


def link_graph(connection: duckdb.DuckDBPyConnection) -> nx.DiGraph:
    """The living notes, and an edge from each note to each that it links to."""
    graph = nx.DiGraph()
    living = "SELECT note_id FROM notes WHERE trashed_at IS NULL"
    graph.add_nodes_from(note for (note,) in connection.sql(f"{living} ORDER BY 1").fetchall())
    graph.add_edges_from(
        connection.sql(
            "SELECT DISTINCT from_note, to_note FROM links WHERE from_note <> to_note "
            f"AND from_note IN ({living}) AND to_note IN ({living}) ORDER BY ALL"
        ).fetchall()
    )
    return graph


def bridges(graph: nx.DiGraph, topics: Mapping[str, int]) -> pd.DataFrame:
    """Notes on the ways between other notes, the most crossed first.

    Columns: note_id; crossed, the share that leads through it of the shortest ways that there are between two others
    (estimated for large graphs); holds, whether what is linked falls apart without it: in a ring, nothing does;
    topics, how many there are among the notes linked with it.
    """
    import pandas as pd

    both_ways = graph.to_undirected()
    starts = min(_STARTS, len(both_ways))
    crossed = nx.betweenness_centrality(both_ways, k=starts, seed=SEED) if starts > 2 else {}
    # networkx counts all pairs of notes, also those that no way joins.
    pairs = (len(both_ways) - 1) * (len(both_ways) - 2) / 2
    size = {note: len(part) for part in nx.connected_components(both_ways) for note in part}
    ways = sum(part - 1 for part in size.values()) / 2
    holding = set(nx.articulation_points(both_ways))
    rows = [
        (
            note,
            min(1.0, share * pairs / (ways - (size[note] - 1))),
            note in holding,
            len({topics[other] for other in both_ways[note] if other in topics}),
        )
        for note, share in crossed.items()
        if share > 0
    ]
    rows.sort(key=lambda row: (-row[1], row[0]))
    return pd.DataFrame(rows, columns=["note_id", "crossed", "holds", "topics"])


def around_hubs(graph: nx.DiGraph, hubs: Iterable[str]) -> nx.Graph:
    """The hubs and notes linked with them, few enough to be drawn: the most linked of each hub's in turns."""
    both_ways = graph.to_undirected()
    drawn = dict.fromkeys(hubs)
    queues = [sorted(both_ways[hub], key=lambda note: (-both_ways.degree(note), note)) for hub in drawn]
    depth = 0
    while len(drawn) < _MOST_DRAWN and any(depth < len(queue) for queue in queues):
        for queue in queues:
            if depth < len(queue) and len(drawn) < _MOST_DRAWN:
                drawn[queue[depth]] = None
        depth += 1
    return both_ways.subgraph(drawn).copy()


def places(graph: nx.Graph) -> dict[str, tuple[float, float]]:
    """Where to draw each note of a small graph, so that steps between notes look alike; parts that nothing connects
    lie beside each other. The same graph is drawn the same."""
    steps = dict(nx.all_pairs_shortest_path_length(graph))
    apart = 2 + max((most for each in steps.values() for most in each.values()), default=0)
    distances = {one: {other: steps[one].get(other, apart) for other in graph} for one in graph}
    start = nx.circular_layout(graph)
    found: dict[str, tuple[float, float]] = nx.kamada_kawai_layout(graph, dist=distances, pos=start)
    return found


def linked_cosines(graph: nx.DiGraph, means: NoteMeans) -> Floats:
    """How near linked notes are: the cosine of every link whose ends both have vectors."""
    row = {note: position for position, note in enumerate(means.ids)}
    ends = [(row[one], row[other]) for one, other in graph.edges if one in row and other in row]
    if not ends:
        return np.zeros(0, np.float32)
    first, second = np.array(ends).T
    return cosines(means.vectors, first, second)


def links_worth_making(graph: nx.DiGraph, means: NoteMeans, at_least: float) -> pd.DataFrame:
    """Pairs of notes as near as `at_least` (cosine) that no link joins in either direction, the nearest first.

    Columns: first, second (ids), cosine, joins (whether they lie in parts of the graph that nothing connects yet).
    """
    import pandas as pd

    part = {note: number for number, notes in enumerate(nx.weakly_connected_components(graph)) for note in notes}
    pairs = near_pairs(means.vectors, at_least=at_least, neighbours=5)
    rows = []
    for one, other, cosine in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.cosine.tolist(), strict=True):
        first, second = means.ids[one], means.ids[other]
        if cosine < _SAME and not graph.has_edge(first, second) and not graph.has_edge(second, first):
            rows.append((first, second, cosine, part.get(first) != part.get(second)))
    return pd.DataFrame(rows, columns=["first", "second", "cosine", "joins"])
