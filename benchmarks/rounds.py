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

from pipeline.base.params import Params
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Outputs, Pool
from pipeline.study.score import Data, Scorer, Spread

FIRST, MORE = 20, (20, 20, 40)
HOW = ("auto", "uherding", "maxherding", "margin", "random")


def rounds(scorer: Scorer, pool: Pool, params: Params, how: str, seed: int) -> Iterator[dict[str, Any]]:
    """A record after each round."""
    selector = params.block(f"select.{how}", SELECTORS[how])
    rows = np.sort(params.block("select.auto", SELECTORS["auto"]).select(pool, FIRST, seed).rows)
    found = scorer.spread(rows)
    yield record(scorer, rows, found, how, seed)
    for count in MORE:
        result = found.result
        outputs = Outputs(pool.x, result.weight / result.temperature, result.bias / result.temperature)
        later = replace(pool, labelled=rows, outputs=outputs)
        rows = np.sort(np.concatenate([rows, selector.select(later, count, seed).rows]))
        found = scorer.spread(rows)
        yield record(scorer, rows, found, how, seed)


def record(scorer: Scorer, rows: np.ndarray, found: Spread, how: str, seed: int) -> dict[str, Any]:
    measured = scorer.of_spread(rows, found)
    scores = {"rest": measured["unlabelled_top1"], "test": measured["top1"]}
    return {"how": how, "seed": seed, "labels": len(rows), **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(9))
    parser.add_argument("--how", nargs="+", default=HOW, choices=sorted(SELECTORS))
    options = parser.parse_args()
    params = Params.read(options.run / "params.yaml")
    data, folder = Data.read(options.run / "data"), options.run / "rounds"
    scorer = Scorer(data, data.neighbours(), params)
    pool = Pool.of(data.train.vectors, params.stage("select", SelectParams, SELECTORS).search)
    folder.mkdir(exist_ok=True)
    print("| picks | labels | seeds | images without a label | test images |\n|---|---|---|---|---|")
    for how in options.how:
        records = []
        for seed in options.seeds:
            file = folder / f"{how}-{seed}.json"
            if not file.exists():
                file.write_text(json.dumps([*rounds(scorer, pool, params, how, seed)]))
            records.append(json.loads(file.read_text()))
        for of_round in zip(*records, strict=True):
            rest, test = (100 * np.array([record[name] for record in of_round]) for name in ("rest", "test"))
            spreads = [f"{values.mean():.1f} ± {values.std():.1f}" for values in (rest, test)]
            print(f"| {how} | {of_round[0]['labels']} | {len(of_round)} | {spreads[0]} | {spreads[1]} |", flush=True)


if __name__ == "__main__":
    main()
