"""Images by what a table calls them."""

import unicodedata
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath


def found(texts: Sequence[str], paths: Collection[str]) -> list[str | None]:
    """For each text of a table the path of the image that it means; None where it means none, or one of several.

    Tables are made on other machines: backslashes, `./` in front, capitals, the form of accented letters and a missing
    ending make no difference. A text may be the end of a path; or a path that has more in front, if all such texts of
    the table have the same in front.
    """
    exact, loose, ends = {*paths}, _Unique(), _Unique()
    for path in paths:
        parts = _parts(path)
        bare = (*parts[:-1], PurePosixPath(parts[-1]).stem)
        for form in {parts, bare}:
            loose.add(form, path)
            for start in range(1, len(form)):
                ends.add(form[start:], path)
    fronts: dict[int, tuple[str, ...]] = {}
    result: list[str | None] = []
    for row, text in enumerate(texts):
        name = next((name for name in (text, text.strip()) if name in exact), None)
        parts = _parts(text)
        name = name or loose.get(parts) or ends.get(parts)
        for start in range(1, len(parts) if name is None else 0):
            name = loose.get(parts[start:])
            if name is not None:
                fronts[row] = parts[:start]
                break
        result.append(name)
    if len({*fronts.values()}) > 1:
        return [None if row in fronts else name for row, name in enumerate(result)]
    return result


def _parts(text: str) -> tuple[str, ...]:
    """The parts of a path in one form, without those that lead nowhere; at least one."""
    plain = unicodedata.normalize("NFC", text.strip().replace("\\", "/")).casefold()
    return tuple(part for part in plain.split("/") if part not in ("", ".")) or ("",)


class _Unique(dict[tuple[str, ...], str | None]):
    """What belongs to one path only: where a second one has it too, there is None."""

    def add(self, parts: tuple[str, ...], path: str) -> None:
        if self.setdefault(parts, path) != path:
            self[parts] = None
