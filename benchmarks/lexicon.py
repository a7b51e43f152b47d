"""Made-up vocabularies with the statistics of real ones: Japanese and English word forms under Zipf's law.

A benchmark of search needs words that are frequent, rare and in between, in texts whose licence is nobody's: the
words are built from kanji, kana and syllables, the glue between them (particles, endings, function words) is real.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, cycle
from typing import Literal

Lang = Literal["ja", "en"]

_KANJI = (
    "一右雨円王音下火花貝学気休玉金空月犬見口校左三山子四糸字耳七車手十出女小上森人水正生青夕石赤千川先早草足村大男竹中虫町天田土二"
    "日入年白八百文木本名目立力林六引羽雲園遠何科夏家歌画回会海絵外角楽活間丸岩顔汽記帰弓牛魚京強教近兄形計元言原戸古午後語工公広交"
    "光考行高黄合谷国黒今才細作算止市矢姉思紙寺自時室社弱首秋週春書少場色食心新親図数西声星晴切雪船線前組走多太体台地池知茶昼長鳥朝"
    "直通弟店点電刀冬当東答頭同道読内南肉馬売買麦半番父風分聞米歩母方北毎妹万明鳴毛門夜野友用曜来里理話悪安暗医委意育員院飲運泳駅央"
    "横屋温化荷界開階寒感漢館岸起期客究急級宮球去橋業曲局銀区苦具君係軽血決研県庫湖向幸港号根祭皿仕死使始指歯詩次事持式実写者主守取"
    "酒受州拾終習集住重宿所暑助昭消商章勝乗植申身神真深進世整昔全相送想息速族他打対待代第題炭短談着注柱丁帳調追定庭笛鉄転都度投豆島"
    "湯登等動童農波配倍箱畑発反坂板皮悲美鼻筆氷表秒病品負部服福物平返勉放味命面問役薬由油有遊予羊洋葉陽様落流旅両緑礼列練路和愛案以"
    "衣位囲胃印英栄塩億加果貨課芽改械害街各覚完官管関観願希季紀喜旗器機議求泣救給挙漁共協鏡競極訓軍郡径型景芸欠結建健験固功好候航康"
)
_VERB_STEMS = "進読書作使見開始考送選組直比試渡戻残動変続決調測集分保探話待持飲食歩走泳遊学教習覚忘"
_VERB_ENDINGS = (
    "める",
    "めた",
    "んだ",
    "みます",
    "みました",
    "って",
    "った",
    "します",
    "られる",
    "まない",
    "めて",
    "ば",
)
_SURU = ("する", "した", "している", "できる", "します", "しない", "させる", "された")
_KATAKANA = tuple(
    "アイウエオカキクケコサシスセソタチツテトナニノハヒフヘホマミムメモラリルレロンガギグゲゴザジズダデドバビブベボパピプペポ"
)
_ONSETS = ("b", "br", "c", "ch", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "l", "m", "n", "p", "pl", "pr", "r")
_SYLLABLES = tuple(
    onset + nucleus + coda
    for onset in (*_ONSETS, "s", "sh", "sk", "sp", "st", "t", "th", "tr", "v", "w")
    for nucleus in ("a", "e", "i", "o", "u", "ai", "ea", "ou")
    for coda in ("", "", "n", "r", "l", "s", "t", "m", "nd", "ck")
)
_JA_ADJECTIVES = (
    "新しい",
    "大きな",
    "古い",
    "小さな",
    "必要な",
    "重要な",
    "早い",
    "深い",
    "静かな",
    "長い",
    "簡単な",
    "細かい",
)

_EN_SENTENCES = (
    "The {n} of the {n} was {v} by a {a} {n}.",
    "We {v} the {n} before the {n}, and it {v} well.",
    "If the {n} is {a}, use {n} instead of {n}.",
    "There are {a} {n} in every {n} that I {v} this week.",
    "I think that {n} and {n} should be {v} together, because the {n} is {a}.",
    "It was {a}, but not as {a} as the {n} we had {v}.",
    "What about the {n}? They {v} it for the {n} and for us.",
    "When you {v} a {n}, you also {v} its {n}, which is more than {n} can do.",
    "This {n} will {v} with {n}; see the {a} {n} from {d}.",
    "No {n} has {v} so far.",
)
FUNCTION_WORDS = frozenset(re.findall(r"[a-z]+", re.sub(r"\{\w\}", "", " ".join(_EN_SENTENCES)).lower()))
"""What no one searches for: the glue of the English sentences."""

_JA_SENTENCES = (
    "{n}の{n}は{n}で{v}。",
    "{a}{n}を{n}に{v}ことで、{n}が{v}。",
    "「{n}」について{n}と{n}を{v}。",
    "{k}の{n}が{a}ので、{n}から{v}ようにする。",
    "{d}に{n}を{v}。次は{k}を{v}。",
    "{n}{n}では、{n}より{k}のほうが{a}{n}になる。",
    "もし{n}が{v}なら、{n}は{k}に{v}。",
    "{n}は{a}が、{n}としては{n}まで{v}。",
    "なぜ{n}を{v}のか？",
    "{k}と{k}を{v}と、第{i}回の{n}も{v}。",
)


@dataclass(frozen=True, slots=True)
class _Words:
    """Word forms by slot, most frequent first, each with the running sums of its Zipf weights."""

    slots: dict[str, tuple[str, ...]]
    weights: dict[str, list[float]]
    sentences: tuple[str, ...]

    def draw(self, rng: random.Random, slot: str, count: int) -> list[str]:
        return rng.choices(self.slots[slot], cum_weights=self.weights[slot], k=count)


class Pen:
    """Writes sentences of one language with the words of one note: its own terms, its topic's, and anyone's."""

    def __init__(self, lang: Lang, rng: random.Random, *, topic: int, terms: tuple[str, ...], size: int) -> None:
        words = _words(lang)
        self.lang = lang
        self._rng = rng
        pool = max(12, size // 40)
        nouns = words.draw(rng, "n", pool) + rng.choices(topic_words(self.lang, topic), k=pool // 3)
        nouns += list(terms) * max(1, pool // 40)
        rng.shuffle(nouns)
        self._supply: dict[str, Iterator[str]] = {
            "n": cycle(nouns),
            "k": cycle(words.draw(rng, "k", pool // 3)),
            "v": cycle(words.draw(rng, "v", pool)),
            "a": cycle(words.draw(rng, "a", pool // 2)),
            "d": cycle(
                [f"{rng.randint(2019, 2024)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" for _ in range(6)]
            ),
            "i": cycle([str(rng.randint(1, 40)) for _ in range(6)]),
        }
        self._patterns = _compiled(self.lang)

    def word(self) -> str:
        return next(self._supply["n"])

    def phrase(self) -> str:
        return f"{self.word()}の{self.word()}" if self.lang == "ja" else f"{self.word()} {self.word()}"

    def sentence(self) -> str:
        pattern, slots = self._rng.choice(self._patterns)
        supply = self._supply
        return pattern % tuple([next(supply[slot]) for slot in slots])

    def paragraph(self, sentences: int = 0) -> str:
        lines = [self.sentence() for _ in range(sentences or self._rng.randint(1, 6))]
        return ("" if self.lang == "ja" else " ").join(lines)


@cache
def topic_words(lang: Lang, topic: int) -> tuple[str, ...]:
    """Nouns of a subject, from anywhere in the vocabulary: rare over the vault, frequent where they belong."""
    rng = random.Random(f"topic {lang} {topic}")
    return tuple(rng.choices(_words(lang).slots["n"], k=90) + rng.choices(_words(lang).slots["k"], k=30))


@cache
def _words(lang: Lang) -> _Words:
    return _japanese(random.Random("words")) if lang == "ja" else _english(random.Random("words"))


@cache
def _compiled(lang: Lang) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Sentence patterns as printf formats, each with the slots that fill them."""
    slot = re.compile(r"\{(\w)\}")
    return tuple((slot.sub("%s", pattern), tuple(slot.findall(pattern))) for pattern in _words(lang).sentences)


