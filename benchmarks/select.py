"""Selection of 60,000 vectors of 128: seconds and peak memory of every selector, beside bare FAISS calls in this run.

Each line is a process of its own, so its peak memory is its own. Selectors run with the values of params.yaml. The
command ends with exit code 1 where a selector breaks a limit.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np

from pipeline import rng
from pipeline.params import Params
from pipeline.select import SELECTORS

N, D, GAUSSIANS = 60_000, 128, 1_000
MOST_SECONDS, MOST_MB = 20, 1_000
BUDGETS = (40, 400)
FLOORS = ("faiss.knn, k = 20", "faiss.knn, k = 400", "faiss.Kmeans, k = 40", "faiss.Kmeans, k = 400")


def vectors():
    """A seeded mixture of Gaussians on the sphere."""
    chance = rng.stream(0, "bench", "select")
    centres = chance.standard_normal((GAUSSIANS, D), np.float32)
    x = centres[chance.integers(GAUSSIANS, size=N)]
    x += chance.standard_normal((N, D), np.float32) / 2
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cases():
    file = Path("params.yaml")
    params = Params.read(file)
    block = params.block("select.usl", SELECTORS["usl"])
    found = dict.fromkeys(FLOORS)
    for budget in BUDGETS:
        for name, made in sorted(SELECTORS.items()):
            found[f"{name}, B = {budget}"] = (params.block(f"select.{name}", made), budget)
        found[f"usl, B = {budget}, 400 neighbours"] = (block.model_copy(update={"neighbours": 400}), budget)
    return found


def run(case):
    """Runs one case in this process and prints its seconds and peak memory as JSON."""
    work, x = cases()[case], vectors()
    started = time.perf_counter()
    if work is not None:
        selector, budget = work
        assert len(selector.select(x, budget, 0).rows) == budget
    elif case.startswith("faiss.knn"):
        faiss.knn(x, x, int(case.split()[-1]))
    else:
        lloyd = faiss.Kmeans(D, int(case.split()[-1]), niter=20, max_points_per_centroid=N, min_points_per_centroid=1)
        lloyd.train(x)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main():
    print(f"{N:,} vectors of {D}; a selector may take {MOST_SECONDS} s and {MOST_MB:,} MB")
    print(f"{'case':34}{'seconds':>9}{'peak MB':>9}")
    broken = []
    for case in cases():
        command = [sys.executable, "-m", "benchmarks.select", case]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds, peak_mb = json.loads(done.stdout)
        over = case not in FLOORS and (seconds > MOST_SECONDS or peak_mb > MOST_MB)
        print(f"{case:34}{seconds:9.1f}{peak_mb:9.0f}{'  over the limit' if over else ''}", flush=True)
        broken += [case] if over else []
    if broken:
        sys.exit(f"over the limit: {'; '.join(broken)}")


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
