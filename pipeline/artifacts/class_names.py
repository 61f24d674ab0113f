"""Names of classes as people write them: which of them are one class, and which mean that there is no label."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

SHOWN = 30  # classes in a line of the log, at most
# Of these words a name that says "no label" consists, in capitals or not and whatever stands between them.
NO_LABEL = {
    *("unlabeled", "unlabelled", "nolabel", "nolabels", "no label", "no labels", "without label", "without labels"),
    *("not labeled", "not labelled", "unlabeled data", "unlabelled data", "unlabeled images", "unlabelled images"),
}
NOTHING = re.compile(r"|unknown|nan|null|#?n/a|<na>|-1(\.0*)?", re.IGNORECASE)  # what programs write for a missing one
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))  # not joiners: emoji need them


def counted(names: Iterable[str]) -> str:
    """How often each name is there, for a line of the log: the frequent ones first, 30 at most."""
    count = Counter(names)
    shown = sorted(count, key=lambda name: (-count[name], name))[:SHOWN]
    more = f" and {len(count) - SHOWN} more classes" if len(count) > SHOWN else ""
    return ", ".join(f"{name} {count[name]}" for name in shown) + more


def tidy(name: str) -> str:
    """The name in composed letters, with single spaces between words and none around them, without invisible signs."""
    return " ".join(unicodedata.normalize("NFC", name).translate(INVISIBLE).split())


def means_no_label(name: str) -> bool:
    """Whether a name says that the image has no label: `unlabeled`, `no_label`, `unknown`, -1, NaN, nothing."""
    plain = tidy(name)
    return bool(NOTHING.fullmatch(plain)) or " ".join(re.findall("[a-z]+", plain.lower())) in NO_LABEL


def match(name: str, known: Sequence[str]) -> str | None:
    """The known class that a person means; None where it is none, or one of several."""
    near = all_near(name, known)
    return near[0] if len(near) == 1 else None


def all_near(name: str, known: Sequence[str]) -> list[str]:
    """The known classes that a person may mean; the name itself, where it is one.

    They may differ in what `alike` makes equal, and in the zeros before a number, which spreadsheets cut.
    """
    if name in known:
        return [name]
    near = {other for other in known if alike(other) == alike(name)}
    if not near and tidy(name).isdecimal():
        near = {other for other in known if tidy(other).isdecimal() and int(tidy(other)) == int(tidy(name))}
    return sorted(near)


def alike(name: str) -> str:
    """The same for names that a person takes for one: capitals, spaces and invisible signs make no difference."""
    signs = (sign for sign in tidy(name) if unicodedata.category(sign) != "Cf" and not "\ufe00" <= sign <= "\ufe0f")
    return tidy("".join(signs).casefold())


def spellings(seen: Mapping[str, Counter[Hashable]]) -> dict[str, str]:
    """For each name the spelling of its class, from how often each split has it.

    It is the most frequent one of those that are alike. Capitals alone keep names apart where a single letter differs,
    as in a set of handwritten letters, and where there are several splits, each with all of the spellings.
    """
    forms: dict[str, Counter[Hashable]] = {}
    for name, counts in seen.items():
        forms.setdefault(tidy(name), Counter()).update(counts)
    groups: dict[str, list[str]] = {}
    for form in sorted(forms):
        groups.setdefault(alike(form), []).append(form)
    splits = {split for counts in forms.values() for split in counts}
    chosen: dict[str, str] = {}
    for group in groups.values():
        parts = zip(*(re.split(r"[\W_]+", form) for form in group), strict=False)
        letters = all(len({*words}) == 1 or len(words[0]) == 1 for words in parts)
        in_all = len(splits) > 1 and all(forms[form][split] for form in group for split in splits)
        best = max(group, key=lambda form: forms[form].total())
        apart = (letters or in_all) and len({form.casefold() for form in group}) == 1
        chosen |= {form: form if apart else best for form in group}
    return {name: chosen[tidy(name)] for name in seen}


def joined(chosen: Mapping[str, str]) -> dict[str, list[str]]:
    """The classes that several spellings were taken for, each with these as they are told apart."""
    names: dict[str, list[str]] = {}
    for name, spelling in sorted(chosen.items()):
        names.setdefault(spelling, []).append(repr(name))
    return {spelling: found for spelling, found in names.items() if len(found) > 1}
