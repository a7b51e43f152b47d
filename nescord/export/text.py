"""A note as a Markdown file that comes back as it was, whoever reads it.

Its own front matter first, as it was. What neither that nor the text says is added: title, tags and aliases by the
names that Obsidian knows, everything else under one key, `nescord`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nescord import frontmatter, own_key
from nescord.decoding import DecodeError, decode
from nescord.drafting import PARSER_VERSION, Drafting
from nescord.export.links import Moves, rewritten, rewritten_values
from nescord.markdown import parse
from nescord.note_files import front_matter
from nescord.notes import Link, Note, ParsedNote

_OURS = {
    *("id", "kind", "space", "author", "origin", "created", "updated", "digest"),
    *("attachments", "not_stored", "replaced"),
}
# A higher number makes the next export write every note anew: raise it when the file of a note comes to be another.
_RENDERING = 1
# Under which other names, in whatever case, the same is read.
_ALSO: Mapping[str, Sequence[str]] = {"title": (), "tags": ("tags", "tag"), "aliases": ("aliases", "alias")}


@dataclass(frozen=True, slots=True)
class Filed:
    """A note with what else its file says: where it was said, its path, the links that lead elsewhere there, the files
    beside it (paths), and those that were not stored (name -> why)."""

    note: Note
    origin: str
    place: str
    moves: Moves
    files: Sequence[str] = ()
    not_stored: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The bytes of a file; `remark` says what will not come back from it ("": all does)."""

    data: bytes
    remark: str = ""


