"""The pages name what is there: settings, messages, links, make targets, tests; and the rooms keep their distance."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from nescord.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "sample" / "README.md"])
CODE = {room: sorted((ROOT / room).rglob("*.py")) for room in ("nescord", "flows", "bot", "benchmarks")}
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
LONGEST_FILE = 420

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    lines = read(ROOT / page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines if line.startswith("| ")]
    assert rows, f"{page} has no table below {heading}"
    return rows[1:]


def code_in(page: str) -> str:
    """What a page shows as code, in blocks and in spans."""
    text = read(ROOT / page)
    return "\n".join([*_FENCE.findall(text), *_SPAN.findall(_FENCE.sub("", text))])


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = _HEADING.findall(_FENCE.sub("", read(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}: relative import"
            yield node.module or ""


def words_of(picture: Path) -> list[str]:
    """The texts in an SVG; scores, times and sizes may differ from one run to the next."""
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", read(picture).replace("\xa0", " "))
    return [re.sub(r"\d+", "0", text) for text in texts]


def test_the_settings_table_names_every_setting_with_its_default() -> None:
    documented = {name.strip("`"): default.strip("`") for name, default, _ in table("docs/guide.md", "Settings")}
    assert documented == {
        str(field.validation_alias): "" if field.default is None else str(field.default)
        for field in Settings.model_fields.values()
    }


def test_every_message_to_look_up_is_one_that_the_program_prints() -> None:
    texts = [read(ROOT / "scripts" / "setup.sh")]
    for path in (*CODE["nescord"], *CODE["flows"], *CODE["bot"]):
        nodes = ast.walk(ast.parse(read(path)))
        texts += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    for message, *_ in table("docs/guide.md", "Troubleshooting"):
        found = re.match("`([^`]+)`", message)
        assert found, f"{message} is not shown as code"
        for part in filter(None, (part.strip() for part in found[1].split("…"))):
            assert any(part in text for text in texts), f"nothing prints {part!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_something(page: Path) -> None:
    for link in _LINK.findall(_SPAN.sub("", _FENCE.sub("", read(page)))):
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} in {name_of(page)}"
        assert target.is_relative_to(ROOT), f"{link} in {name_of(page)}"
        if anchor:
            assert anchor in anchors(target), f"{link} in {name_of(page)}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/architecture.md"])
def test_every_make_target_that_is_named_is_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", code_in(page), re.MULTILINE))
    assert named
    assert named <= targets


def test_contributing_explains_every_make_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read(ROOT / "Makefile"), re.MULTILINE)) - {"help"}
    assert targets <= set(re.findall(r"`make ([a-z-]+)", read(ROOT / "CONTRIBUTING.md")))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/architecture.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    rooms = "nescord|flows|tests|benchmarks|scripts|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w./-]*)`", read(ROOT / page)):
        assert (ROOT / path).exists(), f"{path} in {page}"


def test_every_promise_names_the_tests_that_prove_it() -> None:
    for promise, proof in table("README.md", "Promises"):
        assert re.search(r"`tests/(deploy/)?test_\w+\.py`", proof), promise


def test_no_page_tells_where_it_was_written() -> None:
    for page in (*PAGES, PICTURE):
        assert not re.search(r"/(root|tmp|work)/", read(page)), name_of(page)


def test_the_picture_asks_nobody_for_anything() -> None:
    assert not re.search(r"url\((?!#)|href=|@import|<script", read(PICTURE))


def test_the_picture_shows_what_the_commands_print(tmp_path: Path) -> None:
    drawn = tmp_path / "terminal.svg"
    script = ROOT / "scripts" / "terminal_picture.py"
    subprocess.run([sys.executable, script, "--output", drawn], check=True, timeout=120)
    shown = words_of(drawn)
    assert "nescord search 土用干し" in shown
    assert words_of(PICTURE) == shown, f"draw it anew: {name_of(script)}"
    assert re.search(r'textLength="97\.6"[^>]*>土用干し<', read(drawn)), "four wide characters are eight cells"


def test_the_core_imports_no_shell() -> None:
    for path in CODE["nescord"]:
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"prefect", "discord", "jupyter", "IPython", "flows", "bot", "benchmarks", "tests"}, path


def test_flows_know_the_core_and_nothing_of_the_bot() -> None:
    for path in CODE["flows"]:
        assert not {name.partition(".")[0] for name in imports(path)} & {"bot", "discord", "tests", "benchmarks"}, path


def test_the_bot_knows_the_core_and_nothing_of_flows_or_notebooks() -> None:
    for path in CODE["bot"]:
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"prefect", "flows", "jupyter", "IPython", "pandas", "duckdb", "tests", "benchmarks"}, path


def test_sqlite_is_reached_through_apsw_only() -> None:
    assert not [name_of(path) for path in (*CODE["nescord"], *CODE["bot"]) if "sqlite3" in imports(path)]


@pytest.mark.parametrize("room", CODE)
def test_no_file_is_longer_than_one_can_read(room: str) -> None:
    long = {name_of(path): lines for path in CODE[room] if (lines := read(path).count("\n")) > LONGEST_FILE}
    assert CODE[room]
    assert not long


def test_the_hooks_run_offline_with_the_tools_of_the_environment() -> None:
    config = read(ROOT / ".pre-commit-config.yaml")
    assert set(re.findall(r"repo: (.+)", config)) == {"local"}
    assert set(re.findall(r"language: (.+)", config)) == {"system"}
    assert re.findall(r"entry: \.venv/bin/(\w+)", config) == ["ruff", "ruff", "mypy"]
