"""How every plot of the notebooks looks: Japanese glyphs, colours that the colour-blind can tell apart, no mathematics.

Text in plots comes from notes. Matplotlib would read `$` in it as mathematics and fail, and draws an empty box for a
glyph that no font has; `setup` and `shown` see to both.
"""

from __future__ import annotations

import io
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from nescord.reports import showing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK, YELLOW = PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
    "#F0E442",
)
"""Okabe and Ito's eight (Color Universal Design, 2008), the ones that stand out on white first."""
GREY = "#8C8C8C"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""A second sign beside the colour, for print and for eyes that see few colours."""
RAMP = "cividis"
"""For amounts: rises evenly in brightness, the same to those who do not see red or green."""

_MISSING = "〓"  # what Japanese typesetters put where a glyph is missing
_FALLBACK = "DejaVu Sans"
_SPACES = re.compile(r"\s+")


def setup(language: str = "ja") -> None:
    """Set matplotlib's defaults for all figures made from now on.

    Args:
        language: "ja" or "en"; both draw with the same fonts, since titles of notes come in either.

    Raises:
        UsageError: another language.
    """
    import matplotlib as mpl
    import matplotlib_fontja  # type: ignore[import-untyped]
    from cycler import cycler

    from nescord.reports.texts import known_language

    known_language(language)
    matplotlib_fontja.japanize()
    mpl.rcParams.update(
        {
            "font.family": ["IPAexGothic", _FALLBACK],
            "text.parse_math": False,
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.formatter.use_mathtext": False,
            "font.size": 10.5,
            "grid.color": "#E3E3E3",
            "grid.linewidth": 0.8,
            "image.cmap": RAMP,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "svg.hashsalt": "nescord",
        }
    )


def figure(width: float = 9, height: float = 3.6) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches, that pyplot does not keep: what is not shown is not drawn."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def show(made: Figure, told: str) -> None:
    """Put a figure into the notebook as a PNG; `told` is what it shows, for who cannot see it."""
    drawn = io.BytesIO()
    # Without the version of matplotlib in it, so that the same marts give the same bytes.
    made.savefig(drawn, format="png", metadata={"Software": None})
    showing.show(showing.Picture(drawn.getvalue(), told))


def shown(text: object, most: int = 28) -> str:
    """`text` as a label of a plot: one line, at most `most` half-width columns, only glyphs that there are."""
    # A mark beside its letter, as in file names of a Mac, has no place of its own.
    line = unicodedata.normalize("NFC", _SPACES.sub(" ", "" if text is None else str(text)).strip())
    glyphs = _glyphs()
    drawn, width = [], 0
    for character in line:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Mn", "Me"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > most:
            drawn.append("…")
            break
        drawn.append(character if ord(character) in glyphs else _MISSING)
    return "".join(drawn)


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    import matplotlib_fontja
    from matplotlib.font_manager import findfont, get_font

    paths = (matplotlib_fontja.get_font_ttf_path(), findfont(_FALLBACK))
    return frozenset().union(*(get_font(path).get_charmap() for path in paths))
