"""Draw docs/images/bot-replies.png: what the bot answers in Discord, for docs/bot.md.

    .venv/bin/python scripts/render_bot_replies.py [--output FILE]

The bot runs as a process against the Discord of the tests, so the messages are those that it really sends; a model's
stand-in writes the answer. Only their look is drawn here, by a headless Chromium (with Noto's CJK fonts).
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from nescord import KnowledgeManager, Settings  # noqa: E402
from tests.discord_world import running_bot  # noqa: E402
from tests.fakes.discord import DiscordFake, Message  # noqa: E402
from tests.fakes.gemini import FakeGemini  # noqa: E402
from tests.fakes.gemini.generating import Asked  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "bot-replies.png"
WIDTH = 900
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_JUMP = "https://discord.com/channels/7/70/7000"
NOTES = {
    "Salted plums: how we do it": "Dry the plums in the sun for three days, then keep them in brine with red shiso.",
    "梅干しの作り方": "塩分は十八パーセント。土用のころ、三日三晩外に干す。夜露に当てると皮が柔らかくなる。",
    "Market list": "Plums (two kilograms, ripe), coarse salt, red shiso leaves.",
}
SAID = "次の集まりは 12 月 5 日（土）10 時から。梅の苗木を二本持っていきます。"
ANSWER = "土用のころに**三日三晩**外に干します {0}。夜露に当てると皮が柔らかくなります {0}。"

_INLINE = re.compile(
    r"\\(?P<escaped>[^\w\s])|\*\*(?P<bold>.+?)\*\*|\[(?P<label>(?:\\.|[^\]\\])+)\]\(<?(?P<url>https://[^)>]+)>?\)"
    r"|<t:(?P<time>\d+):\w>|`(?P<code>[^`]+)`"
)
_STYLE = """
* { box-sizing: border-box; margin: 0 }
body { background: #313338; color: #dbdee1; font: 15px/1.4 "Noto Sans", "Noto Sans CJK JP", sans-serif;
  padding: 18px 24px }
