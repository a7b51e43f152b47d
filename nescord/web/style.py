"""How the page looks: one quiet column, in light and in dark. Colours only repeat what a word says."""

from __future__ import annotations

import base64
import hashlib

CSS = """
:root { color-scheme: light dark; --ground: #f6f5f2; --card: #fff; --ink: #24262b; --soft: #666b75; --line: #e5e3dd;
  --good: #1c7a47; --good-bg: #e4f3ea; --busy: #8a5a00; --busy-bg: #fbf0d9; --bad: #b3261e; --bad-bg: #fbe6e4;
  --link: #2457a6; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --card: #1f2227; --ink: #e6e7ea; --soft: #9ba1ac; --line: #31353c; --good: #7ed3a2;
    --good-bg: #1b3327; --busy: #e9bd6a; --busy-bg: #382d17; --bad: #ff9d94; --bad-bg: #3f2220; --link: #8fb6f2; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Hiragino Sans", "Noto Sans CJK JP", "Noto Sans", sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; margin-bottom: 1rem; }
h1 { font-size: 1.15rem; margin: 0; font-weight: 650; }
h2 { font-size: .95rem; margin: 0 0 .35rem; font-weight: 650; }
a { color: var(--link); text-underline-offset: .15em; }
.tongues { color: var(--soft); font-size: .9rem; white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.15rem;
  margin-bottom: 1rem; }
.whole { background: linear-gradient(to right, var(--edge) .4rem, var(--card) .4rem); padding-left: 1.5rem; }
.whole p { margin: 0; }
.whole .verdict { font-size: 1.3rem; font-weight: 650; line-height: 1.35; color: var(--edge); }
.good { --edge: var(--good); } .busy { --edge: var(--busy); } .bad { --edge: var(--bad); }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line);
  font-weight: 400; overflow-wrap: anywhere; }
tr:first-child > * { border-top: 0; }
tr > :last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .85rem; padding-top: 0; }
thead + tbody tr:first-child > * { border-top: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts th { width: 45%; color: var(--soft); }
.soft { color: var(--soft); font-size: .875rem; }
.under { display: block; }
.state { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; font-size: .875rem; white-space: nowrap; }
.state.good { background: var(--good-bg); color: var(--good); }
.state.busy { background: var(--busy-bg); color: var(--busy); }
.state.bad { background: var(--bad-bg); color: var(--bad); }
p.note { margin: .6rem 0 0; }
meter { width: 100%; height: .8rem; margin-top: .35rem; }
footer { color: var(--soft); font-size: .875rem; }
footer p { margin: .2rem 0; }
@media (max-width: 30rem) {
  main { padding: 1.25rem .75rem 2rem; }
  .card { padding: .85rem .9rem; }
  .facts th { width: 50%; }
}
"""

# Nothing but this very style is let in: no script, no picture, no form, no frame.
_HASH = base64.b64encode(hashlib.sha256(CSS.encode("utf-8")).digest()).decode("ascii")
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
