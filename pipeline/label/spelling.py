"""One spelling for each class, in all that a person wrote."""

import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

from pipeline.artifacts.class_names import alike, all_near, means_no_label, spellings
from pipeline.base.errors import SourceError
from pipeline.label.marks import MARK_NAMES, MARKS

log = logging.getLogger(__name__)


def one_spelling(
    file: Path, level: str, keys: Sequence[str], written: Sequence[str], known: Sequence[str]
) -> list[str]:
    """The class in each row at a level: a `known` one, or a new one in its most frequent spelling; "" for no label.

    The marks of an image without a label stay. Raises SourceError, by key, for a name of two lines, another word in
    brackets, and a name that may be any of several known classes.
    """
    no_class = {name: "" for name in written if name not in known and means_no_label(name)}
    no_class |= {name: alike(name) for name in written if name not in known and alike(name) in MARKS}
    named = Counter(name for name in written if name not in no_class)
    near = {name: all_near(name, known) for name in named}
    new: dict[str, Counter[Hashable]] = {name: Counter({"": named[name]}) for name in named if not near[name]}
    chosen = {**spellings(new), **{name: found[0] for name, found in near.items() if found}}
    for key, name in zip(keys, written, strict=True):
        if len(name.splitlines()) > 1:
            raise SourceError(f"{file}: key {key}: expected a {level} of one line, got {name!r}")
        if name in named and not near[name] and name[0] + name[-1] == "[]":
            raise SourceError(f"{file}: key {key}: expected a {level}, {MARK_NAMES}, got {name!r}")
        if len(near.get(name, ())) > 1:
            either = " or ".join(near[name])
            raise SourceError(f"{file}: key {key}: expected the {level} {either}, got {name!r}, which may be both")
    for name, spelling in sorted(chosen.items()):
        if name != spelling:
            log.info("label: %r in %s is taken for %r", name, file, spelling)
    meant = chosen | no_class
    return [meant[name] for name in written]
