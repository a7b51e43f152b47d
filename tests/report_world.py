"""What the tests of reports share: toy notebooks, and a small knowledge base with a note that would do something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cli_runs import ingested

from nescord import KnowledgeManager, Settings

ADA = "user:4200000000000000001"
HOSTILE = "<img src=x onerror=\"document.title='run';alert(1)\">"
PARAMETERS = 'data_dir = ""\nlanguage = "ja"\ngeneration = ""\nspace = ""'
# Shows a plot, a table with every title of a note as it is, and the same as Markdown: the worst that one could write.
SHOWS = (
    "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()",
    "from pathlib import Path\nfrom IPython.display import HTML, Markdown, display\nfrom nescord import marts\n"
    'titles = marts.connect(Path(data_dir), generation=generation).sql("SELECT title FROM notes").fetchall()\n'
    'rows = "</td></tr><tr><td>".join(title for (title,) in titles)\n'
    'display(HTML("<table><tr><td>" + rows + "</td></tr></table>"))\n'
    'display(Markdown("\\n\\n".join(title for (title,) in titles)))',
    "print(language, space, generation, len(titles))",
)
FAILS = ("print('before')", "# why it fails\nraise ValueError('<b>no</b> rows')", "print('after')")


def write_notebook(folder: Path, name: str, cells: Sequence[str], *, heading: str = "") -> Path:
    """A notebook: its heading as Markdown, the cell with the parameters, then `cells`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        {"cell_type": "markdown", "id": "head", "metadata": {}, "source": f"# {heading or name}"},
        _code("parameters", PARAMETERS, ["parameters"]),
        *(_code(f"c{number}", source, []) for number, source in enumerate(cells)),
    ]
    path = folder / f"{name}.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": written, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def _code(name: str, source: str, tags: list[str]) -> dict[str, object]:
    cell = {"cell_type": "code", "id": name, "metadata": {"tags": tags}, "source": source}
    return {**cell, "outputs": [], "execution_count": None}


def settings_with(folder: Path, notebooks: Path, **others: object) -> Settings:
    """A knowledge base of six notes, one of them hostile and one Ada's, whose reports are made of `notebooks`."""
    settings = Settings(data_dir=ingested(folder), notebooks=notebooks, vector="exact", **others)
    with KnowledgeManager.open_existing(settings) as km:
        km.scoped({"personal"}).add_note("text", title=HOSTILE, space="personal")
        km.scoped({ADA}).add_note("what Ada wrote", title="Ada's", space=ADA, author=ADA)
    return settings
