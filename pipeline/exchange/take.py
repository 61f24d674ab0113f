"""Labels from the exports of tools: read, bound to images, put together, and written into a person's file."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.class_names import counted
from pipeline.artifacts.labels import Sources
from pipeline.base.errors import SourceError, first_names
from pipeline.exchange.answers import Answer
from pipeline.exchange.bind import images_of
from pipeline.exchange.formats import FORMATS, recognised
from pipeline.exchange.known import Known
from pipeline.exchange.labels_file import Merged, merge
from pipeline.exchange.votes import Verdict, decide, lines
from pipeline.label.spelling import one_spelling

log = logging.getLogger(__name__)


def take(known: Known, files: Sequence[Path], form: str, out: Path, *, replace: bool) -> Merged:
    """Writes the labels in these exports into `out`; `form` names the format of all, "" looks at the content of each.

    Where a format does not say who answered, each of several files is a person's. Raises SourceError for an image that
    is not known, where no label is left, and for what `merge` refuses.
    """
    answers, guesses = _read(files, form)
    where = Path(", ".join(map(str, files)))
    images = images_of(str(where), answers, known.sources)
    train = {*known.index.key}
    rows = [
        (key, answer.by, name, picture)
        for answer, (key, picture) in zip(answers, images, strict=True)
        for name in answer.classes
        if key in train
    ]
    held_out = {key for key, _ in images} - train
    if held_out:
        log.warning("import_labels: %d images are held out for the test, and their labels are not used", len(held_out))
    names = one_spelling(where, "label", [row[0] for row in rows], [row[2] for row in rows], known.classes)
    votes = [(key, by, name) for (key, by, _, _), name in zip(rows, names, strict=True) if name]
    verdict = decide(votes)
    _say(verdict, Counter(by for _, by in {(key, by) for key, by, _ in votes}), known.sources)
    if not verdict.label:
        unsure = f", of which {guesses} are guesses that nobody confirmed" if guesses else ""
        raise SourceError(f"{where}: expected a label for one image at least, got none{unsure}")
    picture_of = {key: picture for key, _, _, picture in reversed(rows)}
    merged = merge(
        out, {key: (name, picture_of[key]) for key, name in verdict.label.items()}, known.sources, replace=replace
    )
    log.info("import_labels: %s", counted(verdict.label.values()))
    return merged


def _read(files: Sequence[Path], form: str) -> tuple[list[Answer], int]:
    """All answers, and how many guesses nobody confirmed."""
    answers, guesses = list[Answer](), 0
    for file in files:
        name = form or recognised(file)
        read = FORMATS[name].read(file)
        left = f", and {read.guesses} guesses that nobody confirmed, which do not count" if read.guesses else ""
        log.info("import_labels: %s has %d answers in the format %s%s", file, len(read.answers), name, left)
        who = str(file) if len(files) > 1 else ""
        answers += [Answer(one.image, one.classes, one.by or who, one.picture) for one in read.answers]
        guesses += read.guesses
    return answers, guesses


def _say(verdict: Verdict, count: Mapping[str, int], sources: Sources) -> None:
    """Logs which images are left out and why, and how far people agree."""
    for left, why in ((verdict.several, "one person gave several classes"), (verdict.split, "no class has most votes")):
        if left:
            names = [f"{sources.path.get(key, key)} ({', '.join(classes)})" for key, classes in left.items()]
            log.warning("import_labels: %d images are left out, as %s: %s", len(left), why, first_names(names))
    for line in lines(verdict, count):
        log.info("import_labels: %s", line)
