"""Measures what selection and semi-supervised training gain on Fashion-MNIST: 40 labels, five seeds, one backbone.

It needs the run that `make fashion` leaves. For each seed, each arm selects, labels, trains and evaluates with the
commands of the stages. A case that has its metrics already is not computed again. Prints the table of
docs/results/fashion.md, with Student's 95 % interval of the differences between arms, paired by seed.

    python -m benchmarks.fashion runs/fashion
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy import stats

ARMS = {
    "random + supervised": ("select.method=random", "train.method=supervised"),
    "usl + fixmatch": ("select.method=usl", "train.method=fixmatch", "train.targets=own"),
}
SEEDS = range(5)


def case(run: Path, arm: str, seed: int) -> dict[str, float]:
    """The metrics of one arm under one seed."""
    out = Path("seeds") / f"{arm.replace(' + ', '-')}-{seed}"  # relative to the run's folder
    if not (run / out / "evaluate" / "metrics.json").exists():
        sets = [part for item in (f"seed={seed}", *ARMS[arm], "evaluate.random_draws=2") for part in ("--set", item)]
        label = str(out / "label" / "labels.csv")
        for stage, options in {
            "select": [],
            "label": ["--select", str(out / "select")],
            "train": ["--labels", label],
            "evaluate": ["--labels", label, "--model", str(out / "train")],
        }.items():
            command = [sys.executable, "-m", f"stages.{stage}", "--out", str(out / stage), *options, *sets]
            subprocess.run(command, cwd=run, check=True, env={**os.environ, "PYTHONPATH": ""})
    return json.loads((run / out / "evaluate" / "metrics.json").read_text())


def interval(values: np.ndarray) -> str:
    """Mean and 95 % interval of the mean, in percentage points."""
    mean, error = values.mean(), stats.sem(values)
    reach = stats.t.ppf(0.975, len(values) - 1) * error
    return f"{mean:+.1f} ({mean - reach:+.1f} to {mean + reach:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the run, as a rule runs/fashion")
    run = parser.parse_args().run
    found = {arm: [case(run, arm, seed) for seed in SEEDS] for arm in ARMS}
    top1 = {arm: 100 * np.array([m["top1"] for m in metrics]) for arm, metrics in found.items()}
    print("| arm | top-1 %, mean ± std | each seed | classes with a label | to random + supervised, 95 % |")
    print("|---|---|---|---|---|")
    for arm, values in top1.items():
        covered = " ".join(str(m["classes_covered"]) for m in found[arm])
        each = " ".join(f"{value:.1f}" for value in values)
        gain = "" if arm == "random + supervised" else interval(values - top1["random + supervised"])
        print(f"| {arm} | {values.mean():.1f} ± {values.std(ddof=1):.1f} | {each} | {covered} | {gain} |")


if __name__ == "__main__":
    main()
