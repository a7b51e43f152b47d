"""What a note calls a password, a token or a PIN: `パスワード：…`, `pw = …`, a row or a column of a table.

Code is what the detectors of masking.py were made for; people write secrets otherwise. Whether the word behind a name
is one is told by the name (what follows "passphrase:" is, a "secret" may be that of a recipe), by the sign between them
("the password is wrong" says none) and by how the word looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SHORTEST = 4
# What stands behind these is one, whatever it looks like.
_STRONG = (
    r"パスワード|パスフレーズ|パスコード|暗証番号|合言葉|秘密鍵|認証情報|(?:API|アクセス|シークレット|秘密)\s*(?:キー|鍵)"
    r"|(?<![A-Za-z])(?:password|passwd|passphrase|passcode|pwd|pw|api[ _-]?key|secret[ _-]key)(?![A-Za-z])"
)
# These have other meanings, too.
_DOUBTFUL = (
    r"(?:(?:API|アクセス|シークレット|秘密)\s*)?トークン|暗号|シークレット"
    r"|(?<![A-Za-z])(?:access[ _-]?key|secret|(?:access|auth|api|client)[ _-]?(?:token|secret)|token)(?![A-Za-z])"
)
_PIN = r"暗証番号|パスコード|(?<![A-Za-z])(?:pin|passcode)(?![A-Za-z])"
_AROUND = r"(?:\s*[(（][^)）\n]{0,20}[)）])?[*_`\"']{0,3}[ \t\u3000]*"
_OPENING = r"[ \t\u3000]*[*_`\"'「『]{0,3}"
_NAMED = re.compile(
    rf"(?:(?P<pin>{_PIN})|(?P<strong>{_STRONG})|(?P<doubtful>{_DOUBTFUL})){_AROUND}"
    rf"(?P<sign>[:：=＝|｜]|は|\bis\b){_OPENING}(?P<break>\n[-*+]?{_OPENING})?"
    r"(?P<value>[!-~]{4,})(?P<last>[ \t\u3000」』]*$)?",
    re.IGNORECASE | re.MULTILINE,
)
# Words, or Japanese: to the end of the line. Longer than this is said about it.
_PHRASE = re.compile(
    rf"(?:パスワード|パスフレーズ|合言葉|(?<![A-Za-z])passphrase(?![A-Za-z])){_AROUND}[:：=＝]{_OPENING}"
    r"(?P<value>[^\s|｜。][^\n|｜。]{2,40})$",
    re.IGNORECASE | re.MULTILINE,
)
_PAIR = re.compile(
    r"(?:\bID|ユーザー?名?|\buser(?:name)?)[ \t]*[/／・&＆][ \t]*(?:PW|パスワード|pass(?:word)?)[ \t]*[:：=＝][ \t]*"
    r"(?P<value>[^\n]{4,80})$",
    re.IGNORECASE | re.MULTILINE,
)
_BESIDE = re.compile(r"[/／,、][ \t]*\w{1,8}[ \t]*[:：=＝][ \t]*(?P<value>[!-~]{4,})")
_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_COLUMN = re.compile(rf"[*_`\"' \t]*(?:(?P<strong>{_STRONG}|{_PIN})|{_DOUBTFUL}){_AROUND}", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"<[A-Za-z _-]*>?|\[masked\].*|\[\[.*|\[[^\]]*\]\(.*|https?:.*", re.IGNORECASE | re.DOTALL)
# The row of a table that is its head says how the columns are called.
_ROW_OF_HEADS = re.compile(r"[^\n]*\n\|?[ \t]*:?-{2,}")
_DECORATION = "*_`\"'.,;)」』"


def named(text: str) -> Iterator[tuple[int, int]]:
    """Where the secrets begin and end that a name stands before; the lines of `text` are bare (masking._bare)."""
    for match in _NAMED.finditer(text):
        value = (match["value"].partition("|")[0] if match["sign"] in "|｜" else match["value"]).rstrip(_DECORATION)
        start = match.start("value")
        if len(value) >= _SHORTEST and not _PLACEHOLDER.fullmatch(value) and _is_secret(text, match, value):
            yield start, start + len(value)
            line_ends = text.find("\n", start)
            for beside in _BESIDE.finditer(text, start + len(value), line_ends if line_ends >= 0 else len(text)):
                if _looks_secret(beside["value"]):
                    yield beside.span("value")
    for pattern in (_PHRASE, _PAIR):
        for match in pattern.finditer(text):
            if not _PLACEHOLDER.fullmatch(match["value"]):
                yield match.span("value")
    yield from _columns(text)


def _is_secret(text: str, match: re.Match[str], value: str) -> bool:
    sign = match["sign"]
    if match["break"]:
        # On a line of its own, below the name.
        return sign in ":：" and match["last"] is not None and _looks_secret(value)
    if match["pin"] and value.isdecimal():
        return True
    if match["pin"] and match["pin"].isascii() and match["pin"].lower() == "pin":
        return False  # GPIO17
    if sign in "|｜":
        is_pair, is_alone = _fills_a_cell(text, match, value)
        return is_alone and (_looks_secret(value) or (is_pair and match["doubtful"] is None))
    if match["doubtful"] or sign not in ":：=＝":
        return _looks_secret(value)
    return not value.isalpha() or match["last"] is not None


def _looks_secret(value: str) -> bool:
    """No word of any language: letters with digits, or signs that words have not."""
    has_digit, has_letter = any(map(str.isdecimal, value)), any(map(str.isalpha, value))
    return (has_digit and has_letter) or (has_letter and any(sign in value for sign in "!@#$%^&*=?~"))


def _fills_a_cell(text: str, match: re.Match[str], value: str) -> tuple[bool, bool]:
    """Whether a row of a table has two cells; and whether nothing else stands in that of the value, which is no name of
    a column."""
    end = match.start("value") + len(value)
    begin, line_ends = text.rfind("\n", 0, match.start()) + 1, text.find("\n", end)
    line = text[begin : line_ends if line_ends >= 0 else len(text)]
    rest = text[end : begin + len(line)].lstrip("*_`\"' \t")
    is_alone = rest[:1] in ("", "|", "｜") and not _ROW_OF_HEADS.match(text, end)
    return len(_cells(line)) == 2, is_alone


def _columns(text: str) -> Iterator[tuple[int, int]]:
    """The cells below the name of a secret."""
    if "|" not in text:
        return
    head: list[tuple[int, int]] = []
    wanted: list[tuple[int, bool]] = []
    at = 0
    for line in text.split("\n"):
        cells = [(at + start, at + end) for start, end in _cells(line)] if "|" in line else []
        if not cells:
            wanted = []
        elif _RULE.fullmatch(line):
            found = ((place, _COLUMN.fullmatch(text[start:end])) for place, (start, end) in enumerate(head))
            wanted = [(place, name["strong"] is not None) for place, name in found if name]
        else:
            for place, is_strong in wanted:
                start, end = cells[place] if place < len(cells) else (0, 0)
                value = text[start:end].strip(_DECORATION)
                is_told = len(value) >= _SHORTEST and not _PLACEHOLDER.fullmatch(value)
                if is_told and (is_strong or _looks_secret(value)):
                    yield start, end
        head, at = cells, at + len(line) + 1


def _cells(line: str) -> list[tuple[int, int]]:
    """Where the cells of a row begin and end, without the blanks around them."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    at = line.find(inner)
    cells = []
    for cell in inner.split("|"):
        begun = at + len(cell) - len(cell.lstrip())
        cells.append((begun, begun + len(cell.strip())))
        at += len(cell) + 1
    return cells
