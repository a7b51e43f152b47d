"""Whose the data folder is: root becomes its owner before anything is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
DROP = """
import json, os, sys
from pathlib import Path
from nescord.home import DataFolder, drop_privileges, locate
from nescord.settings import Settings
settings = Settings(data_dir=sys.argv[1])
drop_privileges(locate(settings))
DataFolder.create(settings, begin=lambda folder: None)
try:
    os.setuid(0)
    back = True
except PermissionError:
    back = False
ids = [*os.getresuid(), *os.getresgid()]
print(json.dumps({"ids": ids, "groups": os.getgroups(), "home": os.environ["HOME"], "back": back}))
"""


def dropped(folder: Path) -> dict[str, object]:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/root"}
    done = subprocess.run(
        [sys.executable, "-c", DROP, str(folder)], capture_output=True, encoding="utf-8", check=True, env=env
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """tmp_path, reachable for other users as well: pytest makes it for its own user."""
    base = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder != base and folder.is_relative_to(base):
            folder.chmod(0o755)
    return tmp_path


@only_root
def test_root_becomes_the_folders_owner_for_good_before_it_writes(open_path: Path) -> None:
    folder = open_path / "kb"
    folder.mkdir()
    os.chown(folder, 54321, 54322)
    answer = dropped(folder)
    assert answer == {"ids": [54321] * 3 + [54322] * 3, "groups": [54322], "home": str(folder), "back": False}
    made = [folder / "identity.json", folder / "run", folder / "run" / "catalog.lock"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(54321, 54322)}


@only_root
def test_root_stays_root_on_its_own_folder_and_on_one_that_is_not_there_yet(open_path: Path) -> None:
    for folder in (open_path, open_path / "new"):
        answer = dropped(folder)
        assert (answer["ids"], answer["home"]) == ([0] * 6, "/root")


def test_nobody_but_root_changes_anything(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from nescord.home import drop_privileges
if os.geteuid() == 0:
    os.chown(sys.argv[1], 54322, 54322)
    os.setresuid(54321, 54321, 54321)
before = os.getresuid(), os.getresgid(), os.environ["HOME"]
drop_privileges(Path(sys.argv[1]))
assert before == (os.getresuid(), os.getresgid(), os.environ["HOME"])
"""
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/root"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=env)
