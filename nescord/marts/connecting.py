"""DuckDB over one generation of marts: a view for each table.

One connection reads one generation, also when a newer one is built meanwhile. It lives as long as two builds after it:
then its files are gone, and who is connected connects anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord.home import DataFolder
from nescord.marts import generations
from nescord.marts.building import refuse_without_packages
from nescord.marts.generations import Mart
from nescord.marts.schema import TABLES
from nescord.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    from numpy.typing import NDArray


def current(where: Settings | Path | None = None) -> Mart | None:
    """The current generation of a knowledge base, told by its settings or its data folder; None where there is none."""
    return generations.current(_room(where))


def connect(
    where: Settings | Path | None = None, *, generation: str = "", timezone: str | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection, in memory, with a view for each table of `schema.TABLES`, for `embeddings` (those of the
    live model), `embeddings_<model8>` (those of each), `chunk_vectors`, and `mart` (one row: what it is).

    Moments are shown in `timezone`, unset that of the settings. Nothing is downloaded, whatever a query asks for.

    Raises:
        NoMartsError: there are none yet. UsageError: no such generation; duckdb is not installed.
    """
    mart = generations.chosen(_room(where), generation)
    return _opened(mart, timezone or _timezone(where))


def connect_locked(
    where: Settings | Path | None = None, query: str = "", *, generation: str = ""
) -> duckdb.DuckDBPyConnection:
    """As `connect`, for a query that somebody typed: no file can be read or written any more, no setting changed.

    The tables that the query names are in memory. (Were DuckDB allowed to read their files, it could write them, too,
    and a COPY may hide in a SELECT: `WITH x AS (COPY …) SELECT …`.) The others cannot be read.
    """
    mart = generations.chosen(_room(where), generation)
    connection = _opened(mart, _timezone(where), frozenset(re.findall(r"\w+", query.lower())))
    for setting in ("temp_directory = ''", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def vectors(connection: duckdb.DuckDBPyConnection) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ids of chunks that have a vector of the live model, in their order, and the matrix of the vectors (n × d)."""
    import numpy as np

    table = connection.sql("SELECT chunk_id, vector FROM chunk_vectors ORDER BY chunk_id").to_arrow_table()
    table = table.combine_chunks()
    column = table.column("vector")
    size = column.type.list_size
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    matrix = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    return table.column("chunk_id").to_numpy(), matrix.reshape(-1, size)


def _opened(mart: Mart, timezone: str, loaded: frozenset[str] = frozenset()) -> duckdb.DuckDBPyConnection:
    """With the tables of `loaded`, and what they are made from, in memory."""
    refuse_without_packages("duckdb")
    import duckdb

    off: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(":memory:", config=off)
    connection.execute(f"SET TimeZone = {_text(str(ZoneInfo(timezone)))}")
    live = mart.live
    if "chunk_vectors" in loaded:
        loaded |= {"chunks", "embeddings"}
    if "embeddings" in loaded and live:
        loaded |= {f"embeddings_{live.model8}"}

    def create(name: str, columns: str, file: Path) -> None:
        kind = "TABLE" if name in loaded else "VIEW"
        connection.execute(f"CREATE {kind} {name} AS SELECT {columns} FROM read_parquet({_text(file)})")

    for table in TABLES:
        create(table.name, "*", mart.file(table.name))
    for model in mart.models:
        columns = f"model, text_hash, vector::FLOAT[{model.dims}] AS vector"
        create(f"embeddings_{model.model8}", columns, mart.folder / model.file)
    none = "SELECT ''::VARCHAR AS model, ''::BLOB AS text_hash, NULL::FLOAT[1] AS vector WHERE false"
    connection.execute(f"CREATE VIEW embeddings AS {f'FROM embeddings_{live.model8}' if live else none}")
    connection.execute(
        "CREATE VIEW chunk_vectors AS SELECT chunk_id, note_id, ordinal, text_hash, vector "
        "FROM chunks JOIN embeddings USING (text_hash)"
    )
    spaces = "NULL" if mart.spaces is None else _list(mart.spaces)
    connection.execute(
        f"CREATE VIEW mart AS SELECT {_text(mart.generation)} AS generation, "
        f"{_text(mart.built_at)}::TIMESTAMPTZ AS built_at, {mart.schema} AS schema, {_text(mart.epoch)} AS epoch, "
        f"{mart.texts} AS texts, {spaces}::VARCHAR[] AS spaces, "
        f"{_text(live.key) if live else 'NULL'}::VARCHAR AS model, {live.dims if live else 'NULL'}::INTEGER AS dims"
    )
    return connection


def _room(where: Settings | Path | None) -> Path:
    if isinstance(where, Path):
        return where.resolve() / "marts"
    return DataFolder.at(where or Settings()).marts


def _timezone(where: Settings | Path | None) -> str:
    return where.timezone if isinstance(where, Settings) else Settings().timezone


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
