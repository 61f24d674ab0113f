"""Later rounds of labelling: 20 picks of `auto`, then 20, 20 and 40 by each selector, labels spread over the graph.

Needs `data/ingest`, `data/embed` and `data/graph` of the run. A seed's rounds are JSON records below its `rounds/`
and are not computed again. The model of a round is the linear probe that comes with propagation, as `stages.keep_round`
stores it; answers are read for the labels of the picks and for the score.

    python -m benchmarks.rounds runs/images
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.propagation import Run
from pipeline.base.params import Params
from pipeline.evaluate.accuracy import top1
from pipeline.evaluate.propagated import predictions
from pipeline.graph.head import head_of
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import Propagation, propagate
from pipeline.select.methods import SELECTORS
from pipeline.select.pool import Outputs

FIRST, MORE = 20, (20, 20, 40)
HOW = ("auto", "uherding", "maxherding", "margin", "random")


def rounds(run: Run, params: Params, how: str, seed: int) -> Iterator[dict[str, Any]]:
    """A record after each round."""
    selector = params.block(f"select.{how}", SELECTORS[how])
    rows = np.sort(run.auto.select(run.pool, FIRST, seed).rows)
    result = spread(run, rows)
    yield record(run, rows, result, how, seed)
    for count in MORE:
        outputs = Outputs(run.train.vectors, result.weight / result.temperature, result.bias / result.temperature)
        pool = replace(run.pool, labelled=rows, outputs=outputs)
        rows = np.sort(np.concatenate([rows, selector.select(pool, count, seed).rows]))
        result = spread(run, rows)
        yield record(run, rows, result, how, seed)


def record(run: Run, rows: np.ndarray, result: Propagation, how: str, seed: int) -> dict[str, Any]:
    head = head_of(result, run.train.vectors, run.names, run.neighbours.rows.shape[1])
    rest = np.setdiff1d(np.arange(len(run.y)), rows)
    return {
        "how": how,
        "seed": seed,
        "labels": len(rows),
        "rest": top1(run.y[rest], result.best(run.train.vectors)[0][rest, 0]),
        "test": top1(run.truth, predictions(head, run.test.vectors, torch.device("cpu"))),
    }


def spread(run: Run, rows: np.ndarray) -> Propagation:
    known = read_shares(run.params.prior, run.names)
    return propagate(run.train.vectors, run.affinity, rows, run.y[rows], len(run.names), run.params, known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(9))
    parser.add_argument("--how", nargs="+", default=HOW, choices=sorted(SELECTORS))
    options = parser.parse_args()
    params = Params.read(options.run / "params.yaml")
    run, folder = Run(options.run, params), options.run / "rounds"
    folder.mkdir(exist_ok=True)
    print("| picks | labels | seeds | images without a label | test images |\n|---|---|---|---|---|")
    for how in options.how:
        records = []
        for seed in options.seeds:
            file = folder / f"{how}-{seed}.json"
            if not file.exists():
                file.write_text(json.dumps([*rounds(run, params, how, seed)]))
            records.append(json.loads(file.read_text()))
        for of_round in zip(*records, strict=True):
            rest, test = (100 * np.array([record[name] for record in of_round]) for name in ("rest", "test"))
            spreads = [f"{values.mean():.1f} ± {values.std():.1f}" for values in (rest, test)]
            print(f"| {how} | {of_round[0]['labels']} | {len(of_round)} | {spreads[0]} | {spreads[1]} |", flush=True)


if __name__ == "__main__":
    main()
