"""What a note is called and how its front matter is written where it leaves as a file: names that every system can
have, YAML that reads back as it was. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping

import yaml

# Names of files have 255 bytes on most systems, and folders above them.
LONGEST_NAME = 120
# Not in names of files on Windows, where people unpack this, too; nor, in Obsidian, in what a link calls a note.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*#^\[\]\s]+')
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z)", re.IGNORECASE)
_DATES = "tag:yaml.org,2002:timestamp"
# What is a number to YAML 1.2, which Obsidian reads, and a text to PyYAML, which knows 1.1.
_NUMBER = ("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+|0o[0-7]+"))


def safe_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that every system can have: no path, nothing unseen, no blanks, at most `longest` bytes; never empty."""
    normal = unicodedata.normalize("NFC", name)
    seen = "".join(sign if unicodedata.category(sign) not in _UNSEEN else " " for sign in normal)
    words = "_".join(_FORBIDDEN.sub(" ", seen).split())
    clipped = clip(words, longest).strip("._")
    return f"_{clipped}" if _DEVICE.match(clipped) else clipped or "untitled"


def clip(text: str, longest: int) -> str:
    """As much of it as `longest` bytes of UTF-8 hold."""
    return text.encode("utf-8")[:longest].decode("utf-8", "ignore")


def front_matter(values: Mapping[str, object]) -> str:
    """The block that stands above a note's text, both lines of `---` with it. The same values give the same bytes."""
    # Half a surrogate pair, which a note may hold, is in no UTF-8; JSON is the plainest form of what is left.
    plain = json.loads(json.dumps(values, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    # libyaml, which is faster, writes emoji as escapes. The width: a long title stays one line.
    inner = yaml.dump(plain, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=2**31) if plain else ""
    return f"---\n{inner}---\n"


class _Dumper(yaml.SafeDumper):
    """Quotes what another reader of YAML would take for something else than a text, save dates: quoted, they are none
    to the programs that show them."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own, of a class
        first: [
            *((tag, pattern) for tag, pattern in resolvers if tag != _DATES),
            *([_NUMBER] if first and first in "-+0123456789" else []),
        ]
        for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: object) -> bool:
        return True
