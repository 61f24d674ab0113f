"""One spelling for each class, in all that a person wrote."""

import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

from pipeline.artifacts.class_names import all_near, means_no_label, spellings
from pipeline.base.errors import SourceError

log = logging.getLogger(__name__)


def one_spelling(
    file: Path, level: str, keys: Sequence[str], written: Sequence[str], known: Sequence[str]
) -> list[str]:
    """The class in each row at a level: a `known` one, or a new one in its most frequent spelling; "" for no label.

    Raises SourceError, by key, for a name of two lines, and for one that may be any of several known classes.
    """
    no_label = {name for name in written if name not in known and means_no_label(name)}
    named = Counter(name for name in written if name not in no_label)
    near = {name: all_near(name, known) for name in named}
    new: dict[str, Counter[Hashable]] = {name: Counter({"": named[name]}) for name in named if not near[name]}
    chosen = {**spellings(new), **{name: found[0] for name, found in near.items() if found}}
    for key, name in zip(keys, written, strict=True):
        if len(name.splitlines()) > 1:
            raise SourceError(f"{file}: key {key}: expected a {level} of one line, got {name!r}")
        if len(near.get(name, ())) > 1:
            either = " or ".join(near[name])
            raise SourceError(f"{file}: key {key}: expected the {level} {either}, got {name!r}, which may be both")
    for name, meant in sorted(chosen.items()):
        if name != meant:
            log.info("label: %r in %s is taken for %r", name, file, meant)
    return ["" if name in no_label else chosen[name] for name in written]
