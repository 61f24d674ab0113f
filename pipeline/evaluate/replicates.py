"""The same training under several seeds: each metric's mean, standard deviation and interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import field_validator
from scipy import stats

from pipeline.artifacts.labels import TAKEN
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, write_csv, write_json
from pipeline.base.params import Block, Params, parse_yaml

OF_MODEL = ("top1", "macro_f1", "ece", "consistency")


class ReplicateParams(Block):
    """The block `replicate` of the experiment's own params.yaml."""

    seeds: tuple[int, ...]

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("two different seeds or more, none below 0")
        return seeds


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

    def __str__(self) -> str:
        """One line of text."""
        ends = f"{self.low:.4f} to {self.high:.4f}"
        return f"{self.metric:<24}{self.mean:.4f} ± {self.std:.4f}, 95 % {ends}, {self.n} seeds"


def summarise_folder(folder: Path) -> list[Summary]:
    """Summaries of the model's metrics, at all levels, from `folder`, written there as summary.csv and metrics.json."""
    file = folder / "params.yaml"
    tree = parse_yaml(file.read_text(encoding="utf-8"), str(file))
    seeds = Params(tree, str(file)).block("replicate", ReplicateParams).seeds
    summaries = summarise([read_json(folder / f"seeds/{seed}/evaluate/metrics.json") for seed in seeds])
    summaries = [s for s in summaries if s.metric.endswith(OF_MODEL) and not s.metric.startswith(TAKEN)]
    rows = [(s.metric, s.n, *(f"{value:.6g}" for value in (s.mean, s.std, s.low, s.high))) for s in summaries]
    write_csv(folder / "summary.csv", ("metric", "n", "mean", "std", "low", "high"), rows)
    flat = {f"{s.metric}_{name}": getattr(s, name) for s in summaries for name in ("mean", "std")}
    write_json(folder / "metrics.json", {"n_seeds": len(seeds), **flat})
    return summaries


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """A summary of each metric that every run has, by name; `runs` are the metrics of at least two seeds.

    The interval speaks of other seeds of training, not of other backbones, selections or images. Raises ArtifactError
    for what is no number.
    """
    for run in runs:
        for metric, value in run.items():
            if not isinstance(value, int | float):
                raise ArtifactError(f"metrics.json: {metric}: expected a number, got {value!r}")
    summaries = []
    for metric in sorted(set.intersection(*(set(run) for run in runs))):
        values = np.array([run[metric] for run in runs], dtype=np.float64)
        n, std = len(values), float(values.std(ddof=1))
        mean, *ends = student(values)
        if values.min() >= 0 and values.max() <= 1:  # a share, which no interval leaves
            ends = [max(0.0, ends[0]), min(1.0, ends[1])]
        summaries.append(Summary(metric, n, mean, std, *ends))
    return summaries


def student(values: Sequence[float] | Float[ndarray, " n"]) -> tuple[float, float, float]:
    """The mean of at least two values and Student's 95 % interval of it."""
    mean, reach = float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - reach, mean + reach
