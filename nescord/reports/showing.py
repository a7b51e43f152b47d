"""The one door through which a notebook shows HTML and pictures, without an import of Jupyter: the core has none.

A kernel gives every notebook a builtin `display`, and asks what it is to show how that looks.
"""

from __future__ import annotations

import base64
import builtins
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is shown as it is: whoever makes one has escaped what came from notes."""

    markup: str

    def _repr_html_(self) -> str:
        return self.markup


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG; `told` is what it shows, for who cannot see it."""

    png: bytes
    told: str

    def _repr_png_(self) -> tuple[str, dict[str, str]]:
        return base64.b64encode(self.png).decode("ascii"), {"alt": self.told}


def show(seen: Html | Picture) -> None:
    """Show it below the cell that runs; outside of a kernel there is nobody to show it to."""
    display = getattr(builtins, "display", None)
    if display is not None:
        display(seen)
