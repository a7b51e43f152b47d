"""What Discord's REST API says when it refuses: status, code and message, as a value that can be raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong in a body: where (keys and indexes), Discord's code for it, and its message."""

    path: tuple[str | int, ...]
    code: str
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'body'}: {self.message} ({self.code})"


@dataclass
class RefusalError(Exception):
    """An answer that is an error."""

    status: int
    code: int
    message: str
    violations: Sequence[Violation] = ()

    @property
    def body(self) -> JsonObject:
        body: JsonObject = {"message": self.message, "code": self.code}
        if self.violations:
            body["errors"] = _tree(self.violations)
        return body


def unauthorized() -> RefusalError:
    return RefusalError(401, 0, "401: Unauthorized")


def no_such_route() -> RefusalError:
    return RefusalError(404, 0, "404: Not Found")


def unknown_interaction() -> RefusalError:
    return RefusalError(404, 10062, "Unknown interaction")


def already_acknowledged() -> RefusalError:
    return RefusalError(400, 40060, "Interaction has already been acknowledged.")


def unknown_webhook() -> RefusalError:
    return RefusalError(404, 10015, "Unknown Webhook")


def invalid_webhook_token() -> RefusalError:
    return RefusalError(401, 50027, "Invalid Webhook Token")


def unknown(what: str) -> RefusalError:
    """`what`: channel, guild, message, user or member."""
    codes = {"channel": 10003, "guild": 10004, "member": 10007, "message": 10008, "user": 10013, "command": 10063}
    return RefusalError(404, codes[what], f"Unknown {what.title()}")


def missing_access() -> RefusalError:
    return RefusalError(403, 50001, "Missing Access")


def cannot_message_user() -> RefusalError:
    return RefusalError(403, 50007, "Cannot send messages to this user")


def missing_permissions() -> RefusalError:
    return RefusalError(403, 50013, "Missing Permissions")


def empty_message() -> RefusalError:
    return RefusalError(400, 50006, "Cannot send an empty message")


def invalid(violations: Sequence[Violation]) -> RefusalError:
    return RefusalError(400, 50035, "Invalid Form Body", violations)


def _tree(violations: Sequence[Violation]) -> JsonObject:
    root: JsonObject = {}
    for violation in violations:
        place = root
        for step in violation.path:
            place = place.setdefault(str(step), {})
        place.setdefault("_errors", []).append({"code": violation.code, "message": violation.message})
    return root
