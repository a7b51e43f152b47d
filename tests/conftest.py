"""What holds for every test: an empty environment and folder, no network, no process left behind, printed seeds."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from guard import children, offline

_OURS = ("NESCORD_", "CHROMADB_", "PKM_", "GEMINI_", "RAILWAY_", "DISCORD_")
_AWS = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION", "ENDPOINT_URL", "PROFILE")
_OURS_BY_NAME = ("DATABASE_URL", "CHROMA_URL", "PORT", *(f"AWS_{name}" for name in _AWS))
_SWITCH = "NESCORD_SOAK"
_IS_SOAK = os.environ.get(_SWITCH) == "1"

# Nothing is written beside the code: what failed is repeated by its seed and the printed blob.
hypothesis.settings.register_profile("small", max_examples=50, deadline=None, print_blob=True, database=None)
hypothesis.settings.register_profile("soak", hypothesis.settings.get_profile("small"), max_examples=2000)
hypothesis.settings.load_profile("soak" if _IS_SOAK else "small")

_home = tempfile.mkdtemp(prefix="nescord-hypothesis-")
hypothesis.configuration.set_hypothesis_home_dir(_home)

# No setting of whoever runs the tests counts; here, so that fixtures of any scope are free of them, too.
for _name in list(os.environ):
    if (_name.startswith(_OURS) and _name != _SWITCH) or _name in _OURS_BY_NAME:
        del os.environ[_name]

# A shell that starts the tests in its background lets them ignore Ctrl-C, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Loading the model takes a second, and a test of something else has no use for it: whoever wants it names it.
os.environ["NESCORD_EMBEDDER"] = "none"

_attempts = Path(tempfile.mkstemp(prefix="nescord-tests-", suffix=".offline")[1])
os.environ[offline.ATTEMPTS] = str(_attempts)
# Python processes that tests start are guarded, too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, (str(Path(__file__).parent / "guard"), os.environ.get("PYTHONPATH")))
)
offline.install()
children.adopt_orphans()


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--hypothesis-seed", None) is None:
        hypothesis.core.global_force_seed = random.SystemRandom().getrandbits(32)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, they would run alone at the end, while other processes idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure() -> None:
    _attempts.unlink(missing_ok=True)
    shutil.rmtree(_home, ignore_errors=True)


def _seed_line() -> str:
    profile = "soak" if _IS_SOAK else "small"
    return f"hypothesis: profile {profile}, repeat with --hypothesis-seed={hypothesis.core.global_force_seed}"


def pytest_report_header() -> str:
    return _seed_line()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.get_verbosity() < 0:  # -q shows no header
        terminalreporter.write_line(_seed_line())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The .env and data/state of the folder that the tests are started in do not count."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _stays_on_this_machine() -> Iterator[None]:
    seen = _attempts.stat().st_size
    yield
    new = _attempts.read_bytes()[seen:].decode("utf-8", "replace")
    if new:
        pytest.fail(f"the test, or a process that it started, reached for the network:\n{new}", pytrace=False)


@pytest.fixture(autouse=True)
def _leaves_no_process_behind() -> Iterator[None]:
    before = children.living()
    yield
    left = children.left_behind(before)
    if left:
        pytest.fail(f"the test left processes behind (killed now): {left}", pytrace=False)
