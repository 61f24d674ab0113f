"""The same training under several seeds: what each metric is on average, and how much of it is chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pipeline.base.errors import ArtifactError


@dataclass(frozen=True)
class Summary:
    """Of a metric over n seeds: mean, standard deviation (n - 1), and Student's 95 % interval of the mean.

    That of a share is cut to [0, 1].
    """

    metric: str
    n: int
    mean: float
    std: float
    low: float
    high: float


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """A summary of each metric that every run has, by name; `runs` are the metrics of at least two seeds.

    The interval speaks of other seeds of training, not of other backbones, selections or images. Raises ArtifactError
    for what is no number.
    """
    for run in runs:
        for metric, value in run.items():
            if not isinstance(value, int | float):
                raise ArtifactError(f"metrics.json: {metric}: expected a number, got {value!r}")
    found = []
    for metric in sorted(set.intersection(*(set(run) for run in runs))):
        values = np.array([run[metric] for run in runs], dtype=np.float64)
        n, mean, std = len(values), float(values.mean()), float(values.std(ddof=1))
        reach = float(stats.t.ppf(0.975, n - 1)) * std / n**0.5
        ends = mean - reach, mean + reach
        if values.min() >= 0 and values.max() <= 1:  # a share, which no interval leaves
            ends = max(0.0, ends[0]), min(1.0, ends[1])
        found.append(Summary(metric, n, mean, std, *ends))
    return found
