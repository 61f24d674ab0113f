"""`predictions.csv` beside the page: what is known or guessed of every image, a row each, by path."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from jaxtyping import Bool
from numpy import ndarray

from pipeline.artifacts.predictions import TOP, Ranking, columns
from pipeline.base.files import write_csv
from pipeline.report.inputs import Run

SURE = 0.5  # the least confidence of a prediction that is no guess, if it is twice that of the next class too
NAME, CONFIDENCE, *OTHERS = columns(TOP)
HEADER = ("path", NAME, CONFIDENCE, "status", *OTHERS, "key")


def write(file: Path, run: Run, label: Mapping[str, str]) -> None:
    """Writes `HEADER` and a row for each image; `label` is the class that each labelled one was given.

    The status is `labelled`, where class is the label; `predicted`; or `unsure`, see `SURE`.
    """
    write_csv(file, HEADER, _rows(run, label))


def _rows(run: Run, label: Mapping[str, str]) -> Iterator[list[str]]:
    guessed = [(run.predictions.keys, run.predictions.ranking)]
    if run.pseudo_labels:
        guessed.append((run.pseudo_labels.keys, run.pseudo_labels.ranking))
    found = {
        key: (cells, sure)
        for keys, ranking in guessed
        for key, cells, sure in zip(keys, ranking.cells(), _sure(ranking), strict=True)
    }
    nothing = ["", "0", *[""] * len(OTHERS)], False
    for key in sorted(run.index.key, key=lambda key: (run.sources.path.get(key, ""), key)):
        (name, confidence, *others), sure = found.get(key, nothing)
        status = "predicted" if sure else "unsure"
        if key in label:
            name, confidence, others, status = label[key], "1", [""] * len(others), "labelled"
        yield [run.sources.path.get(key, ""), name, confidence, status, *others, key]


def _sure(ranking: Ranking) -> Bool[ndarray, " n"]:
    second = ranking.p[:, 1] if ranking.p.shape[1] > 1 else 0.0
    return (ranking.confidence >= SURE) & (ranking.confidence >= 2 * second)
