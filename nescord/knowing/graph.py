"""The notes as a graph: who is linked to nobody, who to many, what hangs together, and how two notes are connected.

Links are resolved as they are read anywhere else, within the scope: a link into another space leads nowhere here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import apsw

from nescord.catalog import knowing as sql
from nescord.knowing import NoteRef
from nescord.notes import Scope

if TYPE_CHECKING:
    import networkx as nx

    Digraph: TypeAlias = nx.DiGraph

# A cluster of two is a link.
_SMALLEST_CLUSTER = 3
_SEED = 7


@dataclass(frozen=True, slots=True)
class Hub:
    """A note that many lead to: `links_in` and `links_out` count notes, not links."""

    note: NoteRef
    links_in: int
    links_out: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """Notes that are linked among each other more than with others, the most linked first."""

    size: int
    notes: tuple[NoteRef, ...]


@dataclass(frozen=True, slots=True)
class GraphReport:
    """Figures over all notes; lists hold the first `limit`. `parts` are the islands that links do not lead out of,
    single notes left aside; `wanted` are targets that no note has, with how many notes name them."""

    notes: int
    links: int
    orphan_count: int
    parts: int
    cluster_count: int
    dangling: int
    orphans: tuple[NoteRef, ...]
    hubs: tuple[Hub, ...]
    clusters: tuple[Cluster, ...]
    wanted: tuple[tuple[str, int], ...]


def figures(connection: apsw.Connection, scope: Scope, limit: int) -> GraphReport:
    """What the graph looks like."""
    import networkx as nx

    graph, wanted = _graph(connection, scope)
    known = {note.key: note for note in sql.notes(connection, scope)}
    degrees = dict(graph.degree())
    orphans = sorted((note for note in known.values() if not degrees[note.key]), key=lambda note: note.path)
    hubs = sorted((key for key in known if graph.in_degree(key)), key=lambda key: (-graph.in_degree(key), key))
    linked = graph.to_undirected()
    linked.remove_nodes_from([note.key for note in orphans])
    found = [group for group in nx.community.louvain_communities(linked, seed=_SEED) if len(group) >= _SMALLEST_CLUSTER]
    clusters = sorted((sorted(group, key=lambda key: (-degrees[key], key)) for group in found), key=_by_size)
    return GraphReport(
        notes=len(known),
        links=graph.number_of_edges(),
        orphan_count=len(orphans),
        parts=nx.number_connected_components(linked),
        cluster_count=len(clusters),
        dangling=sum(wanted.values()),
        orphans=tuple(NoteRef.of(note) for note in orphans[:limit]),
        hubs=tuple(
            Hub(NoteRef.of(known[key]), graph.in_degree(key), graph.out_degree(key)) for key in hubs[:limit]
        ),
        clusters=tuple(
            Cluster(len(group), tuple(NoteRef.of(known[key]) for key in group[:limit])) for group in clusters[:limit]
        ),
        wanted=tuple(sorted(wanted.items(), key=lambda one: (-one[1], one[0]))[:limit]),
    )  # fmt: skip


def path(connection: apsw.Connection, scope: Scope, start: str, goal: str) -> list[NoteRef]:
    """The fewest links from one note (id) to another, in whatever direction they lead; empty where there is no way."""
    import networkx as nx

    graph, _ = _graph(connection, scope)
    known = {note.key: note for note in sql.notes(connection, scope)}
    keys = {note.note_id: note.key for note in known.values()}
    if start not in keys or goal not in keys:  # in the trash
        return []
    try:
        way = nx.bidirectional_shortest_path(graph.to_undirected(as_view=True), keys[start], keys[goal])
    except nx.NetworkXNoPath:
        return []
    return [NoteRef.of(known[key]) for key in way]


def _graph(connection: apsw.Connection, scope: Scope) -> tuple[Digraph, Counter[str]]:
    """The notes with an edge for each note that another leads to; what links name that is no note, by notes."""
    import networkx as nx

    graph: Digraph = nx.DiGraph()
    graph.add_nodes_from(note.key for note in sql.notes(connection, scope))
    missing: set[tuple[int, str]] = set()
    for note, target, written, kind in sql.links(connection, scope):
        if target is None:
            if kind != "embed":  # a picture is no note that is missing
                missing.add((note, written))
        elif target != note:
            graph.add_edge(note, target)
    return graph, Counter(written for _, written in missing)


def _by_size(group: list[int]) -> tuple[int, int]:
    return -len(group), group[0]
