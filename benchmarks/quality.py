"""Compares selectors on vectors with answers, by the test accuracy of a linear probe that is trained on their picks.

A set is an .npz with x, y (to pick from) and xt, yt (to score on), or a finished run of the chain. Every selector runs
with the values of params.yaml and ten seeds, `random` with twenty. Random draws and stratified picks (an oracle, which
knows the answers) are measured beside them. Each result is a line of <records>/<set>.jsonl, so nothing is computed
twice; lines with other params or vectors are ignored. --table writes the page of all recorded sets.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from scipy.stats import t as student

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.evaluate.accuracy import balance, covered, top1
from pipeline.evaluate.metrics import encode, finest
from pipeline.evaluate.probes import linear_probe
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Pool, Space

WARM = ("margin", "entropy", "badge", "uherding", "dropquery")  # they need a trained model
ORACLE = "stratified (oracle)"
BUDGETS = (10, 20, 40, 100)
SEEDS, DRAWS = 10, 20


@dataclass(frozen=True)
class Set:
    """Vectors and answers (class numbers) of the rows to pick from and of the rows to score on."""

    name: str
    x: np.ndarray
    y: np.ndarray
    xt: np.ndarray
    yt: np.ndarray
    stored: dict[tuple[str, int, int], np.ndarray]  # picks of others, by method, budget and seed

    @property
    def digest(self) -> str:
        """A digest that differs between different vectors."""
        return hashlib.sha256(b"".join(part.tobytes() for part in (self.x, self.y, self.xt, self.yt))).hexdigest()[:16]


def read_set(path: Path, name: str) -> Set:
    if path.is_dir():
        answers = finest(Labels.read(path / "data/ingest/answers.csv"))
        number = {label: i for i, label in enumerate(sorted(set(answers.values())))}
        train, test = (Embeddings.read(path / "data/embed" / split) for split in ("train", "test"))
        y, yt = (encode(part.keys, answers, number) for part in (train, test))
        return Set(name, train.vectors[y >= 0], y[y >= 0], test.vectors[yt >= 0], yt[yt >= 0], {})
    with np.load(path) as file:
        x, xt = (unit(file[key].astype(np.float32)) for key in ("x", "xt"))
        stored = {}
        for key in file.files:
            if key.startswith("picks/"):
                _, method, budget, seed = key.split("/")
                stored[f"{method}, authors' code", int(budget), int(seed)] = file[key].astype(np.int64)
        return Set(name, x, file["y"].astype(np.int64), xt, file["yt"].astype(np.int64), stored)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def stratified(y: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """The same number of rows from each class, and the remainder from random classes; it needs the answers."""
    chance = rng.stream(seed, "bench", "stratified")
    order = chance.permutation(len(y))
    turn = np.empty(len(y), np.int64)  # how many rows of the same class come before a row
    for label in np.unique(y):
        own = order[y[order] == label]
        turn[own] = np.arange(len(own))
    return order[np.lexsort((chance.random(len(y)), turn[order]))][:budget]


def jobs(
    data: Set, params: Params, methods: tuple[str, ...], budgets: tuple[int, ...]
) -> Iterator[tuple[str, str, int, int]]:
    """Method, digest of its params, budget and seed, in an order that completes rows of the table early."""
    for name in [*(methods or (*sorted(set(SELECTORS) - set(WARM)), ORACLE))]:
        block = params.block(f"select.{name}", SELECTORS[name]).model_dump_json() if name in SELECTORS else ""
        digest = hashlib.sha256(block.encode()).hexdigest()[:16]
        for budget in budgets:
            for seed in range(DRAWS if name in ("random", ORACLE) else SEEDS):
                yield name, digest, budget, seed
    for name, budget, seed in sorted(data.stored):
        if budget in budgets and not methods:
            yield name, "", budget, seed


@click.command(help=__doc__)
@click.argument("path", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--name", help="Of the set.  [the file's or folder's own]")
@click.option("--method", "methods", multiple=True, help="Only these.")
@click.option("--budget", "budgets", multiple=True, type=int, default=BUDGETS, show_default=True)
@click.option("--params", "file", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True)
@click.option("--records", type=click.Path(path_type=Path), default=Path("runs/selection"), show_default=True)
@click.option("--table", type=click.Path(path_type=Path), help="Write the page of all records there.")
@click.option("--note", default="", help="A paragraph for the page: commit, hardware, what the sets are.")
def main(
    path: Path | None, name: str | None, methods: tuple[str, ...], budgets: tuple[int, ...], file: Path, records: Path,
    table: Path | None, note: str,
) -> None:  # fmt: skip
    """See the module's docstring, which is the command's help."""
    if path is not None:
        measure(read_set(path, name or path.stem), Params.read(file), methods, budgets, records)
    if table is not None:
        table.write_text(page(records, note), encoding="utf-8")


def measure(data: Set, params: Params, methods: tuple[str, ...], budgets: tuple[int, ...], records: Path) -> None:
    records.mkdir(parents=True, exist_ok=True)
    file = records / f"{data.name}.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(r["method"], r["params"], r["budget"], r["seed"]) for r in lines if r["vectors"] == data.digest}
    space = Space(data.x, params.stage("select", SelectParams, SELECTORS).search)
    for method, digest, budget, seed in jobs(data, params, methods, budgets):
        if (method, digest, budget, seed) in done or budget > len(data.x):
            continue
        started = time.perf_counter()
        if (method, budget, seed) in data.stored:
            rows = data.stored[method, budget, seed]
        elif method == ORACLE:
            rows = stratified(data.y, budget, seed)
        else:
            none = np.empty(0, np.int64)
            pool = Pool(space, none, np.zeros(len(data.x), bool))
            rows = params.block(f"select.{method}", SELECTORS[method]).select(pool, budget, seed).rows
        seconds = time.perf_counter() - started
        share = top1(data.yt, linear_probe(data.x[rows], data.y[rows], data.xt))
        found = {"method": method, "params": digest, "budget": budget, "seed": seed, "vectors": data.digest}
        found |= {"n": len(data.x), "d": data.x.shape[1], "classes": covered(data.y), "seconds": round(seconds, 2)}
        found |= {"top1": share, "covered": covered(data.y[rows]), "balance": balance(data.y[rows])}
        with file.open("a") as out:
            out.write(json.dumps(found) + "\n")
        print(f"{data.name} {method} {budget} {seed}: {100 * share:.1f} % in {seconds:.1f} s", flush=True)


def page(records: Path, note: str) -> str:
    text = ["# Selection: a linear probe on the picks", "", PREFACE, *(["", note] if note else [])]
    for file in sorted(records.glob("*.jsonl")):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [line for line in lines if line["vectors"] == lines[-1]["vectors"]]
        latest = {line["method"]: line["params"] for line in lines}
        kept = {(r["method"], r["budget"], r["seed"]): r for r in lines if r["params"] == latest[r["method"]]}
        text += ["", f"## {file.stem}: {lines[0]['n']:,} x {lines[0]['d']}, {lines[0]['classes']} classes", ""]
        text += table_of(kept)
    return "\n".join(text) + "\n"


def table_of(kept: dict[tuple[str, int, int], dict]) -> list[str]:
    budgets = sorted({budget for _, budget, _ in kept})
    cells: dict[str, dict[int, dict[int, dict]]] = {}
    for (method, budget, seed), record in kept.items():
        cells.setdefault(method, {}).setdefault(budget, {})[seed] = record

    def mean(method: str) -> float:
        found = [r["top1"] for by_seed in cells[method].values() for r in by_seed.values()]
        return float(np.mean(found)) if len(cells[method]) == len(budgets) else -1.0

    head = "| method | " + " | ".join(f"{budget} labels" for budget in budgets) + " | "
    head += " | ".join(f"auto less it, {budget}" for budget in budgets) + " | classes covered |"
    rows = [head, "|---" * (2 * len(budgets) + 2) + "|"]
    for method in sorted(cells, key=lambda name: (name == ORACLE, -mean(name))):
        shown, apart, reach = [], [], []
        for budget in budgets:
            own = cells[method].get(budget, {})
            shares = 100 * np.array([own[seed]["top1"] for seed in sorted(own)])
            spread = f" ± {shares.std(ddof=1):.1f}" if len(shares) > 1 else ""
            shown.append(f"{shares.mean():.1f}{spread}" if own else "")
            reach.append(f"{np.mean([record['covered'] for record in own.values()]):.1f}" if own else "")
            base = cells.get("auto", {}).get(budget, {})
            both = sorted(set(own) & set(base))
            gap = 100 * np.array([base[seed]["top1"] - own[seed]["top1"] for seed in both])
            if len(both) < 3 or method == "auto":
                apart.append("")
                continue
            half = student.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5
            apart.append(f"{gap.mean():+.1f} ({gap.mean() - half:+.1f} to {gap.mean() + half:+.1f})")
        rows.append(f"| {method} | {' | '.join(shown)} | {' | '.join(apart)} | {' / '.join(reach)} |")
    return rows


PREFACE = """Top-1 in per cent on the test rows of a logistic regression (C = 10, at most 1,000 steps) fitted on the
picks: mean and standard deviation over seeds, ten for each selector, twenty for random and stratified picks. "auto less
it": the mean difference over seeds, with a 95 % interval (Student's t, paired by seed). "authors' code" are picks that
were stored from the code of the papers' authors, of fewer seeds. Stratified picks need the answers and are no selector:
an oracle to stand beside. `python -m benchmarks.quality SET` measures, `--table docs/results/selection.md` writes this
page."""


if __name__ == "__main__":
    main()