def made_from(filed: Filed, drafting: Drafting) -> str:
    """A hash of all that decides what the file of a note says: as long as it is the same, so is the file."""
    decides = (_RENDERING, PARSER_VERSION, str(drafting.timezone), filed)
    return hashlib.blake2b(repr(decides).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def written(filed: Filed, drafting: Drafting) -> Written:
    """The file of a note."""
    return _File(filed, drafting).written()


class _File:
    """What the file of a note may say, and what an ingest would find in it."""

    def __init__(self, filed: Filed, drafting: Drafting) -> None:
        self._filed, self._note, self._drafting = filed, filed.note, drafting
        self._stem = posixpath.splitext(posixpath.basename(filed.place))[0]
        self._body = rewritten(filed.note.body, filed.moves, filed.place) if filed.moves else filed.note.body
        own = {key: value for key, value in filed.note.front_matter.items() if key != own_key.KEY}
        self._own: dict[str, Any] = rewritten_values(own, filed.moves) if filed.moves else own
        self._is_broken = not own and bool(frontmatter.read(self._body).problem)

    def written(self) -> Written:
        made = self._written()
        if self._filed.moves and not made.remark:
            links = parse(made.data.decode("utf-8"), self._stem).links
            lost = sorted({link.target for link in links if (link.kind, link.target) in self._filed.moves})
            if lost:
                return Written(made.data, f"a link in it leads nowhere here, its target has another name: {lost[0]}")
        return made

    def _written(self) -> Written:
        bare = self._text(self._own)
        found = parse(bare, self._stem)
        values, replaced = self._with_what_is_missing(found)
        ours = self._ours(found, replaced)
        if not ours and values == self._own and self._is_note(bare, found):
            return Written(bare.encode("utf-8"))
        whole = self._text({**values, own_key.KEY: ours} if ours else values)
        if self._is_note(whole, read := parse(whole, self._stem)) and self._claims(read) == self._known():
            return Written(whole.encode("utf-8"))
        if self._is_note(bare, found):
            # Front matter that is none, being broken, is text: below another one it would be read in another way. And
            # one that is as long as can be has no room for more.
            why = "broken" if self._is_broken else "as long as it may be"
            return Written(bare.encode("utf-8"), f"its front matter is {why}: author and dates are not in the file")
        return Written(whole.encode("utf-8"), "read again it will be another: it holds what no text file can")

    def _text(self, values: Mapping[str, Any]) -> str:
        """Front matter, be it an empty one, and body: no body is taken for front matter then, or for a program."""
        if not values and self._is_broken:
            return self._body
        return front_matter(values) + self._body

    def _with_what_is_missing(self, found: ParsedNote) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values with what the note is called and the text does not say; and those in whose place that came."""
        note, values, replaced = self._note, dict(self._own), dict[str, Any]()
        if found.title != note.title and note.title:
            values = _put(values, "title", note.title, replaced)
        if set(found.tags) != set(note.tags):
            # Those in the text count in any case.
            in_text = parse(front_matter({}) + self._body, self._stem).tags
            spelled = _tags_with_links(values)
            tags = [spelled.get(tag, tag) for tag in sorted(note.tags) if tag not in in_text]
            values = _put(values, "tags", tags, replaced)
        if set(found.aliases) != set(note.aliases):
            values = _put(values, "aliases", list(note.aliases), replaced)
        return values, replaced

    def _ours(self, found: ParsedNote, replaced: Mapping[str, Any]) -> dict[str, Any]:
        """What stands under our key: of a note of ours who and what it is, of others only what they do not say."""
        note, filed = self._note, self._filed
        # From a former export, or somebody else's.
        former = note.front_matter.get(own_key.KEY, {})
        if not isinstance(former, dict):
            former = {"replaced": {own_key.KEY: former}}
        claimed = self._claims(found)
        ours = {key: value for key, value in former.items() if key not in _OURS}
        if note.owner == "us":
            ours |= {"id": note.id, "kind": note.kind, "space": note.space}
        if claimed.author != note.author:
            ours["author"] = note.author
        if origin := filed.origin or former.get("origin"):
            ours["origin"] = origin
        if claimed.created != note.created_at:
            ours["created"] = note.created_at
        if claimed.updated != note.updated_at:
            ours |= {"updated": note.updated_at, "digest": own_key.digest(self._body)}
        if filed.files:
            ours["attachments"] = list(filed.files)
        if filed.not_stored:
            ours["not_stored"] = dict(filed.not_stored)
        kept = former.get("replaced")
        if all_replaced := {**replaced, **(kept if isinstance(kept, dict) else {})}:
            ours["replaced"] = all_replaced
        return ours

    def _claims(self, found: ParsedNote) -> own_key.Said:
        return self._drafting.claims(found)

    def _known(self) -> own_key.Said:
        return own_key.Said(self._note.author, self._note.created_at, self._note.updated_at)

    def _is_note(self, text: str, found: ParsedNote) -> bool:
        """Whether this is what the note says, and a file of this text is read as such."""
        note = self._note
        # A note that was brought back has lost those in its front matter.
        links = {Link(link.kind, link.target, link.anchor, link.text) for link in note.links}
        return (
            found.title == (note.title or found.title)
            and found.body == self._body
            and set(found.tags) == set(note.tags)
            and set(found.aliases) == set(note.aliases)
            and (bool(self._filed.moves) or links == set(found.links) or bool(self._own and links < set(found.links)))
            and _is_text(text)
        )


def _tags_with_links(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags that hold a [[Link]], as they were written: as tags are stored, the link would be another."""
    texts = [
        text for key, value in values.items() if key.lower() in _ALSO["tags"] for text in frontmatter.listed(value)
    ]
    parts = [part.strip() for text in texts for part in (*text.split(), *re.split("[,、，]", text))]
    return {frontmatter.fold_tag(part): part for part in parts if "[[" in part}


def _put(values: dict[str, Any], name: str, value: object, replaced: dict[str, Any]) -> dict[str, Any]:
    """The values with this one under that name, in the place of what is read as the same."""
    former = {key: own for key, own in values.items() if key == name or key.lower() in _ALSO[name]}
    replaced |= former
    made: dict[str, Any] = {}
    for key, own in values.items():
        if key not in former:
            made[key] = own
        elif name not in made:
            made[name] = value
    return made if name in made else {name: value, **made}


def _is_text(text: str) -> bool:
    try:
        return decode(text.encode("utf-8")).text == text
    except DecodeError:
        return False
