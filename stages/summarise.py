"""Mean, standard deviation and interval of each of the model's metrics over the seeds of FOLDER/params.yaml.

Reads FOLDER/seeds/<seed>/evaluate/metrics.json and writes FOLDER/summary.csv and FOLDER/metrics.json. The graph in
experiments/replicate makes what it reads: `make replicate`.
"""

from pathlib import Path

import click
from pydantic import field_validator

from pipeline.artifacts.labels import TAKEN
from pipeline.base.files import read_json, write_csv, write_json
from pipeline.base.params import Block, Params, parse_yaml
from pipeline.evaluate.replicates import summarise
from stages.cli import one_line_errors

SHOWN = ("top1", "macro_f1", "ece", "consistency")


class ReplicateParams(Block):
    """The block `replicate` of the experiment's own params.yaml."""

    seeds: tuple[int, ...]

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("two different seeds or more, none below 0")
        return seeds


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """See the module's docstring, which is the command's help."""
    with one_line_errors():
        file = folder / "params.yaml"
        tree = parse_yaml(file.read_text(encoding="utf-8"), str(file))
        seeds = Params(tree, str(file)).block("replicate", ReplicateParams).seeds
        summaries = summarise([read_json(folder / f"seeds/{seed}/evaluate/metrics.json") for seed in seeds])
        summaries = [s for s in summaries if shown(s.metric)]
        rows = [(s.metric, s.n, *(f"{value:.6g}" for value in (s.mean, s.std, s.low, s.high))) for s in summaries]
        write_csv(folder / "summary.csv", ("metric", "n", "mean", "std", "low", "high"), rows)
        flat = {f"{s.metric}_{name}": getattr(s, name) for s in summaries for name in ("mean", "std")}
        write_json(folder / "metrics.json", {"n_seeds": len(seeds), **flat})
        for s in summaries:
            click.echo(f"{s.metric:<24}{s.mean:.4f} ± {s.std:.4f}, 95 % {s.low:.4f} to {s.high:.4f}, {s.n} seeds")


def shown(metric: str) -> bool:
    """Whether a metric is one of the model, at any level."""
    return metric.endswith(SHOWN) and not metric.startswith(TAKEN)


if __name__ == "__main__":
    main()
