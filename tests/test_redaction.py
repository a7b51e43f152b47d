"""Secrets in what is logged."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.redaction import Redactor, secrets_of
from nescord.settings import Settings

TOKEN = "github_pat_11ABC/+ =&ü?x:y"


@pytest.mark.parametrize(
    "shown",
    [
        TOKEN,
        f"https://git.example/?token={quote(TOKEN)}",
        f"https://git.example/?token={quote(TOKEN, safe='')}",
        f"https://git.example/?token={quote_plus(TOKEN)}",
        *(
            encode(f"{user}:{TOKEN}".encode()).decode()
            for user in ("", "x", "me", "x-access-token", "nescord")
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
        ),
    ],
)
def test_a_known_secret_is_hidden_in_each_of_its_forms(shown: str) -> None:
    hidden = Redactor([TOKEN])(f"before {shown} after")
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert "***" in hidden
    assert shown[-8:] not in hidden  # nor is a part of it left


@pytest.mark.parametrize("secret", ["back\\slash-ü-é", "it's-a-secret", "two'kinds\"of-quotes", 'one"kind-of-quotes'])
def test_a_known_secret_is_hidden_as_json_and_python_show_it(secret: str) -> None:
    redact = Redactor([secret])
    for shown in (
        json.dumps({"token": secret}),
        json.dumps({"token": secret}, ensure_ascii=False),
        repr([secret]),
        repr(f"it's {secret}"),
        repr(f'"quoted" {secret}'),
        repr(f"""it's "quoted" {secret}"""),
        repr(secret.encode()),
        f"{OSError(2, secret)!r}",
    ):
        hidden = redact(shown)
        assert "***" in hidden, shown
        assert not [part for part in (secret[:6], secret[-6:]) if part in hidden], hidden


def test_of_a_user_and_password_the_password_is_a_secret_of_its_own() -> None:
    redact = Redactor(["nescord:correct-horse"])
    assert redact("nescord:correct-horse") == "***"
    assert redact("the password is correct-horse.") == "the password is ***."
    encoded = base64.b64encode(b"nescord:correct-horse").decode()
    assert encoded[4:-4] not in redact(f"Basic {encoded}")


def test_the_longest_secret_goes_first_and_the_shortest_are_no_secrets() -> None:
    redact = Redactor(["horse", "correct-horse", "", "a", "  "])
    assert redact("correct-horse and horse eat a lot") == "*** and *** eat a lot"


def test_each_line_of_a_key_is_hidden_and_its_frame_stays() -> None:
    frame = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\nAAAAC3NzaC1l\n-----END OPENSSH PRIVATE KEY-----\n"
    redact = Redactor([frame])
    assert redact("got AAAAC3NzaC1l") == "got ***"
    assert "b3Blbn" not in redact(json.dumps(frame))
    assert redact("-----BEGIN OPENSSH PRIVATE KEY-----") == "-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET / Authorization: Bearer abc.def-ghi", "GET / Authorization: ***"),
        ("> authorization: Basic Zm9vOmJhcg== \r", "> authorization: ***"),
        ("{'Authorization': 'Bearer abc', 'Accept': 'x'}", "{'Authorization': '***', 'Accept': 'x'}"),
        ('{"authorization": "Bearer abc", "a": 1}', '{"authorization": "***", "a": 1}'),
        (r'"{\"Authorization\": \"Bearer abc\", \"a\": 1}"', r'"{\"Authorization\": \"***", \"a\": 1}"'),
        ("(b'authorization', b'Basic abc'), (b'a', b'b')", "(b'authorization', b'***'), (b'a', b'b')"),
        ("Proxy-Authorization: Basic abc\nnext line", "Proxy-Authorization: ***\nnext line"),
        ("git clone https://me:pass@git.example/a.git", "git clone https://***@git.example/a.git"),
        ("https://me:p:a@ss@git.example/a@b", "https://***@git.example/a@b"),
        ("postgresql+psycopg://u:p@db/x and redis://:p@db", "postgresql+psycopg://***@db/x and redis://***@db"),
        ("https://ghp_abc@git.example/a.git", "https://***@git.example/a.git"),
        (
            "POST https://discord.com/api/webhooks/123456/aB-c_d.E?wait=true",
            "POST https://discord.com/api/webhooks/123456/***?wait=true",
        ),
        ("https://discordapp.com/api/v10/webhooks/1/tok/messages/2", "https://discordapp.com/api/v10/webhooks/1/***/messages/2"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(line: str, expected: str) -> None:
    redact = Redactor([])
    assert redact(line) == expected
    assert redact(redact(line)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "INFO:     Uvicorn running on http://127.0.0.1:4200 (Press CTRL+C to quit)",
        "ssh://git@git.example/a.git and git@git.example:a.git",
        "the author's e-mail is a@b.example: see https://a.example/x@y",
        "authorization is off\nauthorization:\nthe next line",
        "http://[::1]:8080/healthz 200",
        "",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert Redactor(["a secret that does not occur"])(line) == line


@given(st.text(), st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4), st.text())
def test_no_known_secret_survives(before: str, secret: str, after: str) -> None:
    assert secret.strip() not in Redactor([secret])(before + secret + after).replace("***", "")


def test_every_secret_of_the_settings_is_known() -> None:
    hooked = "https://discord.com/api/webhooks/1/token"
    secrets = secrets_of(Settings(gemini_api_key="AIza", status_token="0123456789abcdef", discord_webhook=hooked))
    assert sorted(secrets) == ["0123456789abcdef", "AIza", hooked]
