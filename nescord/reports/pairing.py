"""Each notebook is committed twice: as `.py`, which people read and compare, and as `.ipynb`, which Jupyter opens.

`python -m nescord.reports.pairing` writes every `.ipynb` anew from its `.py`, without outputs and with cell ids that
stay; a test says when the two disagree. With Jupytext installed, Jupyter keeps the pair in step by itself.
"""

from __future__ import annotations

from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def twin(source: Path) -> str:
    """The `.ipynb` that belongs to the `.py` notebook `source`."""
    import jupytext  # type: ignore[import-untyped]
    import nbformat

    notebook = jupytext.read(source, fmt="py:percent")
    for position, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{position}"
    notebook.metadata["language_info"] = {"name": "python"}
    written: str = nbformat.writes(notebook, version=4)  # type: ignore[no-untyped-call]  # it has no types
    return written + "\n"


def main() -> None:
    for source in sorted(NOTEBOOKS.glob("[0-9]*.py")):
        source.with_suffix(".ipynb").write_text(twin(source), encoding="utf-8")


if __name__ == "__main__":
    main()
