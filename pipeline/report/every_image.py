"""`predictions.csv` beside the page: what is known or guessed of every image, a row each, by path."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.artifacts.predictions import TOP, columns
from pipeline.base.files import write_csv
from pipeline.report.inputs import Run

HEADER = ("path", *columns(TOP), "key")
NO_OTHERS = [""] * (len(columns(TOP)) - 3)


def write(file: Path, run: Run, label: Mapping[str, str]) -> None:
    """Writes `HEADER` and a row for each image; `label` is the class that each labelled one was given.

    The status is `labelled`, where class is the label; `predicted`; or `unsure`.
    """
    write_csv(file, HEADER, _rows(run, label))


def _rows(run: Run, label: Mapping[str, str]) -> Iterator[list[str]]:
    guessed = [(run.predictions.keys, run.predictions.ranking)]
    if run.pseudo_labels:
        guessed.append((run.pseudo_labels.keys, run.pseudo_labels.ranking))
    found = {
        key: (cells, status)
        for keys, ranking in guessed
        for key, cells, status in zip(keys, ranking.cells(), ranking.statuses(), strict=True)
    }
    nothing = ["", "0", *NO_OTHERS], "unsure"
    for key in sorted(run.index.key, key=lambda key: (run.sources.path.get(key, ""), key)):
        (name, confidence, *others), status = found.get(key, nothing)
        if key in label:
            name, confidence, others, status = label[key], "1", NO_OTHERS, "labelled"
        yield [run.sources.path.get(key, ""), name, confidence, status, *others, key]
