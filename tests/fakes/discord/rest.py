"""REST v10: the routes that a bot of ours may use; whatever else is asked for is recorded as a problem."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from tests.fakes.discord import checks, command_checks, refusals
from tests.fakes.discord.commands import Commands
from tests.fakes.discord.faults import Buckets, Faults, Room, Strike
from tests.fakes.discord.interactions import Interactions
from tests.fakes.discord.messages import Message
from tests.fakes.discord.people import DIRECT, GROUP, Channel
from tests.fakes.discord.recording import Problem, ProblemKind, Recorded, recorded
from tests.fakes.discord.refusals import RefusalError, Violation
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]
Answer = tuple[int, Any]
Handler = Callable[[Recorded, dict[str, str]], Answer]

PREFIX = "/api/v10"
_USER_AGENT = re.compile(r"DiscordBot \(.+\)")
_BY_TOKEN = ("/interactions/", "/webhooks/")


class Rest:
    """Answers requests, in the order: record, faults, limits, token, body, handler."""

    def __init__(
        self, world: World, commands: Commands, interactions: Interactions, faults: Faults, *, token: str
    ) -> None:
        self.world, self.commands, self.interactions, self.faults = world, commands, interactions, faults
        self.token = token
        self.gateway_url = ""
        self.buckets = Buckets()
        self.requests: list[Recorded] = []
        self.problems: list[Problem] = []

    def problem(self, kind: ProblemKind, text: str) -> None:
        self.problems.append(Problem(kind, text))

    def add_to(self, app: web.Application) -> None:
        """Routes by method, template, and what is checked of the body first."""
        none: Callable[[Recorded], list[Violation]] = lambda _: []  # noqa: E731
        message, edited = self._message_checked, self._edit_checked
        hook = "/webhooks/{application_id}/{token}"
        one = "/channels/{channel_id}/messages/{message_id}"
        many = "/applications/{application_id}/commands"
        for method, template, handler, check in (
            ("GET", "/users/@me", self._me, none),
            ("GET", "/oauth2/applications/@me", self._application, none),
            ("GET", "/applications/@me", self._application, none),
            ("GET", "/gateway", self._gateway, none),
            ("GET", "/gateway/bot", self._gateway, none),
            ("GET", many, self._commands, none),
            ("PUT", many, self._replace_commands, lambda r: command_checks.of_commands(r.body or [])),
            ("POST", many, self._add_command, lambda r: command_checks.of_command(r.body)),
            ("DELETE", f"{many}/{{command_id}}", self._remove_command, none),
            ("POST", "/interactions/{interaction_id}/{token}/callback", self._callback, self._callback_checked),
            ("POST", hook, self._follow_up, message),
            ("GET", f"{hook}/messages/{{message_id}}", self._reply, none),
            ("PATCH", f"{hook}/messages/{{message_id}}", self._edit_reply, edited),
            ("DELETE", f"{hook}/messages/{{message_id}}", self._delete_reply, none),
            ("POST", "/users/@me/channels", self._open_direct, none),
            ("GET", "/users/{user_id}", self._user, none),
            ("GET", "/guilds/{guild_id}", self._guild, none),
            ("GET", "/guilds/{guild_id}/channels", self._guild_channels, none),
            ("GET", "/guilds/{guild_id}/members/{user_id}", self._member, none),
            ("GET", "/channels/{channel_id}", self._channel, none),
            ("POST", "/channels/{channel_id}/typing", self._typing, none),
            ("GET", "/channels/{channel_id}/messages", self._history, none),
            ("POST", "/channels/{channel_id}/messages", self._send, message),
            ("GET", one, self._read, none),
            ("PATCH", one, self._edit, edited),
            ("DELETE", one, self._delete, none),
        ):
            app.router.add_route(method, PREFIX + template, self._wrapped(handler, check))
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", self._download)
        app.router.add_route("*", "/{path:.*}", self._wrapped(self._unknown, none))

    def _wrapped(
        self, handler: Handler, check: Callable[[Recorded], list[Violation]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                record = await recorded(request)
            except ValueError:
                self.problem("invalid", f"{request.method} {request.path}: the body is no JSON")
                return _json({"message": "The request body contains invalid JSON.", "code": 50109}, status=400)
            self.requests.append(record)
            if self.faults.latency:
                await asyncio.sleep(self.faults.latency)
            strike = self.faults.strike(record.route)
            if strike is not None and strike.kind == "hold":
                await asyncio.sleep(strike.seconds)
            elif strike is not None and strike.kind != "lost":
                return self._struck(request, record, strike)
            room = self.buckets.take(record.route, _major(request.match_info))
            if room is not None and room.is_over:
                return self._limited(record, room.reset_after, room=room)
            response = self._answered(record, handler, check, dict(request.match_info))
            if room is not None:
                response.headers.update(room.headers)
            self.world.changes.tell()
            if strike is not None and strike.kind == "lost" and request.transport is not None:
                request.transport.abort()
            return response

        return answer

    def _answered(
        self,
        record: Recorded,
        handler: Handler,
        check: Callable[[Recorded], list[Violation]],
        names: dict[str, str],
    ) -> web.Response:
        try:
            self._admit(record)
            if violations := check(record):
                raise refusals.invalid(violations)
            record.status, body = handler(record, names)
            record.answer = body
        except RefusalError as refusal:
            record.status = refusal.status
            self._complain(record, refusal)
            return _json(refusal.body, status=refusal.status)
        if body is None:
            return web.Response(status=record.status)
        return _json(body, status=record.status)

    def _admit(self, record: Recorded) -> None:
        if record.template.startswith(_BY_TOKEN) or not record.path.startswith(PREFIX):
            return
        if record.headers.get("Authorization") != f"Bot {self.token}" or self.faults.is_token_refused:
            raise refusals.unauthorized()
        if not _USER_AGENT.match(record.headers.get("User-Agent", "")):
            self.problem("invalid", f"{record.route}: no User-Agent of the form DiscordBot (url, version)")

    def _complain(self, record: Recorded, refusal: RefusalError) -> None:
        kinds: dict[int, ProblemKind] = {10062: "late", 40060: "double", 50035: "invalid"}
        kind = kinds.get(refusal.code, "refused")
        if refusal.status == 404 and refusal.code == 0:
            kind = "unknown-route"
        if refusal.status == 401 and self.faults.is_token_refused:
            return
        why = "; ".join(map(str, refusal.violations)) or refusal.message
        self.problem(kind, f"{record}: {why} ({refusal.code})")

    def _struck(self, request: web.Request, record: Recorded, strike: Strike) -> web.StreamResponse:
        if strike.kind == "limit":
            return self._limited(record, strike.seconds, strike=strike)
        if strike.kind == "reset":
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        record.status = strike.status
        return _json({"message": f"{strike.status}: Internal Server Error", "code": 0}, status=strike.status)

    def _limited(
        self, record: Recorded, seconds: float, *, strike: Strike | None = None, room: Room | None = None
    ) -> web.Response:
        record.status = 429
        if strike is not None and strike.by_cloudflare:
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": "1"})
        is_global = strike is not None and strike.is_global
        headers = {"Via": "1.1 google", "Retry-After": f"{max(1, round(seconds))}", **(room.headers if room else {})}
        headers |= {"X-RateLimit-Global": "true"} if is_global else {"X-RateLimit-Scope": "user"}
        body = {"message": "You are being rate limited.", "retry_after": seconds, "global": is_global}
        return _json(body, status=429, headers=headers)

    # What is looked at before a handler sees it.

    def _message_checked(self, record: Recorded) -> list[Violation]:
        return checks.of_message(record.body or {}, has_files=bool(record.files))

    def _edit_checked(self, record: Recorded) -> list[Violation]:
        return checks.of_message(record.body or {}, is_new=False, has_files=bool(record.files))

    def _callback_checked(self, record: Recorded) -> list[Violation]:
        return checks.of_callback(record.body or {}, has_files=bool(record.files))

    # Handlers.

    def _unknown(self, record: Recorded, _: dict[str, str]) -> Answer:
        record.template = record.path.removeprefix(PREFIX)
        raise refusals.no_such_route()

    def _me(self, *_: object) -> Answer:
        extra = {"verified": True, "mfa_enabled": True, "flags": 0, "locale": "en-US", "email": None}
        return 200, self.world.bot.payload() | extra

    def _application(self, *_: object) -> Answer:
        bot = self.world.bot
        return 200, {
            "id": str(bot.id),
            "name": bot.name,
            "icon": None,
            "description": "A second brain.",
            "rpc_origins": [],
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": 0,
            "flags_new": "0",
            "summary": "",
            "type": None,
            "hook": True,
            "is_monetized": False,
            "is_verified": False,
            "is_discoverable": False,
            "owner": {**bot.payload(), "id": "1", "username": "owner", "bot": False},
            "team": None,
            "bot": bot.payload(),
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "approximate_guild_count": len(self.world.guilds),
            "approximate_user_install_count": len(self.world.users),
            "approximate_user_authorization_count": 0,
            "explicit_content_filter": 0,
            "eligible_oauth2_scopes": ["bot", "applications.commands"],
            "integration_types_config": {"0": {}, "1": {}},
        }

    def _gateway(self, record: Recorded, _: dict[str, str]) -> Answer:
        start = {"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 1}
        whole = {"url": self.gateway_url, "shards": 1, "session_start_limit": start}
        return 200, whole if record.template.endswith("bot") else {"url": self.gateway_url}

    def _commands(self, *_: object) -> Answer:
        return 200, list(self.commands.registered.values())

    def _replace_commands(self, record: Recorded, _: dict[str, str]) -> Answer:
        return 200, self.commands.replace(record.body or [])

    def _add_command(self, record: Recorded, _: dict[str, str]) -> Answer:
        return 201, self.commands.add(record.body)

    def _remove_command(self, _: Recorded, names: dict[str, str]) -> Answer:
        self.commands.remove(names["command_id"])
        return 204, None

    def _callback(self, record: Recorded, names: dict[str, str]) -> Answer:
        number = int(names["interaction_id"]) if names["interaction_id"].isdigit() else 0
        answer = self.interactions.acknowledge(number, names["token"], record.body or {}, record.files)
        return (200, answer) if record.query.get("with_response") in ("1", "true") else (204, None)

    def _follow_up(self, record: Recorded, names: dict[str, str]) -> Answer:
        call = self.interactions.call_of(int(names["application_id"]), names["token"])
        return 200, self.interactions.follow_up(call, record.body or {}, record.files).payload()

    def _reply(self, _: Recorded, names: dict[str, str]) -> Answer:
        call = self.interactions.call_of(int(names["application_id"]), names["token"])
        return 200, self.interactions.find(call, names["message_id"]).payload()

    def _edit_reply(self, record: Recorded, names: dict[str, str]) -> Answer:
        call = self.interactions.call_of(int(names["application_id"]), names["token"])
        message = self.interactions.find(call, names["message_id"])
        return 200, self.interactions.edit(call, message, record.body or {}, record.files).payload()

    def _delete_reply(self, _: Recorded, names: dict[str, str]) -> Answer:
        call = self.interactions.call_of(int(names["application_id"]), names["token"])
        self.interactions.delete(self.interactions.find(call, names["message_id"]))
        return 204, None

    def _open_direct(self, record: Recorded, _: dict[str, str]) -> Answer:
        user = self.world.users.get(int((record.body or {}).get("recipient_id") or 0))
        if user is None:
            message = "Value is not the id of a user that this app can see."
            raise refusals.invalid([Violation(("recipient_id",), "INVALID_RECIPIENT", message)])
        return 200, self.world.direct(user).payload()

    def _user(self, _: Recorded, names: dict[str, str]) -> Answer:
        user = self.world.users.get(_number(names["user_id"]))
        if user is None:
            raise refusals.unknown("user")
        return 200, user.payload()

    def _guild(self, _: Recorded, names: dict[str, str]) -> Answer:
        guild = self.world.guilds.get(_number(names["guild_id"]))
        if guild is None or not guild.has_bot:
            raise refusals.unknown("guild")
        return 200, guild.payload()

    def _guild_channels(self, _: Recorded, names: dict[str, str]) -> Answer:
        return 200, self._guild(_, names)[1]["channels"]

    def _member(self, _: Recorded, names: dict[str, str]) -> Answer:
        guild = self.world.guilds.get(_number(names["guild_id"]))
        if guild is None or not guild.has_bot:
            raise refusals.missing_access()
        member = guild.members.get(_number(names["user_id"]))
        if member is None:
            raise refusals.unknown("member")
        return 200, member.payload()

    def _place(self, names: dict[str, str]) -> Channel:
        """The channel, if the bot has access to it."""
        channel = self.world.channels.get(_number(names["channel_id"]))
        if channel is None:
            raise refusals.unknown("channel")
        if channel.type == GROUP or (channel.guild is not None and not channel.guild.has_bot):
            raise refusals.missing_access()
        return channel

    def _channel(self, _: Recorded, names: dict[str, str]) -> Answer:
        return 200, self._place(names).payload()

    def _typing(self, _: Recorded, names: dict[str, str]) -> Answer:
        self._place(names)
        return 204, None

    def _history(self, record: Recorded, names: dict[str, str]) -> Answer:
        found = self.world.visible(self._place(names))[::-1]
        if before := record.query.get("before"):
            found = [message for message in found if message.id < int(before)]
        limit = int(record.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise refusals.invalid([Violation(("limit",), "NUMBER_TYPE_MAX", "int value should be from 1 to 100.")])
        if after := record.query.get("after"):
            found = [message for message in found if message.id > int(after)][-limit:]
        return 200, [message.payload() for message in found[:limit]]

    def _send(self, record: Recorded, names: dict[str, str]) -> Answer:
        channel, body = self._place(names), record.body or {}
        if channel.type == DIRECT and not channel.recipients[0].accepts_messages:
            raise refusals.cannot_message_user()
        if not channel.can_send:
            raise refusals.missing_permissions()
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            for message in self.world.visible(channel):
                if message.nonce == nonce and message.author.is_bot:
                    return 200, message.payload()
        return 200, self.world.post(channel, self.world.bot, body, record.files).payload()

    def _own(self, names: dict[str, str]) -> Message:
        message = self.world.find_message(self._place(names).id, _number(names["message_id"]))
        if message.author != self.world.bot:
            raise RefusalError(403, 50005, "Cannot edit a message authored by another user")
        return message

    def _read(self, _: Recorded, names: dict[str, str]) -> Answer:
        return 200, self.world.find_message(self._place(names).id, _number(names["message_id"])).payload()

    def _edit(self, record: Recorded, names: dict[str, str]) -> Answer:
        return 200, self.world.edit(self._own(names), record.body or {}, record.files).payload()

    def _delete(self, _: Recorded, names: dict[str, str]) -> Answer:
        self.interactions.delete(self._own(names))
        return 204, None

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """The CDN, which is no part of the API and must never see the token."""
        strike = self.faults.strike("GET cdn")
        if strike is not None and strike.kind == "hold":
            await asyncio.sleep(strike.seconds)
        if "Authorization" in request.headers:
            self.problem("invalid", f"GET {request.path}: the token was sent to the CDN")
        attachment = self.world.cdn.get(request.path)
        if attachment is None or attachment.file.status != 200:
            return web.Response(status=404 if attachment is None else attachment.file.status, text="gone")
        return web.Response(body=attachment.content, content_type=attachment.file.media_type)


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """discord.py wants exactly this type, without a charset."""
    text = json.dumps(body, ensure_ascii=False).encode()
    return web.Response(body=text, status=status, headers={**(headers or {}), "Content-Type": "application/json"})


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _major(names: Any) -> str:
    return "+".join(names[key] for key in ("channel_id", "guild_id", "token") if key in names)
