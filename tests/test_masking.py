"""Secrets in notes, in both languages, and what looks like one and is none. All keys here are made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.masking import MASK, masked, masked_by_quotes

VAULT = Path(__file__).parent.parent / "data" / "sample" / "vault"
KEY = "a1B2c3D4" * 8
SECRETS = [
    ("AWS の鍵は {} です", "AKIA" + "Q3EGZ7DN2XW5B4TY", "AWS Access Key"),
    ("Gemini: {}", "AIza" + "Sy" + KEY[:33], "Google API Key"),
    ("git push で使う {}", "ghp_" + KEY[:36], "GitHub Token"),
    ("git: {}", "github_pat_" + KEY[:40], "GitHub Token"),
    ("bot {}", "MTIzNDU2Nzg5MDEyMzQ1Njc4" + "." + "Gabcde" + "." + KEY[:27], "Discord Bot Token"),
    ("post to {}", "https://discord.com/api/webhooks/123456789/" + KEY[:40], "Discord Webhook"),
    ("Slack は {}", "xoxb-" + "123456789012-123456789012-abcdefabcdefabcdefabcdef", "Slack Token"),
    ("ai {}", "sk-ant-api03-" + KEY[:40], "AI Service Key"),
    ("age {}", "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN" * 3, "Age Secret Key"),
    ("curl -H 'Authorization: {}'", "Bearer " + KEY[:30], "Bearer Token"),
    ("パスワード：{}", "hunter2", "Password"),
    ("**パスワード**：`{}`", "s3cr3t!x", "Password"),
    ("Wi-Fiのパスワードは{}です", "tanuki-2025", "Password"),
    ("暗証番号は{}、忘れないこと", "0420", "Password"),
    ("APIキー（本番） = {}", "abcd-1234-efgh", "Password"),
    ("password: {}", "hunter", "Password"),
    ("- Password: {}  (changed in May)", "corr3ct-horse", "Password"),
    ("api_key = '{}'", "not so obvious", "Password"),
    ("secret key: {}", "zyxw-9876", "Password"),
    ("| password | {} |", "hunter2x!", "Password"),
    ("|パスワード|{}|本番|", "hunter2x!", "Password"),
    ("> | **パスワード** | `{}` |", "hunter", "Password"),
    ("| site | user | password |\n|---|---|---|\n| a.example | me | {} |", "hunter2pw!", "Password"),
    ("| サービス | ID | パスワード |\n|:--|---|---|\n| 庭 | taro | {} |", "Abcd1234", "Password"),
    ("passphrase: {}", "correct horse battery staple", "Password"),
    ("合言葉：{}", "ひらけごま", "Password"),
    ("パスワード：{}", "ひみつ123", "Password"),
    ("PW：{}", "abcd1234", "Password"),
    ("ID/PW: {}", "taro / abcd1234", "Password"),
    ("token: {}", "3f9a8b7c6d5e4f", "Password"),
    ("トークン：{}", "ab12cd34ef56", "Password"),
    ("password:\n  {}", "hunter2x", "Password"),
    ("password: {}", "[x9!k2aa", "Password"),
    ("password: {}", "<Pa55word>", "Password"),
    ("{}", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization"),
    ("{}", "hf_" + KEY[:34], "Hugging Face Token"),
    ("token: '{}'", "Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZkdISUpLTE1OT1BRUlNUVVZXWFla", "Base64 High Entropy String"),
]
NO_SECRETS = [
    "パスワードは来週変更する。",
    "パスワードの管理方法についてのメモ",
    "The password is wrong, and nobody knows why.",
    "password: see the safe",
    "トークン: 文字列を分割した単位。日本語では一文字より大きい。",
    "We keep secrets in a vault; the key is under the mat.",
    "秘密鍵は家にある",
    "commit 3f2a9c1d8e7b6a5f4c3d2e1f0a9b8c7d6e5f4a3b fixed it",
    "sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
    "会議 2025-07-03 10:30、参加者 12 名、予算 1,234,567 円",
    "https://example.org/path/to/page?query=検索",
    "![[image 20250703.png]] と [[庭/ぶどう棚の剪定]]",
    "pin the note, and unpin it",
    "| user | password | notes |\n|---|---|---|\n| taro | yes | none |",
    "cat password | grep this out of it",
    "The password is case-sensitive.",
    "The secret is well-kept.",
    "パスワードは8-16文字です。",
    "Secret: grandma's miso",
    "Access key: Alt+Shift+P",
    "pin: GPIO17",
    "| name | type | about |\n|---|---|---|\n| password | string | the user's own |",
    "password: <your-password>",
]


@pytest.mark.parametrize(("sentence", "secret", "kind"), SECRETS, ids=[each[0] for each in SECRETS])
def test_a_secret_does_not_leave(sentence: str, secret: str, kind: str) -> None:
    before = "一行目\n"
    text, findings = masked(before + sentence.format(secret))
    assert secret not in text
    assert text.startswith(before)
    assert MASK in text
    lines = sentence.split("{}")[0].count("\n")
    assert [(each.kind, each.line) for each in findings] == [(kind, 2 + lines)]
    assert secret in (before + sentence.format(secret))[findings[0].start : findings[0].end]


def test_the_old_password_beside_the_new_one_goes_too() -> None:
    assert masked("password: hunter2 / old: hunter1")[0] == f"password: {MASK} / old: {MASK}"


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert masked(text) == (text, [])


def test_of_an_address_only_the_password_goes() -> None:
    text, _ = masked("git clone https://taro:geheim-99@example.org/repo.git")
    assert text == f"git clone https://taro:{MASK}@example.org/repo.git"


@pytest.mark.parametrize("kind", ["RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_a_private_key_goes_as_a_whole_and_nothing_around_it(kind: str) -> None:
    body = "\n".join([KEY] * 5)
    note = f"サーバーの鍵\n\n-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n\n以上です。"
    assert masked(note)[0] == f"サーバーの鍵\n\n{MASK}\n\n以上です。"


def test_a_part_of_a_private_key_goes_too() -> None:
    """A block is cut where a chunk ends."""
    begin = f"Keys\n-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n{KEY}"
    end = f"Keys\n{KEY}\n{KEY[:20]}\n-----END RSA PRIVATE KEY-----\nafter"
    middle = f"Keys\n{KEY}\n{KEY}"
    for part in (begin, end, middle):
        text, _ = masked(part)
        assert text.startswith("Keys\n")
        assert KEY[:20] not in text
    assert masked(end)[0].endswith("\nafter")


@pytest.mark.parametrize("before", ["> ", ">> ", ">\t> ", "    ", "\t", "> > "])
def test_a_private_key_that_is_quoted_or_indented_goes_as_a_whole(before: str) -> None:
    lines = ["-----BEGIN OPENSSH PRIVATE KEY-----", *[KEY] * 3, KEY[:20] + "==", "-----END OPENSSH PRIVATE KEY-----"]
    text, findings = masked("\n".join(["鍵", *(before + line for line in lines), "以上"]))
    assert text == f"鍵\n{before}{MASK}\n以上"
    assert [(each.kind, each.line) for each in findings] == [("Private Key", 2)]
    for part in (lines[:3], lines[1:3], lines[3:]):
        text, _ = masked("\n".join(before + line for line in part))
        assert KEY[:20] not in text


def test_a_private_key_within_json_goes_as_a_whole() -> None:
    key = "\\n".join(["-----BEGIN PRIVATE KEY-----", *[KEY] * 3, "-----END PRIVATE KEY-----"])
    assert masked(f'{{"private_key": "{key}", "id": "7"}}')[0] == f'{{"private_key": "{MASK}", "id": "7"}}'


def test_half_a_key_at_the_end_of_a_quotation_takes_nothing_along() -> None:
    """What a block may hold is also what plain words are made of."""
    note = f"> -----BEGIN PRIVATE KEY-----\n> {KEY}\n> {KEY[:30]}"
    prompt = f"Passages:\n\n[1]\n{note}\n\nQuestion: where is it\n"
    assert masked_by_quotes(prompt) == f"Passages:\n\n[1]\n> {MASK}\n\nQuestion: where is it\n"


@given(st.text("> \nab:", max_size=60))
def test_a_prompt_without_secrets_stays_as_it_is(text: str) -> None:
    assert masked_by_quotes(text) == text


def test_a_long_token_goes_to_its_end() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9." + KEY * 60
    assert masked(f"{'x ' * 300}token {token} end")[0].endswith(f"token {MASK} end")


def test_several_in_a_line_all_go() -> None:
    text, findings = masked(f"password: aaaa-1111, api_key: bbbb-2222, ghp_{KEY[:36]}")
    assert not {"aaaa-1111", "bbbb-2222", KEY[:36]} & set(text.replace(",", " ").split())
    assert "bbbb" not in text
    assert len(findings) == 3


def test_what_was_masked_stays_as_it_is() -> None:
    for sentence, secret, _ in SECRETS:
        text, _ = masked(sentence.format(secret))
        assert masked(text)[0] == text


def test_the_sample_vault_has_none() -> None:
    for path in VAULT.rglob("*.md"):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert masked(text) == (text, []), path.name


@given(st.text(max_size=400))
def test_any_text_can_be_looked_at(text: str) -> None:
    found, findings = masked(text)
    assert bool(findings) == (found != text) or MASK in text
    assert all(0 <= each.start < each.end <= len(text) for each in findings)


@pytest.mark.parametrize(
    "hostile",
    [
        *("a\n" * 20_000, "password" * 2_000, "-----BEGIN " * 5_000, "'" * 20_000, "eyJ" * 9_000),
        *("sk-" * 66_000, "api_key: aaaa-1111\n" * 5_000, "> " * 50_000, "https://" * 10_000),
    ],
)
def test_a_hostile_text_takes_no_longer_than_another(hostile: str) -> None:
    import time

    begun = time.process_time()
    masked(hostile + " PRIVATE KEY")
    assert time.process_time() - begun < 5


def test_the_detectors_are_not_imported_before_they_are_needed() -> None:
    code = "import nescord.masking, sys; sys.exit('detect_secrets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
