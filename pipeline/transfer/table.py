"""The page and the CSV: a table for each measure, what validation chooses, and whether the columns agree."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import spearmanr

from pipeline.base.records import Record
from pipeline.train.methods import PROPAGATE
from pipeline.transfer.cell import FEW, FINETUNE, KNN, LOGISTIC, SCALING
from pipeline.transfer.scaling import forecast

HEADER = ("data", "backbone", "measure", "value", "low", "high")
ECE = "ece"
ORDER = (KNN, LOGISTIC, ECE, FEW, PROPAGATE, FINETUNE, SCALING)
Shares = Mapping[tuple[str, str, str], tuple[float, float, float]]  # by measure, backbone and data


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """The lines of the CSV, under HEADER."""
    return [
        (data, backbone, name, *(f"{number:.6g}" for number in value))
        for (name, backbone, data), value in figures(records).items()
    ]


def figures(records: Sequence[Record]) -> Shares:
    """Every value with its interval, measure by measure."""
    found = {
        (name, record["backbone"], record["data"]): tuple(value)
        for record in records
        for name, value in record["figures"].items()
    }
    return dict(sorted(found.items(), key=lambda item: _place(item[0][0])))


def page(records: Sequence[Record], about: Mapping[str, str]) -> str:
    """The tables as Markdown; `about` says of each set what it is."""
    found = figures(records)
    curves = {key: value for key, value in found.items() if key[0].startswith(SCALING)}
    found = {key: value for key, value in found.items() if key not in curves}
    names, backbones, sets = (list(dict.fromkeys(key[place] for key in found)) for place in range(3))
    lines = [
        "# Which backbone for which images",
        "",
        *(f"- `{name}`: {what}" for name, what in about.items()),
        "",
        NOTE,
    ]
    lines += ["", "## What validation images choose", "", *_chosen(records, found, sets)]
    for name in names:
        lines += ["", f"## {title(name)}", "", *header(["backbone", *sets])]
        lines += [line([backbone, *(percent(found[name, backbone, data]) for data in sets)]) for backbone in backbones]
    if len(backbones) > 2:
        lines += [
            "",
            "## Whether the tables agree",
            "",
            AGREE.format(n=len(backbones)),
            *_agreement(found, names, sets),
        ]
    if curves:
        lines += ["", "## How accuracy grows with labels", "", SCALE, *_scaling(curves, backbones, sets)]
    return "\n".join(lines) + "\n"


def title(name: str) -> str:
    """What a measure is called on the page."""
    kind, _, number = name.rpartition("_")
    known = {
        KNN: "20 nearest neighbours, top-1 %",
        LOGISTIC: "Logistic regression, top-1 %",
        ECE: "Calibration error of the logistic regression, % (less is better)",
        FINETUNE: "Fine-tuned, top-1 %",
    }
    few = f"Few shots: {number} of each of five classes, or of all where there are fewer, top-1 %"
    return known.get(name) or (few if kind == FEW else f"{number} labels of selected images, propagated, top-1 %")


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, in [-1, 1]; NaN where all values of one side are equal."""
    if len(set(one)) == 1 or len(set(other)) == 1:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def _chosen(records: Sequence[Record], found: Shares, sets: Sequence[str]) -> Iterator[str]:
    yield from header(["data", "backbone", "validation top-1 %", "test top-1 %"])
    for data in sets:
        own = [record for record in records if record["data"] == data and record["method"] == LOGISTIC]
        best = max(own, key=lambda record: record["validation"])
        test = percent(found[LOGISTIC, best["backbone"], data])
        yield line([data, best["backbone"], f"{100 * best['validation']:.1f}", test])


def _agreement(found: Shares, names: Sequence[str], sets: Sequence[str]) -> Iterator[str]:
    """Rank correlations of the backbones: between sets for each measure, and between measures over all sets."""
    backbones = list(dict.fromkeys(backbone for _, backbone, _ in found))

    def ranked(name: str, data: str) -> list[float]:
        sign = -1 if name == ECE else 1
        return [sign * found[name, backbone, data][0] for backbone in backbones]

    if len(sets) > 1:
        pairs = list(combinations(sets, 2))
        yield from ("", *header(["measure", *(f"{one}, {other}" for one, other in pairs)]))
        for name in names:
            yield line([f"`{name}`", *(_number(rank_correlation(ranked(name, a), ranked(name, b))) for a, b in pairs)])
    yield from ("", *header(["mean over the sets", *(f"`{name}`" for name in names)]))
    for name in names:
        means = [
            np.mean([rank_correlation(ranked(name, data), ranked(other, data)) for data in sets]) for other in names
        ]
        yield line([f"`{name}`", *(_number(float(mean)) for mean in means)])


def _scaling(curves: Shares, backbones: Sequence[str], sets: Sequence[str]) -> Iterator[str]:
    """A table for each set: a row for each number of labels, then what both laws say of the largest."""
    for data in sets:
        of = {
            b: {
                int(name.rpartition("_")[2]): value
                for (name, other, own), value in curves.items()
                if (other, own) == (b, data)
            }
            for b in backbones
        }
        laws = {b: forecast({number: value[0] for number, value in points.items()}) for b, points in of.items()}
        yield from ("", *header([f"labels of `{data}`", *backbones]))
        for number in sorted(of[backbones[0]]):
            yield line([f"{number:,}", *(percent(of[b][number]) for b in backbones)])
        for law in ("power", "line"):
            misses = (100 * (getattr(laws[b], law) - laws[b].accuracy) for b in backbones)
            yield line([f"{law}: miss of the last, points", *(f"{miss:+.1f}" for miss in misses)])


def _place(name: str) -> tuple[int, int]:
    """Where a measure stands among all."""
    kind, _, number = name.partition("_")
    return ORDER.index(kind), int(number or 0)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def percent(value: tuple[float, float, float]) -> str:
    """A share with its interval, in percent."""
    mean, low, high = (100 * number for number in value)
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def header(cells: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [line(cells), "|---" * len(cells) + "|"]


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


NOTE = """All measures look at `embed`'s vectors of the backbone alone; pixels and edges, which the chain may add, have
no part. In brackets 95 % intervals. Those of nearest neighbours, logistic regression, its calibration error and
fine-tuning speak of other test images, those of few shots of other episodes, those of propagation of other selections.
A penalty, a rate and a decay are chosen on a fifth of the training images; no test image chooses anything."""
AGREE = """Spearman's correlation between the ranks of {n} backbones: 1 is the same order, -1 the reverse. Of so few it
is a hint: with 4 backbones 0.8 or more comes by chance in one of six cases."""
SCALE = """Top-1 % of a linear probe on random labels, a mean over ten draws; in brackets 95 % intervals, which speak of
other test images. Two laws are fitted to all numbers but the last: the error is a (n + d)^-b + c (power), and the
accuracy is linear in log n (line). The last rows say by how many points they miss what was measured there."""
