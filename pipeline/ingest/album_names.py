"""Names by which people and cameras sort photographs: dates and a camera's own folders. They are no classes."""

import re
from datetime import date

MONTHS = {date(2000, month, 1).strftime(form).lower() for month in range(1, 13) for form in ("%B", "%b")}
# Words that may stand beside a date and make it no class: IMG_2023, Photos from 2019.
BESIDE = {"img", "image", "images", "photo", "photos", "picture", "pictures", "pics", "dsc", "dcim", "camera", "from"}
CAMERA = re.compile(r"dcim|camera ?roll|camera|[1-9]\d\d(?=.*[a-z_])[a-z0-9_]{5}", re.IGNORECASE)  # 100CANON, 101_PANA
YEAR = r"(?:19|20)\d\d"
COMPACT = re.compile(rf"{YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")  # 20240501


def of_an_album(name: str, *, below_date: bool) -> bool:
    """Whether a folder is named by a date or by a camera; below a date a day or a month is one, without a year."""
    if CAMERA.fullmatch(name):
        return True
    words = re.findall(r"[^\W\d_]+|\d+", name.lower())
    dated = below_date or any(re.fullmatch(YEAR, word) or COMPACT.fullmatch(word) for word in words)
    return dated and bool(words) and all(map(_of_a_date, words))


def _of_a_date(word: str) -> bool:
    if not word.isdecimal():
        return word in MONTHS | BESIDE
    return bool(re.fullmatch(YEAR, word) or COMPACT.fullmatch(word)) or (len(word) < 3 and 1 <= int(word) <= 31)
