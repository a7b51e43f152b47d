"""The files that deploy, read: Dockerfile, railway.json, the graph of .railway/railway.py, compose.yaml."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def dockerfile() -> list[tuple[str, str]]:
    """Instruction and the rest of it, in order; continued lines are one, comments are gone."""
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    whole = "\n".join(lines).replace("\\\n", " ")
    found = (line.partition(" ") for line in whole.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, _, rest in found]


def arguments_of(instruction: str) -> list[str]:
    return [rest for name, rest in dockerfile() if name == instruction]


def image_environment() -> dict[str, str]:
    """What the last stage sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(arguments_of("ENV"))))


def railway_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "railway.json").read_text(encoding="utf-8"))
    return found


def railway_graph() -> list[dict[str, Any]]:
    """The resources that .railway/railway.py declares, as the command line of Railway would get them."""
    module = runpy.run_path(str(ROOT / ".railway" / "railway.py"))
    graph: dict[str, Any] = module["main"]().to_graph()
    resources: list[dict[str, Any]] = graph["resources"]
    return resources


def railway_resource(kind: str) -> dict[str, Any]:
    (found,) = [each for each in railway_graph() if each["type"] == kind]
    return found


def compose_service() -> dict[str, Any]:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = composed["services"]["nescord"]
    return found


def locked(name: str) -> dict[str, set[str]]:
    """Package -> versions of a lock file (several where they depend on the Python)."""
    packages: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE):
        packages.setdefault(package, set()).add(version)
    return packages
