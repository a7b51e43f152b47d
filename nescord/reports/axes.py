"""Axes that several notebooks draw on: days along the bottom, shares and durations in figures that a person reads."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_MOST_DAYS = 31
"""As bars of a day each; more become weeks."""
_YEAR, _FEW_DAYS = 300, 8
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

Step = Literal["day", "week"]


def step_of(first: date, last: date) -> Step:
    """What one bar stands for, from the first day to the last."""
    return "day" if (last - first).days < _MOST_DAYS else "week"


def filled(rows: pd.DataFrame, column: str, step: Step, until: date) -> pd.DataFrame:
    """`rows`, by day or by week (its Monday) in `column`, with a row of zeros for each one in which nothing was, up to
    that of `until`; its index are these days."""
    import pandas as pd

    dated = rows.assign(**{column: pd.to_datetime(rows[column])}).set_index(column).sort_index()
    end = until - timedelta(days=until.weekday()) if step == "week" else until
    first = dated.index.min() if len(dated) else pd.Timestamp(end)
    every = pd.date_range(first, max(pd.Timestamp(end), first), freq="7D" if step == "week" else "D")
    return dated.reindex(every, fill_value=0)


def days(ax: Axes, first: date, last: date) -> None:
    """Let the x axis show days, a few of them, in figures; call it when all is drawn."""
    from matplotlib.dates import AutoDateLocator, DateFormatter, DayLocator

    if last == first:  # a single day would get four years around it
        ax.set_xlim(first - timedelta(days=4), last + timedelta(days=4))  # type: ignore[arg-type]  # dates will do
    # Left to itself, it would say the same day several times.
    is_short = (last - first).days <= _FEW_DAYS
    # matplotlib.dates has no types
    locator = DayLocator() if is_short else AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    written = DateFormatter("%Y-%m" if (last - first).days > _YEAR else "%m-%d")  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(written)
    ax.grid(visible=False, axis="x")


def unit_of(most: float) -> tuple[float, str]:
    """What bytes up to `most` are best told in: how many bytes it is, and its name."""
    return next((unit for unit in _UNITS if most >= unit[0]), _UNITS[-1])


def size(number: float) -> str:
    """Bytes as they read: `1.4 GB`."""
    unit, name = unit_of(number)
    return f"{number / unit:,.1f} {name}"


def shares(axis: Axis) -> None:
    """Let an axis show 0..1 as per cent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))


def whole(axis: Axis) -> None:
    """Let an axis that counts show whole numbers only, with separators."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def logarithmic(ax: Axes, which: Literal["x", "y"]) -> None:
    """Let an axis rise by factors, with plain numbers at it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def legend(ax: Axes) -> None:
    """What each colour means, beside the plot, where it covers nothing."""
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
