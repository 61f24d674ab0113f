"""Names by which people and cameras sort photographs: dates and a camera's own folders. They are no classes."""

import re
from collections.abc import Collection
from datetime import date

MONTHS = {date(2000, month, 1).strftime(form).lower() for month in range(1, 13) for form in ("%B", "%b")}
# Words that may stand beside a date and make it no class: IMG_2023, Photos from 2019.
BESIDE = {"img", "image", "images", "photo", "photos", "picture", "pictures", "pics", "dsc", "dcim", "camera", "from"}
CAMERA = re.compile(r"(?i:dcim|camera ?roll|camera)|[1-9]\d\d(?:[A-Z_]{5}|_\d{4})")  # 100CANON, 101_PANA, 102_0501
BELOW_DCIM = re.compile(r"[1-9]\d\d[0-9A-Z_]{5}")  # whatever a camera may write there: 100D7000, 202405__
YEAR = r"(?:19|20)\d\d"
COMPACT = re.compile(rf"{YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")  # 20240501


def of_an_album(name: str, above: Collection[str]) -> bool:
    """Whether a folder is named by a date or by a camera; `above` has the names of the albums that are one level up.

    Below albums a month is one without a year, of a word or two digits, and below months a day; other numbers are none,
    as they may be grades.
    """
    if CAMERA.fullmatch(name) or (BELOW_DCIM.fullmatch(name) and {one.lower() for one in above} == {"dcim"}):
        return True
    words = _words(name)
    if not words or not all(map(_of_a_date, words)):
        return False
    if any(re.fullmatch(YEAR, word) or COMPACT.fullmatch(word) for word in words):
        return True
    return bool(above) and (any(map(_month, words)) or not any(map(str.isdecimal, words)) or all(map(_is_month, above)))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+", name.lower())


def _month(word: str) -> bool:
    return word in MONTHS or bool(re.fullmatch("0[1-9]|1[0-2]", word))


def _is_month(name: str) -> bool:
    """Whether a date has a month, and no day beside it."""
    rest = [word for word in _words(name) if word not in BESIDE and not re.fullmatch(YEAR, word)]
    return bool(rest) and all(map(_month, rest)) and sum(map(str.isdecimal, rest)) < 2


def _of_a_date(word: str) -> bool:
    if not word.isdecimal():
        return word in MONTHS | BESIDE
    return bool(re.fullmatch(YEAR, word) or COMPACT.fullmatch(word)) or (len(word) < 3 and 1 <= int(word) <= 31)
