"""`nescord marts build` and `nescord sql`: the knowledge base as tables that any question can be asked of."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit, one_line, say, whole_text

if TYPE_CHECKING:
    import duckdb

# Of a vector that is shown to a person; scripts get all of it.
_MOST_SHOWN = 6
_BATCH = 1000


def build(
    context: typer.Context,
    no_texts: Annotated[
        bool, typer.Option("--no-texts", help="Leave out what people wrote: texts, titles, paths, queries.")
    ] = False,
    space: Annotated[
        list[str] | None, typer.Option("--space", metavar="SPACE", help="Only this space, such as guild:7; repeatable.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Export the knowledge base to Parquet files below marts/, for nescord sql and for notebooks."""
    from nescord import marts

    call = Call.of(context, data_dir, as_json)
    built = marts.build(call.settings(), texts=not no_texts, spaces=space or None)
    if call.as_json:
        emit({**asdict(built), "folder": str(built.folder)})
        return
    for remark in built.remarks:
        say(f"note: {remark}")
    notes, chunks = (f"{built.counts[name]:,} {name}" for name in ("notes", "chunks"))
    Screen().line(
        "built ", Part(built.generation, "bold"), f": {notes}, {chunks}, {built.bytes / 1e6:,.1f} MB, "
        f"{built.seconds:.1f} s"
    )  # fmt: skip


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT over the marts, as DuckDB has it.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a line of names.")] = False,
    generation: Annotated[
        str, typer.Option("--generation", metavar="ID", help="These marts, not the newest (see marts/).")
    ] = "",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Ask the marts a question in SQL. Nothing can be changed by it, and no other file read."""
    from nescord import marts
    from nescord.errors import UsageError

    call = Call.of(context, data_dir, as_json)
    if as_csv and call.as_json:
        raise UsageError("--csv and --json cannot be used together: one says how the output looks")
    with marts.connect_locked(call.settings(), query, generation=generation) as connection:
        names, rows = _answer(connection, query)
        if call.as_json:
            emit([dict(zip(names, map(_plain, row), strict=True)) for row in rows])
        elif as_csv:
            _print_csv(names, rows)
        else:
            Screen().table(names, [[_shown(value) for value in row] for row in rows])


def _answer(
    connection: duckdb.DuckDBPyConnection, query: str
) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:  # Any: what a query gives
    import duckdb

    from nescord.errors import UsageError

    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("the query must be one SELECT: nothing else is allowed here")
        relation = connection.sql(query)
    except duckdb.Error as error:
        raise UsageError(_told(error)) from None
    rows = _rows(relation)
    # The first rows are asked for here, so that what is wrong with the query is said before anything is printed.
    first = list(islice(rows, 1))
    return _distinct(relation.columns), chain(first, rows)


def _rows(relation: duckdb.DuckDBPyRelation) -> Iterator[Sequence[Any]]:
    import duckdb
    import pyarrow

    from nescord.errors import UsageError

    try:
        for batch in relation.to_arrow_reader(_BATCH):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except (duckdb.Error, pyarrow.ArrowException, OSError) as error:  # Arrow's stream has errors of its own
        raise UsageError(_told(error)) from None


def _distinct(columns: Sequence[str]) -> list[str]:
    """The names, later ones of the same name with a number: a JSON object has each key once."""
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _told(error: Exception) -> str:
    """What DuckDB says, in one line, without the query printed back."""
    return one_line(" ".join(str(error).partition("\n\nLINE ")[0].split()) or type(error).__name__)


def _plain(value: Any) -> Any:  # Any: what a query gives, and JSON
    """A value as JSON has it: moments as ISO text in the zone of the settings, bytes as hexadecimal digits."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if value % 1 else int(value)
    if hasattr(value, "nanoseconds"):  # an interval
        return _interval(value.months, value.days, value.nanoseconds)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return str(value)


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """`14 months 3 days 01:02:03`, without what is nothing."""
    parts = [f"{count} {unit}" for count, unit in ((months, "months"), (days, "days")) if count]
    if nanoseconds or not parts:
        minutes, seconds = divmod(abs(nanoseconds) / 1e9, 60)
        hours, minutes = divmod(int(minutes), 60)
        parts.append(f"{'-' if nanoseconds < 0 else ''}{hours:02d}:{minutes:02d}:{seconds:02.0f}")
    return " ".join(parts)


def _cell(value: Any) -> str:  # Any: what a query gives
    if value is None:
        return ""
    if isinstance(value, float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else str(plain)


def _shown(value: Any) -> str:  # Any: what a query gives
    if isinstance(value, list) and len(value) > _MOST_SHOWN and isinstance(value[0], float):
        return f"[{', '.join(f'{each:.4g}' for each in value[:_MOST_SHOWN])}, … {len(value)} numbers]"
    return _cell(value)


def _print_csv(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    # Somebody may look at it in a terminal, which must not obey a note.
    writer.writerows([whole_text(_cell(value)) for value in row] for row in rows)
