"""Propagation over a run's vectors: budgets and seeds, beside a linear probe and random picks, and what is lost where.

Needs the run's `data/ingest`, `data/embed` and `data/graph`. Each case is a JSON record below `propagation/` of the run
and is not computed again. Picks are those of `auto`; test answers are read for the score alone.

    python -m benchmarks.propagation runs/fashion
    python -m benchmarks.propagation runs/fashion --set train.propagate.prior=uniform --name uniform
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.evaluate.accuracy import confusion, recall, top1
from pipeline.evaluate.metrics import encode, finest
from pipeline.evaluate.propagated import predictions
from pipeline.graph.affinity import Affinity
from pipeline.graph.head import head_of
from pipeline.graph.prior import read_shares
from pipeline.graph.propagation import PropagateParams, propagate
from pipeline.select.methods import SELECTORS
from pipeline.select.methods.auto import Auto
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool

BUDGETS = (10, 20, 40, 100, 200)


class Run:
    """The vectors, graph and answers of a run."""

    def __init__(self, folder: Path, params: Params) -> None:
        data = folder / "data"
        self.train, self.test = Embeddings.read(data / "embed/train"), Embeddings.read(data / "embed/test")
        self.neighbours = Neighbours.read(data / "graph", len(self.train.keys))
        self.affinity = Affinity.of(self.neighbours, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        answer = finest(Labels.read(data / "ingest/answers.csv"))
        self.names = sorted(set(answer.values()))
        number = {name: i for i, name in enumerate(self.names)}
        self.y, self.truth = encode(self.train.keys, answer, number), encode(self.test.keys, answer, number)
        self.params = params.block("train.propagate", PropagateParams)
        search = params.stage("select", SelectParams, SELECTORS).search
        self.pool, self.auto = Pool.of(self.train.vectors, search), params.block("select.auto", Auto)

    def picks(self, how: str, budget: int, seed: int) -> np.ndarray:
        if how == "random":
            return np.sort(rng.stream(seed, "benchmark", budget).choice(len(self.y), budget, replace=False))
        return np.sort(self.auto.select(self.pool, budget, seed).rows)

    def case(self, how: str, budget: int, seed: int) -> dict[str, Any]:
        """Accuracies of one set of picks, and what was said without answers."""
        rows = self.picks(how, budget, seed)
        labels, rest = self.y[rows], np.setdiff1d(np.arange(len(self.y)), rows)
        start = time.perf_counter()
        known = read_shares(self.params.prior, self.names)
        result = propagate(self.train.vectors, self.affinity, rows, labels, len(self.names), self.params, known)
        seconds = time.perf_counter() - start
        head = head_of(result, self.train.vectors, self.names, self.neighbours.rows.shape[1])
        predicted = predictions(head, self.test.vectors, torch.device("cpu"))
        number, confidence = (best[:, 0] for best in result.best(self.train.vectors))
        probed = result.probed(self.test.vectors).argmax(axis=1)
        return {
            "picks": how,
            "budget": budget,
            "seed": seed,
            "classes": len(np.unique(labels)),
            "test": top1(self.truth, predicted),
            "test_macro": float(np.nanmean(recall(confusion(self.truth, predicted, len(self.names))))),
            "train": top1(self.y[rest], number[rest]),
            "probe": top1(self.truth, probed),
            "share": result.share,
            "estimate": result.estimate.top1,
            "low": result.estimate.low,
            "high": result.estimate.high,
            "at_least": result.estimate.at_least,
            "confidence": float(confidence[rest].mean()),
            "seconds": seconds,
        }


def summary(cases: list[dict[str, Any]]) -> str:
    """A row of the table: means over the seeds, in per cent."""
    mean = {name: 100 * np.mean([case[name] for case in cases]) for name in ("test", "test_macro", "train", "probe")}
    std = 100 * np.std([case["test"] for case in cases], ddof=1) if len(cases) > 1 else 0.0
    held = np.mean([case["low"] <= case["train"] <= case["high"] for case in cases])
    error = 100 * np.mean([abs(case["estimate"] - case["train"]) for case in cases])
    classes, seconds = (np.mean([case[name] for case in cases]) for name in ("classes", "seconds"))
    return (
        f"| {cases[0]['picks']} | {cases[0]['budget']} | {len(cases)} | {mean['test']:.1f} ± {std:.1f} | "
        f"{mean['test_macro']:.1f} | {mean['train']:.1f} | {mean['probe']:.1f} | {classes:.1f} | {error:.1f} | "
        f"{100 * held:.0f} % | {seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="default", help="of the records' folder")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--picks", nargs="+", default=["auto", "random"], choices=["auto", "random"])
    options = parser.parse_args()
    run = Run(options.run, Params.read(options.run / "params.yaml", options.sets))
    folder = options.run / "propagation" / options.name
    folder.mkdir(parents=True, exist_ok=True)
    names = ("picks", "labels", "seeds", "test top-1 %", "macro", "images without label", "linear probe", "classes")
    names += ("error of the estimate", "interval holds", "seconds")
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for how in options.picks:
        for budget in options.budgets:
            cases = []
            for seed in options.seeds:
                file = folder / f"{how}-{budget}-{seed}.json"
                if not file.exists():
                    file.write_text(json.dumps(run.case(how, budget, seed), indent=1))
                cases.append(json.loads(file.read_text()))
            print(summary(cases), flush=True)


if __name__ == "__main__":
    main()
