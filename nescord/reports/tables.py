"""Tables of a DataFrame as HTML that does nothing: every cell and heading is escaped, whatever a note says.

`DataFrame.to_html` is not used: a cell with line breaks, invisible characters or a thousand words would make of a
table what its writer wants. pandas' Styler does not escape at all.
"""

from __future__ import annotations

import html
import math
import numbers
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from nescord.reports.showing import Html

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

_NOTHING = "–"


def table(rows: pd.DataFrame, *, names: Mapping[str, str] | None = None, most: int = 20, longest: int = 80) -> Html:
    """`rows` as an HTML table, to be the last expression of a cell or given to `display`.

    Args:
        rows: what to show, in its order; the index is left out.
        names: column → its heading; only these columns are shown, in this order. None: all, as they are named.
        most: rows shown; how many there are more stands below.
        longest: characters of a cell shown.
    """
    columns = names if names is not None else {str(name): str(name) for name in rows.columns}
    head = "".join(f"<th>{_escaped(name, longest)}</th>" for name in columns.values())
    body = "".join(
        f"<tr>{''.join(_cell(value, longest) for value in row)}</tr>"
        for row in rows.loc[:, list(columns)].head(most).itertuples(index=False, name=None)
    )
    left = len(rows) - most
    more = f"<p>… +{left:,}</p>" if left > 0 else ""
    return Html(
        '<div class="wide tex2jax_ignore" style="overflow-x: auto">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def _cell(value: Any, longest: int) -> str:
    text = _written(value)
    if text is None:
        return f"<td>{_NOTHING}</td>"
    if isinstance(value, str) or not (_is_number(value) or isinstance(value, date)):
        return f'<td style="text-align: left">{_escaped(text, longest)}</td>'
    return f'<td class="number" style="text-align: right">{html.escape(text)}</td>'


def _written(value: Any) -> str | None:
    """A value as it reads, or None where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("NaT", "<NA>"):
        return None
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "✓" if value else "✗"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}" if (value.hour, value.minute) != (0, 0) else f"{value:%Y-%m-%d}"
    if isinstance(value, date):
        return f"{value:%Y-%m-%d}"
    if _is_number(value):
        return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return ", ".join(map(str, value))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def _escaped(text: str, longest: int) -> str:
    line = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
    )
    line = " ".join(line.split())
    return html.escape(line if len(line) <= longest else line[: longest - 1] + "…")
