"""Knowledge bases with marts for the tests of notebooks, and what a notebook shows of them.

`python tests/notebooks_world.py CASES NOTEBOOK…` runs the cells of notebooks for each of the cases in this very
process, without Jupyter: one start for all of them. Warnings are errors there.
"""

from __future__ import annotations

import builtins
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from cli_runs import in_process
from marts_world import settings_of, written

from nescord import KnowledgeManager, Settings, marts
from nescord.catalog import cards, queries, search_events

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
Case = tuple[Settings, str, str]
"""A knowledge base with marts, a language, and a space ("" for all)."""
SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "vault"
EVIL = '<img src=x onerror="document.title=1">'
HOSTILE = f"""# {EVIL} 💣 $x^2$ \u202e[click](javascript:alert(1))

<script>document.title=1</script> {EVIL} and $$ a {EVIL}. [[{EVIL}]] [[Home]]
"""


def empty(data: Path) -> Settings:
    """A knowledge base without a note, and its marts."""
    settings = settings_of(data)
    KnowledgeManager.open(settings).close()
    marts.build(settings)
    return settings


def of_one_note(data: Path) -> Settings:
    """With one note, which is hostile, without vectors; and its marts."""
    settings = settings_of(data)
    with KnowledgeManager.open(settings) as km:
        km.capture(HOSTILE)
    marts.build(settings)
    return settings


def lived_in(folder: Path) -> Settings:
    """The sample vault with a hostile note and a copy of one, with vectors, a file that cannot be read, and a few
    months of questions, searches and reviews; and its marts."""
    vault = folder / "vault"
    shutil.copytree(SAMPLE, vault)
    (vault / "hostile.md").write_text(HOSTILE, encoding="utf-8")
    original = next(vault.rglob("Sourdough.md"))
    (vault / "Sourdough copy.md").write_text(original.read_text(encoding="utf-8") + "\nOnce more.\n", encoding="utf-8")
    data = folder / "state"
    done = in_process("--data-dir", data, "ingest", vault, env={"NESCORD_EMBEDDER": "local"})
    assert done.code == 0, done.err
    settings = settings_of(data)
    ask(settings)
    marts.build(settings)
    return settings


def ask(settings: Settings) -> None:
    """What people asked in the last three months: some of it more than once, some without an answer."""
    asked = (
        ("sourdough", True),
        ("Sourdough?", True),
        ("Leo's allergies", True),
        ("解約金はいくら？", False),
        ("解約金はいくら", False),
        ("電気の解約金", False),
        ("How do I descale the kettle?", False),
        (f"{EVIL} kettle", False),
    )
    now = datetime.now(UTC).replace(microsecond=0)
    with written(settings) as connection:
        [(note_id,)] = connection.execute("SELECT id FROM note WHERE title = 'SQLite tips'").fetchall()
        for number, (text, is_answered) in enumerate(asked):
            at = (now - timedelta(days=10 * number)).isoformat()
            if number % 2:
                queries.note_question(connection, queries.Question(at, None, text, "extract", is_answered))
            else:
                event = search_events.SearchEvent(at, "user:1", None, text, "hybrid", 3 * is_answered, 12.5, ())
                search_events.note(connection, event)
            cards.note_review(connection, at, "user:1", note_id, 3)


def run_plainly(cases: Sequence[Case], names: Sequence[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """What each notebook shows (`{"html": …}`, `{"png": its size, "alt": …}`), case by case; one process for all."""
    told = json.dumps([(str(settings.data_dir), language, space) for settings, language, space in cases])
    done = subprocess.run(
        [sys.executable, __file__, told, *names], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    shown: dict[str, list[list[dict[str, Any]]]] = json.loads(done.stdout)
    return shown


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def markup(html: str) -> tuple[set[str], set[str]]:
    """The elements and the attributes that a browser would find in it."""
    seen = _Seen()
    seen.feed(html)
    seen.close()
    return seen.tags, seen.attributes


def _main() -> None:
    import IPython.display
    import jupytext

    from nescord.reports import showing

    warnings.simplefilter("error")
    # How DuckDB 2.0 makes a frame, which pandas 3.1 will not like for ever.
    warnings.filterwarnings("ignore", "The inplace keyword in DataFrame")
    here: list[dict[str, Any]] = []

    def keep(seen: Any) -> None:
        """In the place of the front end that there is none of here."""
        is_plot = isinstance(seen, showing.Picture)
        here.append({"png": len(seen.png), "alt": seen.told} if is_plot else {"html": seen.markup})

    builtins.display = IPython.display.display = keep  # type: ignore[attr-defined]
    shown: dict[str, list[list[dict[str, Any]]]] = {}
    for name in sys.argv[2:]:
        cells = jupytext.read(NOTEBOOKS / f"{name}.py", fmt="py:percent").cells
        for data_dir, language, space in json.loads(sys.argv[1]):
            variables: dict[str, Any] = {"__name__": "__main__"}
            for cell in cells:
                exec(compile(cell.source, name, "exec"), variables)
                if "parameters" in cell.metadata.get("tags", []):
                    variables |= {"data_dir": data_dir, "language": language, "space": space}
            shown.setdefault(name, []).append(list(here))
            here.clear()
    sys.stdout.write(json.dumps(shown))


if __name__ == "__main__":
    _main()
