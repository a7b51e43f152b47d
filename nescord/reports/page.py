"""The frame of a report's page: complete by itself, without a script, and readable on a telephone.

What a notebook shows comes from notes that anyone may have written. It is cleaned to the few elements below, and the
page forbids its browser everything else: scripts, pictures from elsewhere, forms, frames.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from nescord.web.markup import Markup, element, joined

CSS = """
:root { color-scheme: light; --ground: #f6f5f2; --card: #fff; --ink: #24262b; --soft: #5f646e; --line: #e0ded7;
  --bad: #b3261e; --bad-bg: #fbe6e4; --good: #1c7a47; --link: #2457a6; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Hiragino Sans", "Noto Sans CJK JP", "Noto Sans", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; background: var(--card); min-height: 100vh; }
a { color: var(--link); text-underline-offset: .15em; }
h1 { font-size: 1.6rem; line-height: 1.3; } h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
nav, footer, .soft { color: var(--soft); font-size: .9rem; }
img { max-width: 100%; height: auto; display: block; margin: .75rem 0; }
pre { overflow-x: auto; background: var(--ground); padding: .75rem; border-radius: .4rem; font-size: .85rem;
  line-height: 1.45; overflow-wrap: normal; }
code { font-size: .9em; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: .25rem solid var(--line); color: var(--soft); }
table { border-collapse: collapse; margin: .75rem 0; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; white-space: nowrap; }
th, td { overflow-wrap: break-word; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
.number, .num, td.right, th.right { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
/* A table that is wider than the page scrolls by itself. */
.output_subarea, .rendered_html, .wide { overflow-x: auto; max-width: 100%; }
.rendered_html td { min-width: 3.5rem; overflow-wrap: break-word; }
.stopped { background: var(--bad-bg); border-left: .3rem solid var(--bad); padding: .75rem 1rem; border-radius: .3rem; }
.stopped p { margin: .2rem 0; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); }
.output_error pre { border-left: .25rem solid var(--bad); }
.prompt { display: none; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .75rem; }
@media (max-width: 30rem) {
  main { padding: 1rem .85rem 2rem; }
  h1 { font-size: 1.35rem; }
  /* A plot that is shrunk to a telephone cannot be read: it scrolls by itself as well. */
  .output_png img { max-width: none; width: 38rem; }
}
@media print { main { max-width: none; } body, main { background: #fff; } }
"""

_HASH = base64.b64encode(hashlib.sha256(CSS.encode("utf-8")).digest()).decode("ascii")
# frame-ancestors belongs into a header alone: a browser complains of it in a page.
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"
_ICON = "data:image/svg+xml;base64," + base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#2457a6"/></svg>'
).decode("ascii")

_TAGS = frozenset(
    (
        *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div"),
        *("dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li", "mark", "ol", "p", "pre", "q"),
        *("rp", "rt", "ruby", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot"),
        *("th", "thead", "tr", "u", "ul"),
    )
)
_ATTRIBUTES = {
    "*": ["class", "id", "lang", "title", "dir"],
    "a": ["href"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
    "ol": ["start"],
    "col": ["span"],
}
_PROTOCOLS = frozenset({"http", "https", "mailto"})

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "back": "← All reports of this day",
        "stopped": "This report is incomplete.",
        "cell": "Cell {cell} failed:",
        "error": "It stopped:",
    },
    "ja": {
        "back": "← この日のレポート一覧",
        "stopped": "このレポートは途中までです。",
        "cell": "セル {cell} でエラーが発生しました：",
        "error": "途中で止まりました：",
    },
}


def sanitized(html: object) -> str:
    """What may stand in a page of the HTML that a notebook shows; the rest is shown as the text that it is."""
    import bleach  # type: ignore[import-untyped]  # its stubs are a package of their own

    text = html.decode("utf-8") if isinstance(html, bytes) else str(html)
    return str(bleach.clean(text, tags=_TAGS, attributes=_ATTRIBUTES, protocols=_PROTOCOLS))


def page(body: str, *, title: str, language: str, failure: Mapping[str, Any] | None) -> str:
    """The page of one notebook. `body` is HTML already; `failure` has `cell`, `source` and `error`."""
    words = _WORDS.get(language, _WORDS["en"])
    stopped = Markup()
    if failure is not None:
        where = words["cell"].format(cell=failure["cell"]) if failure["cell"] else words["error"]
        source = element("p", element("code", str(failure["source"]))) if failure["source"] else Markup()
        stopped = element(
            "div",
            element("p", element("strong", words["stopped"])),
            element("p", where, " ", element("code", str(failure["error"]))),
            source,
            class_="stopped",
        )
    back = element("nav", element("a", words["back"], href="index.html"))
    return framed(joined(back, stopped, Markup(body)), title=title, language=language)


def framed(content: Markup, *, title: str, language: str) -> str:
    """A whole HTML document around `content`."""
    head = joined(
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", title),
        Markup(f'<link rel="icon" href="{_ICON}">'),
        element("style", Markup(CSS)),
    )
    whole = joined(element("head", head), element("body", element("main", content)))
    return f"<!doctype html>\n{element('html', whole, lang=language)}\n"
