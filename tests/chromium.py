"""Debian's chromium without a window, driven over a pipe in its own protocol: what a page does in a real browser.

No driver and no package is needed. It reaches nothing but files and this machine: every name is unknown to it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NONE = "no chromium is on this machine (Debian: apt-get install chromium)"
_PATIENCE = 60.0
# The browser reads its commands from descriptor 3 and answers to 4. Ours are far from these.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_FAR = 50
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe", "--hide-scrollbars"),
)


@dataclass
class Look:
    """What a page has done since it was opened."""

    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Tab:
    """One page at a time."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, answers
        self._rest, self._number = b"", 0
        self._session: str | None = None
        self._loaded = False
        self.look = Look()
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1400, settle: float = 0.3) -> Look:
        """Go there in a window of that width, and wait until all is loaded and has had time to do what it does."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.look, self._loaded = Look(), False
        self._call("Page.navigate", url=url)
        self.settle(settle)
        return self.look

    def settle(self, seconds: float = 0.3) -> None:
        """Wait until the page is loaded, and a while longer."""
        deadline = time.monotonic() + _PATIENCE
        while not self._loaded:
            self._take(self._read(deadline))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.evaluate("1")
            time.sleep(0.05)

    def click(self, script: str) -> None:
        """Click the element that a JavaScript expression names, and wait for the page that it leads to."""
        self.look, self._loaded = Look(), False
        self.evaluate(f"void ({script}).click()")
        self.settle()

    def evaluate(self, script: str) -> Any:  # Any: JSON
        """The value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> Path:
        """A picture of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def _send(self, method: str, parameters: dict[str, object]) -> int:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._number

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = self._send(method, parameters)
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._take(answer)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "chromium does not answer"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "chromium has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _take(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Page.javascriptDialogOpening":
                self.look.dialogs.append(told["message"])
                self._send("Page.handleJavaScriptDialog", {"accept": True})
            case "Runtime.exceptionThrown":
                self.look.errors.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.look.errors.append(str(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.look.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case "Network.requestWillBeSent" if not told["request"]["url"].startswith("data:"):
                self.look.requests.append(told["request"]["url"])


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Tab]:
    """A browser with one tab; its profile is made in `folder`, and nothing of it runs afterwards."""
    assert CHROMIUM is not None, NONE
    theirs, ours = os.pipe()
    answers, answered = os.pipe()
    high = [os.dup2(fd, fd + _FAR, inheritable=True) for fd in (theirs, answered)]
    command = [sys.executable, "-ISc", _LAUNCH, *map(str, high), CHROMIUM, *_OPTIONS]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={folder / 'profile'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=high,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder), "LANG": "C.UTF-8"},
        )
    for fd in (theirs, answered, *high):
        os.close(fd)
    try:
        yield Tab(ours, answers)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
        os.close(answers)