.reply { display: grid; grid-template-columns: 42px 1fr; gap: 2px 14px; padding: 8px 0 14px }
.used { grid-column: 2; color: #949ba4; font-size: 13px } .used b { color: #c9cdfb; font-weight: 500 }
.face { width: 42px; height: 42px; border-radius: 50%; background: #5865f2; color: #fff; font-weight: 700;
  text-align: center; line-height: 42px }
.name { color: #f2f3f5; font-weight: 600 } .app { background: #5865f2; color: #fff; font-size: 10px; font-weight: 600;
  border-radius: 4px; padding: 1px 5px; margin-left: 5px; vertical-align: 2px }
.embed { background: #2b2d31; border-left: 4px solid #5865f2; border-radius: 4px; padding: 10px 14px; margin: 4px 0;
  max-width: 620px; font-size: 14px } .embed h2 { font-size: 15px; color: #f2f3f5; margin-bottom: 6px }
.small { color: #949ba4; font-size: 12px } .footer { color: #949ba4; font-size: 12px; margin-top: 8px }
a { color: #00a8fc; text-decoration: none } code { background: #1e1f22; border-radius: 3px; padding: 0 4px }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 6px }
.buttons span { border-radius: 4px; padding: 4px 14px; color: #fff; background: #4e5058; font-size: 14px;
  font-weight: 500 }
.buttons .s1 { background: #5865f2 } .buttons .s3 { background: #248046 } .buttons .s4 { background: #da373c }
.only { color: #949ba4; font-size: 12px; margin-top: 6px }
"""
_ONLY = {"en-US": "Only you can see this", "ja": "これはあなただけに表示されています"}
_USED = {"en-US": "{} used <b>{}</b>", "ja": "{} が <b>{}</b> を使用しました"}


def main() -> None:
    """Act, and draw what came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PICTURE)
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        replies = "".join(shown(*reply) for reply in acted(Path(folder)))
        page.write_text(f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>{replies}', encoding="utf-8")
        draw(page, output.resolve())


def acted(folder: Path) -> list[tuple[str, str, str, Message]]:
    """(language, who, what they used, what was answered) of a search, a question and a message that is saved."""
    with DiscordFake() as discord, FakeGemini() as gemini:
        gemini.answers(written)
        guild = discord.guild(7, "Kitchen")
        ada, ben = discord.user(42, "ada"), discord.user(43, "ben", locale="ja")
        for person in (ada, ben):
            guild.member(person)
        keep(folder / "kb")
        reach = {"GEMINI_API_KEY": gemini.key, "NESCORD_GEMINI_ENDPOINT": gemini.url, "NESCORD_EMBEDDER": "local"}
        with running_bot(folder, discord, **reach):
            found = discord.slash(ada, "search", {"query": "how to dry plums"}, guild=guild).wait(60)
            asked = discord.slash(ben, "ask", {"question": "梅干しはどのくらい干す？"}, guild=guild).wait(60)
            said = discord.message(ada, SAID, guild=guild)
            kept = discord.menu(ben, "Save to notes", said).wait(60)
        return [
            ("en-US", "Ada", "/search query: how to dry plums", found),
            ("ja", "Ben", "/質問 質問文: 梅干しはどのくらい干す？", asked),
            ("ja", "Ben", "ノートに保存", kept),
        ]


def keep(data: Path) -> None:
    """A few notes of the guild, kept from messages and embedded."""
    with KnowledgeManager.open(Settings(data_dir=data, embedder="local", vector="exact")) as km:
        for number, (title, text) in enumerate(NOTES.items()):
            km.add_note(text, title=title, space="guild:7", author="user:42", source=f"{_JUMP}{number}")
        km.catch_up()


def written(asked: Asked) -> str:
    """The answer, with the number of the passage that it is from."""
    passages = re.findall(r"^\[(\d+)\](.*?)(?=^\[\d+\]|\Z)", asked.text, re.DOTALL | re.MULTILINE)
    return ANSWER.format("".join(f"[{number}]" for number, text in passages if "三日三晩" in text))


def shown(locale: str, who: str, command: str, message: Message) -> str:
    """One answer as Discord shows it."""
    parts = [f'<div class="text">{rich(message.content)}</div>' if message.content else ""]
    for embed in message.embeds:
        footer = embed.get("footer", {}).get("text", "")
        parts.append(
            f'<div class="embed"><h2>{rich(embed.get("title", ""))}</h2>{rich(embed.get("description", ""))}'
            f'<div class="footer">{html.escape(footer)}</div></div>'
        )
    parts += [f'<div class="buttons">{"".join(map(button, row["components"]))}</div>' for row in message.components]
    parts.append(f'<div class="only">{_ONLY[locale]}</div>' if message.is_ephemeral else "")
    used = _USED[locale].format(html.escape(who), html.escape(command))
    head = f'<div class="used">{used}</div><div class="face">N</div>'
    name = '<span class="name">NescordBot</span><span class="app">APP</span>'
    return f'<div class="reply">{head}<div>{name}{"".join(parts)}</div></div>'


def button(component: dict[str, Any]) -> str:
    return f'<span class="s{component["style"]}">{html.escape(component["label"])}</span>'


def rich(text: str) -> str:
    """Discord's Markdown as HTML, as far as the bot uses it."""
    lines = []
    for line in text.splitlines():
        kind = "small" if line.startswith("-# ") else "line"
        body = inline(line.removeprefix("-# "))
        lines.append(f'<div class="{kind}">{body or "&nbsp;"}</div>')
    return "".join(lines)


def inline(text: str) -> str:
    parts, at = [], 0
    for found in _INLINE.finditer(text):
        parts += [html.escape(text[at : found.start()]), _marked(found)]
        at = found.end()
    return "".join([*parts, html.escape(text[at:])])


def _marked(found: re.Match[str]) -> str:
    if found["bold"]:
        return f"<b>{inline(found['bold'])}</b>"
    if found["label"]:
        return f"<a>{inline(found['label'])}</a>"
    if found["time"]:
        return datetime.fromtimestamp(int(found["time"]), UTC).strftime("%Y-%m-%d")
    return f"<code>{html.escape(found['code'])}</code>" if found["code"] else html.escape(found["escaped"])


def draw(page: Path, output: Path) -> None:
    """A screenshot of the page, as high as it is."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(_BROWSERS)} is installed: install chromium and fonts-noto-cjk")
    output.parent.mkdir(parents=True, exist_ok=True)
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={page.parent}/profile",
    ]
    measured = page.read_text(encoding="utf-8") + "<script>document.title = document.body.scrollHeight</script>"
    page.write_text(measured, encoding="utf-8")
    size = f"--window-size={WIDTH},100"
    dumped = subprocess.run(
        [browser, *quiet, size, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True
    )
    height = re.search(r"<title>(\d+)</title>", dumped.stdout)
    size = f"--window-size={WIDTH},{height[1] if height else 900}"
    subprocess.run([browser, *quiet, size, f"--screenshot={output}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
