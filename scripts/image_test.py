"""Build the image, run it, stop it, kill it, run it again on the same volume, and measure: `make image-test`.

Why: the files that deploy are right when a container made of them keeps its notes. Needs: Docker with a daemon; or root
with buildah, podman, runc and mmdebstrap (packages of Debian), and the network. Not part of CI: it takes ten minutes
the first time. Without Docker, layers stay in the folder --store for the next run; remove it when you like.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from image_engine import Container, Engine, UnavailableError, find

STORE = Path("/var/tmp/nescord-image-test")
FULL, CORE = "nescord-test:full", "nescord-test:core"
NAME = "nescord-image-test"
VOLUME = f"{NAME}:/data"
# Decimal, as registries and platforms count.
LARGEST_FULL, LARGEST_CORE = 1.6e9, 1.1e9
LONGEST_STOP = 40.0
MOST_MEMORY_MB = 750
NOTE, WORDS = "plums dry under the roof", "plums roof"
TOKEN = "for-the-image-test"
SETTINGS = (f"NESCORD_STATUS_TOKEN={TOKEN}",)
ON_RAILWAY = ("RAILWAY_ENVIRONMENT_ID=test", "RAILWAY_DEPLOYMENT_ID=test")
# As compose.yaml has it.
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
# Memory is measured idle: until the first runs and comparisons are over.
SETTLING = 60.0

PACKAGES = """
import pathlib
def size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
(site,) = pathlib.Path("/opt/nescord/lib").glob("python3.*/site-packages")
print("; ".join(f"{each.name} {size(each) / 1e6:.0f}" for each in sorted(site.iterdir(), key=size, reverse=True)[:10]))
"""


class Figures:
    """A table of what was measured, written as it comes, and how much of it is not as promised."""

    def __init__(self) -> None:
        self.missed = 0
        sys.stdout.write("| figure | value |\n|---|---|\n")

    def row(self, name: str, value: object, *, is_right: bool = True) -> None:
        self.missed += not is_right
        sys.stdout.write(f"| {name} | {value}{'' if is_right else ' **NOT AS PROMISED**'} |\n")
        sys.stdout.flush()

    def stopped(self, container: Container) -> None:
        code, seconds = container.stop()
        self.row("exit code on TERM", code, is_right=code == 0)
        self.row("TERM to end, s", f"{seconds:.1f}", is_right=seconds <= LONGEST_STOP)


def build(engine: Engine, figures: Figures) -> None:
    for tag, reports, largest in ((FULL, 1, LARGEST_FULL), (CORE, 0, LARGEST_CORE)):
        engine.build(tag, reports)
        size = engine.size(tag)
        figures.row(f"image with REPORTS={reports}, GB", f"{size / 1e9:.2f}", is_right=size <= largest)
    figures.row("ten largest packages, MB", engine.once(FULL, "python", "-c", PACKAGES).strip())
    tools = engine.once(CORE, "sh", "-c", "git --version; ssh -V; tini --version; nescord --version")
    figures.row("tools", ", ".join(tools.split("\n")).strip(" ,"))


def keeps_notes(engine: Engine, figures: Figures) -> None:
    """Boot on an empty volume, capture, TERM; again, kill -9; again: the notes are there."""
    first = Container(engine, FULL, NAME, "--volume", VOLUME, *CONFINED, settings=SETTINGS)
    figures.row("boot on an empty volume to /healthz 200, s", f"{first.seconds_to('/healthz'):.1f}")
    first.exec("nescord", "capture", NOTE)
    figures.row("to every part ready, s", f"{first.seconds_to_all_ready():.1f}")
    figures.row("/metrics without and with the token", f"{first.status('/metrics')}, {first.status('/metrics', TOKEN)}")
    time.sleep(SETTLING)
    idle(first, figures)
    figures.stopped(first)
    said = first.logs()
    figures.row("errors in its log", said.count("ERROR"), is_right="ERROR" not in said)
    figures.row("the token in its log", said.count(TOKEN), is_right=TOKEN not in said)

    second = Container(engine, FULL, NAME, "--volume", VOLUME, settings=SETTINGS)
    figures.row("boot on the same volume, s", f"{second.seconds_to('/healthz'):.1f}")
    found(second, figures, "note after TERM", 1)
    second.exec("nescord", "capture", f"{NOTE}, too")
    second.kill()

    third = Container(engine, CORE, NAME, "--volume", VOLUME, settings=SETTINGS)
    figures.row("boot after kill -9, with REPORTS=0, s", f"{third.seconds_to('/healthz'):.1f}")
    found(third, figures, "notes after kill -9", 2)
    figures.row("nescord verify", third.exec("nescord", "verify").strip().split("\n")[-1])
    figures.stopped(third)


def found(container: Container, figures: Figures, name: str, expected: int) -> None:
    hits = len(json.loads(container.exec("nescord", "search", "--mode", "keyword", "--json", WORDS)))
    figures.row(name, hits, is_right=hits == expected)


def idle(container: Container, figures: Figures) -> None:
    before = {each.pid: each.cpu for each in container.processes()}
    time.sleep(SETTLING)
    processes = container.processes()
    spent = sum(each.cpu - before.get(each.pid, 0) for each in processes)
    figures.row("idle: share of one CPU", f"{spent / SETTLING:.3f}")
    for each in processes:
        figures.row(
            f"memory of {each.name} (uid {each.uid}), MB RSS / PSS", f"{each.rss / 1e3:.0f} / {each.pss / 1e3:.0f}"
        )
    total = sum(each.pss for each in processes) / 1e3
    figures.row("memory in all, MB PSS", f"{total:.0f}", is_right=total <= MOST_MEMORY_MB)


def drops_from_root(engine: Engine, figures: Figures, folder: Path) -> None:
    """As on Railway: a volume of root, started as root."""
    (folder / "lost+found").mkdir(parents=True, mode=0o700)
    settings = [*ON_RAILWAY, "RAILWAY_VOLUME_MOUNT_PATH=/data"]
    container = Container(engine, FULL, NAME, "--user", "0", "--volume", f"{folder}:/data", settings=settings)
    figures.row("boot as root on a volume of root, s", f"{container.seconds_to('/healthz'):.1f}")
    uids = {each.uid for each in container.processes() if each.pid != 1}
    figures.row("uid of all but tini", uids, is_right=uids == {10001})
    owners = {path.name: path.stat().st_uid for path in folder.iterdir()}
    figures.row("owners on the volume", owners, is_right=owners == {"lost+found": 0, "nescord": 10001})
    container.exec("nescord", "capture", NOTE, user="0")
    strangers = [str(path) for path in (folder / "nescord").rglob("*") if path.lstat().st_uid != 10001]
    figures.row("files of root after a capture by root", len(strangers), is_right=not strangers)
    figures.stopped(container)


def refuses_without_a_volume(engine: Engine, figures: Figures) -> None:
    container = Container(engine, FULL, NAME, settings=ON_RAILWAY)
    code = container.exit_code()
    said = container.logs().strip()
    figures.row("on Railway without a volume: exit code", code, is_right=code not in (0, 143))
    figures.row("it says", re.sub(r"\s+", " ", said)[-300:], is_right="volume" in said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=STORE, help="where images are kept without Docker")
    store: Path = parser.parse_args().store
    try:
        engine = find(store)
    except UnavailableError as reason:
        sys.stdout.write(f"image-test: skipped: {reason}\n")
        return 0
    figures = Figures()
    folder = store / "volume"
    shutil.rmtree(folder, ignore_errors=True)
    engine.remove("volume", "rm", "--force", NAME)
    try:
        build(engine, figures)
        keeps_notes(engine, figures)
        if os.geteuid() == 0:
            drops_from_root(engine, figures, folder)
        else:
            figures.row("on a volume of root", "skipped: only root can make one")
        refuses_without_a_volume(engine, figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        engine.remove("rm", "--force", NAME)
        engine.remove("volume", "rm", "--force", NAME)
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
