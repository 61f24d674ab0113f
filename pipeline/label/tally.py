"""What the log says of the labels: how many each class has, which are new, and which may be a slip."""

import difflib
import logging
from collections import Counter

from pipeline.artifacts.class_names import counted
from pipeline.artifacts.labels import Classes, Labels
from pipeline.base.errors import first_names

MOST = 30  # classes of one label that are asked about: with more, each class has one as a rule
SLIP = 0.8  # how alike two names are of which one may be a slip: "food" and "foodx" 0.89

log = logging.getLogger(__name__)


def log_new(labels: Labels, classes: Classes) -> None:
    """Logs the classes that no answer names, where answers name any."""
    for at, level in enumerate(labels.levels):
        known = classes.names.get(level, ())
        new = classes.union(level, {names[at] for names in labels.rows.values()})[len(known) :]
        if known and new:
            of = "" if at == 0 else f" at {level}"
            log.info("label: no answer names %d of the classes%s: %s", len(new), of, first_names(new))


def log_classes(labels: Labels, classes: Classes, audit: Labels) -> None:
    """Logs how many labels each class has, the frequent ones first, and which new one with one label may be a slip."""
    count = Counter(names[0] for names in labels.rows.values() if names[0])
    audited = {names[0] for names in audit.rows.values()} - {""}
    known = {*classes.names.get("label", ()), *audited}
    log.info("label: %s", counted(count.elements()))
    unlabelled = sorted(audited - count.keys())
    if unlabelled:
        log.warning(
            "label: only the audit has images of %s: without a label no result names these", ", ".join(unlabelled)
        )
    names, single = sorted({*count, *known}), sorted(name for name in count if count[name] == 1 and name not in known)
    for name in single if len(single) <= MOST else ():
        near = difflib.get_close_matches(name, [other for other in names if other != name], 1, SLIP)
        if near:
            log.warning("label: the class %r has one label and is near %r: is it a slip?", name, near[0])
