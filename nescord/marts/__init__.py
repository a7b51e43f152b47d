"""Marts: the knowledge base as Parquet files, so that any further question is a line of SQL in DuckDB.

    marts.build(settings)          # a new generation under marts/ of the data folder
    marts.connect(settings)        # DuckDB with a view for each table (schema.py)

Building needs pyarrow and connecting duckdb, both of the extra `notebooks`; importing this needs neither. A name is
imported when it is first used: the child process (child.py) needs only few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nescord.marts.building import Built, build
    from nescord.marts.connecting import connect, connect_locked, current, vectors
    from nescord.marts.generations import Mart, ModelVectors
    from nescord.marts.schema import TABLES

__all__ = [
    "TABLES",
    "Built",
    "Mart",
    "ModelVectors",
    "build",
    "connect",
    "connect_locked",
    "current",
    "vectors",
]

_PLACES = {
    **dict.fromkeys(("Built", "build"), "building"),
    **dict.fromkeys(("connect", "connect_locked", "current", "vectors"), "connecting"),
    **dict.fromkeys(("Mart", "ModelVectors"), "generations"),
    "TABLES": "schema",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
