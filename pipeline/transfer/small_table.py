"""The page and the CSV of few images of each class: balanced accuracy, and what validation images chose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.transfer.measures import Figure
from pipeline.transfer.table import header, line, percent

HEADER = ("backbone", "data", "split", "method", "rate", "decay", "validation", "runs", "balanced")


@dataclass(frozen=True)
class Result:
    """A method on one draw of the images. Accuracies are balanced ones, as shares."""

    backbone: str
    data: str
    split: int
    method: str
    rate: float
    decay: float
    validation: float  # at this rate and decay, the best there
    runs: tuple[float, ...]  # on the test images

    @property
    def mean(self) -> float:
        """Over the runs."""
        return float(np.mean(self.runs))

    def __str__(self) -> str:
        """A sentence."""
        return f"{self.method} from {self.backbone} on {self.data}, draw {self.split}: {self.mean:.1%} (balanced)"

    def cells(self) -> tuple[object, ...]:
        """Under HEADER."""
        found = (self.rate, self.decay, f"{self.validation:.6g}", len(self.runs), f"{self.mean:.6g}")
        return (self.backbone, self.data, self.split, self.method, *found)


def accuracy(results: Sequence[Result], backbone: str, method: str, sets: Sequence[str]) -> Figure:
    """The mean over the draws of the mean over sets and runs, and Student's interval of it."""
    of: dict[int, list[float]] = {}
    for result in results:
        if (result.backbone, result.method) == (backbone, method) and result.data in sets:
            of.setdefault(result.split, []).append(result.mean)
    return Figure.of_mean(np.array([np.mean(means) for means in of.values()]))


def page(results: Sequence[Result], about: Mapping[str, str], per_class: int) -> str:
    """The tables as Markdown; `about` says of each set what it is."""
    sets = list(about)
    columns = [[name] for name in sets] + ([sets] if len(sets) > 1 else [])
    rows = list(dict.fromkeys((result.backbone, result.method) for result in results))
    splits, runs = len({result.split for result in results}), len(results[0].runs)
    lines = [f"# {per_class} images of each class", "", *(f"- `{name}`: {what}" for name, what in about.items()), "",
             NOTE.format(splits=splits, runs=runs), "", "## Balanced accuracy, %", "",
             *header(["backbone", "method", *sets, *(["mean of the sets"] if len(sets) > 1 else [])])]  # fmt: skip
    for backbone, method in rows:
        shares = [percent(accuracy(results, backbone, method, column)) for column in columns]
        lines.append(line([backbone, method, *shares]))
    lines += ["", "## What validation images chose", "", *_chosen(results)]
    return "\n".join(lines) + "\n"


def _chosen(results: Sequence[Result]) -> Iterator[str]:
    yield from header(
        ["data", "backbone", "method", "draw", "rate", "decay", "validation %", "test %", "deviation of runs"]
    )
    for one in results:
        apart = f"{100 * np.std(one.runs, ddof=1):.1f}" if len(one.runs) > 1 else "–"
        values = [f"{one.rate:g}", f"{one.decay:g}", f"{100 * one.validation:.1f}", f"{100 * one.mean:.1f}", apart]
        yield line([one.data, one.backbone, one.method, str(one.split), *values])


NOTE = """Balanced accuracy is recall averaged over the classes, here on all test images: a mean over {splits} draws of
the images and {runs} trainings on each. In brackets Student's 95 % interval over the draws; it speaks of other images
to train on, not of other test images. Rate and decay are those that are best on a fifth of a draw's images; then the
method is trained on the whole draw. No test image chooses anything. A training whose loss ceases to be finite counts
as 0. Methods that keep a backbone's batch norm, such as finetune, are not measured where its weights are random."""
