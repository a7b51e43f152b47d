"""Discord's REST interface, as far as a message needs it that is sent without the bot: by a flow, in its own process.

The bot token is in a header only, never in an address, an error or a log.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from nescord.errors import NescordError, RateLimitedError, ServiceUnavailableError, SettingsError

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr

API = "https://discord.com/api/v10"
_TIMEOUT, _CONNECT_TIMEOUT = 15.0, 5.0
# All waits of one request together: whoever calls has others to serve.
_LONGEST_WAIT = 20.0
_ATTEMPTS = 4
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class DiscordRefusedError(NescordError):
    """Discord does not do this one thing, and asking again is of no use: no such channel, no permission, closed DMs."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"Discord refused it ({status}, code {code})")
        self.status = status


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is in a channel."""

    id: str
    author: str
    content: str
    sent_at: datetime


class DiscordRest:
    """A client for one bot token. A context manager; nothing is asked before a method is called.

    Every method raises: DiscordRefusedError, see there. SettingsError: the token is refused. RateLimitedError: Discord
    wants a longer pause than is waited for here; nothing was done. ServiceUnavailableError: Discord does not answer:
    nobody knows whether it was done.
    """

    def __init__(self, token: SecretStr, base: str | None = None) -> None:
        import httpx

        url = base or API
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={
                "Authorization": f"Bot {token.get_secret_value()}",
                # Discord asks for a name that begins so.
                "User-Agent": "DiscordBot (NescordBot, 1)",
            },
            timeout=httpx.Timeout(_TIMEOUT, connect=_CONNECT_TIMEOUT),
            follow_redirects=False,
            # A proxy for the world outside must not be asked for this machine.
            trust_env=(urlsplit(url).hostname or "") not in _HERE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def me(self) -> str:
        """The id of the bot."""
        return str(self._asked("GET", "/users/@me")["id"])

    def direct_channel(self, user: str) -> str:
        """The id of the channel for direct messages with a person; the same one each time."""
        return str(self._asked("POST", "/users/@me/channels", {"recipient_id": user})["id"])

    def send(self, channel: str, content: str, nonce: str) -> Message:
        """Post a message that pings nobody. The same `nonce` (25 characters) twice within minutes is one message."""
        body = {"content": content, "allowed_mentions": {"parse": []}, "nonce": nonce, "enforce_nonce": True}
        return _message(self._asked("POST", f"/channels/{channel}/messages", body))

    def recent(self, channel: str, limit: int = 50) -> list[Message]:
        """The last messages of a channel, the newest first."""
        return [_message(each) for each in self._asked("GET", f"/channels/{channel}/messages?limit={limit}")]

    def _asked(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:  # Any: JSON
        import httpx

        left = _LONGEST_WAIT
        for _ in range(_ATTEMPTS):
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                raise ServiceUnavailableError(f"Discord does not answer ({type(error).__name__})") from error
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return _document(answer)
            wait = _wait_asked_for(answer)
            if wait > left:
                break
            left -= wait
            time.sleep(wait)
        raise RateLimitedError(f"Discord wants a pause of {wait:g} s: later", retry_after=wait)


def _document(answer: httpx.Response) -> Any:  # Any: JSON
    if answer.status_code >= 500:
        raise ServiceUnavailableError(f"Discord answered {answer.status_code}")
    try:
        document = answer.json()
    except ValueError as error:
        raise ServiceUnavailableError(f"Discord answered {answer.status_code} and no JSON: is it Discord?") from error
    if answer.is_success:
        return document
    if answer.status_code == 401:
        raise SettingsError("Discord refuses the bot token: set DISCORD_TOKEN to the one that the portal shows")
    code = document.get("code") if isinstance(document, dict) else None
    raise DiscordRefusedError(answer.status_code, code if isinstance(code, int) else 0)


def _message(document: Mapping[str, Any]) -> Message:
    try:
        sent_at = datetime.fromisoformat(str(document["timestamp"]))
        return Message(str(document["id"]), str(document["author"]["id"]), str(document["content"]), sent_at)
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceUnavailableError(f"Discord's answer is no message ({type(error).__name__})") from error


def _wait_asked_for(answer: httpx.Response) -> float:
    """Seconds, from Discord's body or the header; one where neither says it."""
    try:
        return max(0.0, float(answer.json()["retry_after"]))
    except (ValueError, KeyError, TypeError):
        pass
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
