"""`nescord up`: the services of one machine or container, from an empty or inherited volume to an ordered end.

As `nescord services`, and fit to be alone: it waits for the container before it, begins a knowledge base where there is
none, refuses a place that keeps nothing, and shows how it is at one address.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

from nescord import durable, reserve
from nescord.deployment import become, check_platform, refuse_foreign
from nescord.errors import LockTimeoutError, UsageError
from nescord.gate import pass_gate
from nescord.home import DataFolder, warnings_for
from nescord.locks import LockName, Locks
from nescord.log_lines import OURS
from nescord.logs import Sink
from nescord.persistence.mounts import Mounts
from nescord.redaction import Redactor, secrets_of
from nescord.service_state import Finding
from nescord.services import Services, listen_everywhere
from nescord.serving import keep_running
from nescord.settings import Settings
from nescord.supervise import PATIENT, Policy, Say

# The platform gives an old container 60 s to end, and the file system may take a while to let go of its lock.
_LOCK_PATIENCE = 120.0
_NO_BOT = "no bot: DISCORD_TOKEN is not set"


class _ToldToStop(BaseException):
    """SIGTERM before the services are started."""


def up(
    settings: Settings,
    sink: Sink,
    *,
    port: int = 4200,
    with_ui: bool = True,
    serve: str = "flows.serve",
    web: str = "nescord.web",
    bot: str = "bot",
    policy: Policy = PATIENT,
    patience: float = _LOCK_PATIENCE,
) -> int:
    """Run everything until told to stop (0) or until a required service stays away (1).

    `sink` gets every line, ours under `OURS`, without secrets. `port` is where the Prefect server should be, `serve`
    and `web` are the modules that serve the flows and answer at PORT, `bot` the one that runs where there is a token,
    `patience` is for whoever runs here already.

    Raises:
        UsageError: it must not run here: the place keeps nothing, is somebody else's or cannot be written; or PORT is
            taken.
        LockTimeoutError: another one runs and does not end. NescordError: the verification failed.
    """
    redact = Redactor(secrets_of(settings))

    def say(message: str) -> None:
        sink(OURS, redact(message))

    try:
        with _ended_by_signals():
            folder = _place(settings, say)
            with _alone(folder, settings, say, patience):
                findings = _opened(folder, say, redact)
                if settings.discord_token is None:
                    bot = ""
                    say(_NO_BOT)
                with closing(listen_everywhere(settings.port)) as listener:
                    services = Services(
                        settings, folder, port=port, with_ui=with_ui, serve=serve, listener=listener, web=web, bot=bot
                    )
                    say(f"http: port {listener.getsockname()[1]}")
                    everything = Redactor([*secrets_of(settings), services.auth])
                    code = keep_running(
                        services, folder, say, policy=policy, findings=findings, redact=everything, sink=sink
                    )
                    return code or 0
    except _ToldToStop:
        say("stopped before the services were started")
        return 0


def _place(settings: Settings, say: Say) -> DataFolder:
    """The data folder, found fit and ours. Nothing is written before that."""
    folder = DataFolder.at(settings)
    check_platform(settings, folder, Mounts.read())
    refuse_foreign(folder)
    become(settings, folder.path, say)
    for warning in warnings_for(settings, folder):
        say(f"warning: {warning}")
    return folder


def _opened(folder: DataFolder, say: Say, redact: Redactor) -> Sequence[Finding]:
    """The knowledge base, verified, or begun."""
    if reserve.give_up(folder):
        say("the disk is full: the room that was put by is used to open the database")
    passed = pass_gate(folder, redact)
    if passed.is_new:
        say(f"new knowledge base at {folder.path}")
    for each in passed.findings:
        if each.status == "fail":
            say(f"degraded: {each.name}: {each.value} -> {each.mend}")
    return passed.findings


@contextmanager
def _alone(folder: DataFolder, settings: Settings, say: Say, patience: float) -> Iterator[None]:
    """Hold service.lock; an old container that still ends is waited for."""
    try:
        durable.make_folder(folder.run)
    except OSError as error:
        raise UsageError(f"the data folder {folder.path} cannot be made: {error.strerror}") from error
    locks = Locks(folder.run, timeout=settings.lock_timeout)
    with ExitStack() as held:
        try:
            held.enter_context(locks.exclusive(LockName.SERVICE, timeout=0))
        except LockTimeoutError:
            say(
                f"waiting up to {patience:g} s for the services that run here already: {locks.holder(LockName.SERVICE)}"
            )
            try:
                held.enter_context(locks.exclusive(LockName.SERVICE, timeout=patience))
            except LockTimeoutError:
                raise LockTimeoutError(
                    f"the services of {folder.path} run already, and have not ended within {patience:g} s: "
                    f"{locks.holder(LockName.SERVICE)}; stop them, then start again"
                ) from None
        yield


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Until the supervisor heeds them itself, a signal ends us in order: what we have begun is undone on the way."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)

    def end(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # once is enough
        raise _ToldToStop

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
