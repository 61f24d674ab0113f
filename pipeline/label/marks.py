"""What a person writes in place of a class: that it can't be told, that none fits, or that the picture is of no use."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.artifacts.labels import Labels, Sources
from pipeline.artifacts.skipped import NO_CLASS, NOT_USABLE, SKIPPED
from pipeline.base.errors import first_names
from pipeline.base.typed import here

log = logging.getLogger(__name__)

STILL = "label: to go on, label "  # how the line begins that says how many more
SKIP, NONE, UNUSABLE = MARKS = ("[skip]", "[none]", "[unusable]")  # in brackets: a class may be called "skip"
MARK_NAMES = f"{', '.join(MARKS[:-1])} or {MARKS[-1]}"


def marked(written: Labels) -> set[str]:
    """The images of which a mark is written."""
    return {key for key, names in written.rows.items() if {*MARKS} & {*names}}


def without_marks(written: Labels) -> Labels:
    """The labels among what is written: none of an unusable image, and no rows without any."""
    rows = {
        key: ["" if name in (SKIP, NONE) else name for name in names]
        for key, names in written.rows.items()
        if UNUSABLE not in names
    }
    return Labels(written.levels, {key: names for key, names in rows.items() if any(names)})


def why_without(keys: Sequence[str], written: Labels, labels: Labels) -> dict[str, str]:
    """Why each of these picks has no label as fine as was asked for; "" where it is not in the file."""
    why = {}
    for key in keys:
        names = written.rows.get(key, ())
        if UNUSABLE in names:
            why[key] = NOT_USABLE
        elif key in labels.rows:
            why[key] = "coarser than asked"
        elif NONE in names:
            why[key] = NO_CLASS
        else:
            why[key] = SKIPPED if SKIP in names else "left empty" if names else ""
    return why


def log_still(picks: int, audit: int) -> None:
    """Logs how many images still need a label, in words that the label page shows too."""
    counts = ((picks, ""), (audit, " of the audit"))
    words = [f"{count} more image{'s' if count > 1 else ''}{of}" for count, of in counts if count]
    log.info("%s%s", STILL, " and ".join(words))


def log_missing(why: Mapping[str, str], num_picks: int, file: str, sources: Sources) -> None:
    """Logs how many picks have no label and why, which of them are not usable, and how to get others in their place."""
    count = Counter(reason or f"not in {file}" for reason in why.values())
    reasons = ", ".join(f"{count[reason]} {reason}" for reason in sorted(count, key=lambda name: -count[name]))
    log.info("label: %d of %d picks have no label (%s)", len(why), num_picks, reasons)
    unusable = [sources.path.get(key, key) for key, reason in why.items() if reason == NOT_USABLE]
    if unusable:
        log.info("label: not usable: %s", first_names(unusable))
    marked = count[SKIPPED] + count[NO_CLASS] + count[NOT_USABLE]
    if marked:
        log.info("label: `%s` asks for others in place of %d", here().replace, marked)