def _japanese(rng: random.Random) -> _Words:
    """Nouns (kanji compounds), katakana loanwords, verbs with their endings, adjectives: some 13,000 forms."""
    stems = rng.sample(_KANJI, 260)
    nouns = _distinct(lambda: "".join(rng.choices(_KANJI, k=rng.choice((1, 2, 2, 2, 2, 2, 3, 4)))), 8_500)
    loans = _distinct(lambda: _loanword(rng), 2_200)
    suru = [noun + ending for noun in nouns[:250] for ending in _SURU if len(noun) == 2]
    godan = [stem + ending for stem in (*_VERB_STEMS, *stems[:40]) for ending in _VERB_ENDINGS]
    verbs = list(dict.fromkeys(suru + godan))
    rng.shuffle(verbs)
    adjectives = [*_JA_ADJECTIVES, *(stem + rng.choice(("しい", "い", "かな")) for stem in stems)]
    return _ranked({"n": nouns, "k": loans, "v": verbs, "a": list(dict.fromkeys(adjectives))}, _JA_SENTENCES)


def _english(rng: random.Random) -> _Words:
    """Nouns, verbs and adjectives with the endings of English, so that stemming has work: some 12,000 forms."""
    roots = _distinct(lambda: "".join(rng.choices(_SYLLABLES, k=rng.choice((1, 2, 2, 2, 3)))), 6_000)
    # Also because YAML reads a tag "no" as false.
    roots = [root for root in roots if root not in FUNCTION_WORDS]
    nouns = [form for root in roots[:3_600] for form in (root, root + "s")]
    verbs = [form for root in roots[3_600:4_700] for form in (root, root + "ed", root + "ing", root + "s")]
    adjectives = [root + rng.choice(("", "y", "ous", "al", "ly", "er")) for root in roots[4_700:]]
    for forms in (nouns, verbs, adjectives):
        rng.shuffle(forms)
    return _ranked({"n": nouns, "k": nouns, "v": verbs, "a": list(dict.fromkeys(adjectives))}, _EN_SENTENCES)


def _ranked(slots: dict[str, list[str]], sentences: tuple[str, ...]) -> _Words:
    weights = {slot: list(accumulate(1 / (rank + 2.7) for rank in range(len(forms)))) for slot, forms in slots.items()}
    return _Words({slot: tuple(forms) for slot, forms in slots.items()}, weights, sentences)


def _distinct(make: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[make()] = None
    return list(found)


def _loanword(rng: random.Random) -> str:
    kana = rng.choices(_KATAKANA, k=rng.randint(2, 5))
    if kana[0] == "ン":
        kana[0] = "プ"
    if rng.random() < 0.55:
        kana.insert(rng.randint(1, len(kana)), "ー")
    return "".join(kana)
