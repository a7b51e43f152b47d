"""Which language a text is in, well enough to choose a tokenizer and a model, in a few microseconds.

Scripts are told apart by counting UTF-8 lead bytes, at C speed; languages in Latin letters by their commonest words.
Only the first characters are looked at. It is not a linguist: code blocks count like text, and Latin letters that
nothing else speaks for are called English.
"""

from __future__ import annotations

_SAMPLE = 2_000
_LATIN_SAMPLE = 1_000
# Japanese written among code and English names is still Japanese; a single quoted word does not make it so.
_CJK_SHARE = 0.1
_KANA = (b"\xe3\x81", b"\xe3\x82", b"\xe3\x83")  # U+3040..30FF
_HALF_KANA = (b"\xef\xbd", b"\xef\xbe")  # U+FF40..FFBF, half-width kana for the most part
_HAN = tuple(bytes([lead]) for lead in range(0xE4, 0xEA))  # U+4000..9FFF
_HANGUL = tuple(bytes([lead]) for lead in range(0xEA, 0xEE))  # U+A000..DFFF, in practice Hangul syllables
# Characters that Chinese needs in every other sentence and Japanese does not use.
_CHINESE = frozenset("的这們们這还還没么麼吗嗎呢她你您说該该")
_OTHER_SCRIPTS = (
    ("ru", (b"\xd0", b"\xd1")),
    ("el", (b"\xce", b"\xcf")),
    ("he", (b"\xd6", b"\xd7")),
    ("ar", (b"\xd8", b"\xd9")),
    ("hi", (b"\xe0\xa4", b"\xe0\xa5")),
    ("th", (b"\xe0\xb8", b"\xe0\xb9")),
)
_COMMON = {
    "en": "the and of to is in that it for with this on are be as was not you from have by we what can if",
    "de": "der die und das ist nicht ein eine zu den mit von für auf im sich auch dem wird als ich es wie noch oder",
    "fr": "le la les et est des une un dans pour que qui pas du sur avec ce il au plus nous sont cette je vous",
    "es": "el la los las y es que en un una para con por se del no al como más su pero lo este son hay",
    "it": "il la di e che è un una per non con del della sono le gli come più si nel anche ma i questo alla",
    "pt": "o a os as e é que de do da em um uma para com não por se no na mais como dos foi ao",
    "nl": "de het een en van is in dat niet op te zijn voor met die er aan ook als maar om bij wordt naar ik",
}
_COMMON_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_TELLING = (("de", "äöüß"), ("es", "ñ¿¡"), ("pt", "ãõ"), ("fr", "éèêçàœ"))


def language_group(lang: str) -> str:
    """`ja` or `other`: vectors of Japanese texts and of all others are searched and compared apart."""
    return "ja" if lang == "ja" else "other"


def detect(text: str) -> str:
    """ISO 639-1 code of the text's main language: ja, zh, ko, en, de, …; "und" if it holds no letters."""
    sample = text[:_SAMPLE]
    if not sample.isascii():
        data = sample.encode(errors="replace")
        kana = sum(map(data.count, _KANA))
        han = sum(map(data.count, _HAN))
        hangul = sum(map(data.count, _HANGUL))
        kana += sum(map(data.count, _HALF_KANA))
        ideographic = kana + han + hangul
        latin = len(data.translate(None, _NOT_ASCII_LETTERS))
        if ideographic and ideographic >= _CJK_SHARE * (ideographic + latin):
            return _of_east_asia(sample, kana, han, hangul)
        for language, leads in _OTHER_SCRIPTS:
            if 2 * sum(map(data.count, leads)) > latin:
                return language
    return _of_latin(sample[:_LATIN_SAMPLE])


_NOT_ASCII_LETTERS = bytes(byte for byte in range(256) if not (byte < 128 and chr(byte).isalpha()))


def _of_east_asia(sample: str, kana: int, han: int, hangul: int) -> str:
    if hangul > kana + han:
        return "ko"
    if kana > 0.05 * han or _CHINESE.isdisjoint(sample):
        # Kanji alone (東京都庁, 会議資料) are taken for Japanese unless a word says that they are Chinese.
        return "ja" if kana or any(map(str.isalpha, sample)) else "und"
    return "zh"


def _of_latin(sample: str) -> str:
    words = set(sample.lower().split())
    scores = {language: len(common & words) for language, common in _COMMON_WORDS.items()}
    best = max(scores, key=scores.__getitem__)  # the first of equals: English
    if scores[best] >= 2:
        return best
    lowered = sample.lower()
    if not lowered.isascii():
        for language, signs in _TELLING:
            if any(map(lowered.count, signs)):
                return language
    return "en" if any(map(str.isalpha, sample)) else "und"
