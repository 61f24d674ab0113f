"""Measures seconds and peak memory of every selector in one run, beside the bare cost of the work that none can avoid.

The floor is one exact search for the 20 nearest neighbours of every vector and one FAISS k-means on the same data. Each
line is measured in its own process, so that its peak memory is its own. Selectors run with the values of params.yaml;
the seconds do not include the quality figures that the stage adds to its record. --large uses the size of ImageNet and,
for USL, the paper's values for ImageNet. --growth uses four sizes. --out-of-core selects from float16 parts in a
temporary folder, beside one bare pass that reads them and multiplies with the centroids. If scikit-activeml is
installed, its selectors run too. The table exits as `benchmarks.ledger` says, the others with 1 if a limit is exceeded.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import faiss
import numpy as np

from benchmarks import ledger, peers
from benchmarks.ledger import Figure
from pipeline.artifacts.on_disk import Parts
from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.select import by_cluster
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.select.pool import Outputs, Pool
from pipeline.select.selector import Picks
from pipeline.vectors.clustering import KMeansParams, learn

N, D, GAUSSIANS, CLASSES = 60_000, 128, 1_000, 10
BUDGETS = (40, 400)
SHORT = 10  # seconds
FLOOR = ("exact search, k = 20", "faiss.Kmeans, k = ")
FAST = ("usl", "typiclust", "probcover", "kmeans", "auto")  # at most 1.5 times the floor and 1 GB
SLOW = ("uslt", "activeft", "maxherding", "rdss", "kmedoids")
LEAST = {**dict.fromkeys(FAST, 1 / 1.5), **dict.fromkeys(SLOW, 0.07)}  # the floor as a share of the seconds; others 0.4
LARGE_N, LARGE_BUDGET, LARGE = 1_281_167, 12_820, ("usl", "typiclust", "probcover", "auto")
LARGE_SECONDS, LARGE_MB = 900, 4_000
GROWTH_N, GROWTH_BUDGET = (20_000, 60_000, 200_000, 600_000), 400
STORED_N, STORED_D, STORED_PARTS, STORED_BUDGET = 5_000_000, 64, 20, 1_000
STORED_MB, STORED_FLOORS, STORED_MEMORY = 1_000, 1.5, ["select.search.memory_mb=256"]
TIGHT_N, TIGHT_K, TIGHT = 500_000, 250, KMeansParams(iterations=20, restarts=1, spherical=True)
IMAGENET = ["select.usl.horizon={kind: nearest, value: 128}", "select.usl.momentum=0", "select.usl.rounds=2"]
IMAGENET += ["select.usl.weight=1.5", "select.usl.iterations=10", "select.usl.restarts=1"]


def mixture(centres: np.ndarray, n: int, chance: np.random.Generator) -> np.ndarray:
    """Rows of Gaussians around the centres, on the sphere."""
    x = centres[chance.integers(len(centres), size=n)]
    x += chance.standard_normal(x.shape, np.float32) / 2
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def vectors(n: int) -> np.ndarray:
    chance = rng.stream(0, "bench", "select")
    return mixture(chance.standard_normal((GAUSSIANS, D), np.float32), n, chance)


def stored(folder: Path, n: int) -> None:
    """The same mixture in fewer dimensions, as float16, in parts that are made one at a time."""
    centres = rng.stream(0, "bench", "stored").standard_normal((GAUSSIANS, STORED_D), np.float32)
    for part in range(STORED_PARTS):
        x = mixture(centres, n // STORED_PARTS, rng.stream(0, "bench", "stored", part))
        np.save(folder / f"{part}.npy", x.astype(np.float16))


def select_stored(folder: str) -> dict:
    """`auto` on the parts, in this process: wall and CPU seconds of each step, and peak memory."""
    params, steps = Params.read(Path("params.yaml"), STORED_MEMORY), {}

    def timed(name: str, step):
        def inner(*given):
            started, used = time.perf_counter(), time.process_time()
            found = step(*given)
            steps[name] = (time.perf_counter() - started, time.process_time() - used)
            return found

        return inner

    by_cluster.learn = timed("sample and training", by_cluster.learn)
    by_cluster.representatives = timed("assignment", by_cluster.representatives)
    by_cluster.covering = timed("order of the picks", by_cluster.covering)
    parts = timed("checks", Parts.open)(Path(folder))
    pool = Pool.of(parts, params.stage("select", SelectParams, SELECTORS).search)
    picks: Picks = params.block("select.auto", SELECTORS["auto"]).select(pool, STORED_BUDGET, 0)
    assert len(picks.rows) == STORED_BUDGET
    return {"steps": steps, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def pass_stored(folder: str) -> dict:
    """One bare pass in this process: blocks are read, converted to float32 and multiplied with as many centroids."""
    centroids = rng.stream(0, "bench", "centroids").standard_normal((STORED_D, STORED_BUDGET), np.float32)
    memory = np.empty((8192, STORED_BUDGET), np.float32)
    started, used = time.perf_counter(), time.process_time()
    for file in sorted(Path(folder).iterdir()):
        with file.open("rb") as handle:
            np.lib.format.read_magic(handle)
            np.lib.format.read_array_header_1_0(handle)
            while (block := np.fromfile(handle, np.float16, len(memory) * STORED_D)).size:
                x = block.reshape(-1, STORED_D).astype(np.float32)
                np.matmul(x, centroids, out=memory[: len(x)])
    return {"seconds": time.perf_counter() - started, "processor": time.process_time() - used}


def tightness(folder: str) -> dict:
    """The mean squared distance to centroids learnt from the rows that fit 64 MB, and from all rows."""
    parts = Parts.open(Path(folder))
    found = {}
    for name, x, memory_mb in (("sample", parts, 64), ("all", parts[:], 4_000)):
        centroids = learn(x, TIGHT_K, TIGHT, 0, memory_mb)
        found[name] = sum(float(gap.sum(dtype=float)) for _, _, gap in centroids.assign(parts)) / len(parts)
    return found


def out_of_core() -> list[str]:
    takes = STORED_N * STORED_D * 4 / 2**20
    print(
        f"{STORED_N:,} x {STORED_D} float16 in {STORED_PARTS} parts, auto, B = {STORED_BUDGET:,}, {STORED_MEMORY[0]}; "
        f"{STORED_FLOORS} times the bare pass and training, {STORED_MB:,} MB"
    )
    with tempfile.TemporaryDirectory() as folder:
        stored(Path(folder), STORED_N)
        floor = in_process("pass_stored", folder)
        found = in_process("select_stored", folder)
    print(f"{'step':34}{'seconds':>9}{'processor':>11}")
    print(f"{'bare pass':34}{floor['seconds']:9.1f}{floor['processor']:11.1f}")
    for name, (seconds, processor) in found["steps"].items():
        print(f"{name:34}{seconds:9.1f}{processor:11.1f}")
    trained = found["steps"]["sample and training"][1]
    ratio = (sum(processor for _, processor in found["steps"].values()) - trained) / floor["processor"]
    print(f"all but training, of the bare pass (processor) {ratio:.2f}")
    print(f"peak {found['mb']:.0f} MB; the float32 matrix alone {takes:.0f} MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        stored(Path(folder), TIGHT_N)
        tight = in_process("tightness", folder)
    print(
        f"k-means objective, {TIGHT_N:,} rows, {TIGHT_K} clusters: learnt from a sample {tight['sample']:.5f}, "
        f"from all {tight['all']:.5f}, ratio {tight['sample'] / tight['all']:.4f}"
    )
    over = {"time": ratio > STORED_FLOORS, "memory": found["mb"] > STORED_MB}
    return [f"out of core: {name}" for name, broken in over.items() if broken]


def run(case: str, n: int, budget: int, sets: list[str]) -> dict:
    """One case in this process: seconds, peak memory on top of the vectors, and what the selector found."""
    params = Params.read(Path("params.yaml"), sets)
    x = vectors(n)
    pool = Pool.of(x, params.stage("select", SelectParams, SELECTORS).search)
    weight = rng.stream(0, "bench", "outputs").standard_normal((CLASSES, D), np.float32)
    pool = replace(pool, outputs=Outputs(x, 4 * weight, np.zeros(CLASSES, np.float32)))
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which making the vectors had raised
    found: dict = {}
    started = time.perf_counter()
    if case == FLOOR[0]:
        for _ in pool.space.neighbours(20).knn(20):
            pass
    elif case.startswith("faiss.knn"):
        faiss.knn(x, x, 20)
    elif case.startswith(FLOOR[1]):
        faiss.Kmeans(D, budget, niter=20, max_points_per_centroid=n, min_points_per_centroid=1).train(x)
    elif case.endswith("scikit-activeml"):
        assert len(peers.picks(case.split(",")[0], x, budget)) == budget
    else:
        picks = params.block(f"select.{case}", SELECTORS[case]).select(pool, budget, 0)
        assert len(picks.rows) == budget
        found = dict(picks.about)
    seconds = time.perf_counter() - started
    peak = memory_mb("VmHWM")
    return {"seconds": seconds, "mb": peak, "beyond_mb": peak - before, "found": found}


def memory_mb(name: str) -> float:
    """MB of memory of this process: VmRSS is the present value, VmHWM the maximum so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def measure(case: str, n: int, budget: int, sets: tuple[str, ...] = ()) -> dict:
    """One case in its own process; the best of three where it is short, as a machine's hiccups are."""
    found = in_process("run", case, n, budget, list(sets))
    again = [in_process("run", case, n, budget, list(sets)) for _ in range(2)] if found["seconds"] < SHORT else []
    return min([found, *again], key=lambda one: one["seconds"])


def in_process(function: str, *given) -> dict:
    """What a function of this file returns, run in its own process."""
    command = [sys.executable, "-m", "benchmarks.select", "--one", json.dumps([function, *given])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{function} {given[0]}: {done.stderr.splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


@click.command(help=__doc__)
@click.option("--one", hidden=True)
@click.option("--large", is_flag=True, help=f"{LARGE_N:,} vectors, {LARGE_BUDGET:,} picks.")
@click.option("--growth", is_flag=True, help="How the time grows with the number of vectors.")
@click.option("--out-of-core", "on_disk", is_flag=True, help=f"{STORED_N:,} vectors in parts on disk.")
@click.option("--method", "methods", multiple=True, help="Only these.")
def main(one: str | None, large: bool, growth: bool, on_disk: bool, methods: tuple[str, ...]) -> None:
    """See the module's docstring, which is the command's help."""
    if one is not None:
        function, *given = json.loads(one)
        print(json.dumps(globals()[function](*given)))
        return
    if on_disk:
        broken = out_of_core()
    elif large or growth:
        broken = grow(methods or LARGE) if growth else at_large(methods or LARGE)
    else:
        sys.exit(ledger.close("select", table(methods)))
    if broken:
        sys.exit(f"over the limit: {'; '.join(broken)}")


def table(methods: tuple[str, ...]) -> list[Figure]:
    print(f"{N:,} vectors of {D}; the floor is one exact search and one k-means")
    print(f"{'case':34}{'seconds':>9}{'of floor':>9}{'peak MB':>9}", flush=True)
    search, peer = measure(FLOOR[0], N, 1), measure("faiss.knn, k = 20", N, 1)
    print(f"{FLOOR[0]:34}{search['seconds']:9.1f}{'':9}{search['mb']:9.0f}")
    print(f"{'faiss.knn, k = 20':34}{peer['seconds']:9.1f}{'':9}{peer['mb']:9.0f}", flush=True)
    figures = []
    for budget in BUDGETS:
        lloyd = measure(f"{FLOOR[1]}{budget}", N, budget)
        print(f"{FLOOR[1] + str(budget):34}{lloyd['seconds']:9.1f}{'':9}{lloyd['mb']:9.0f}", flush=True)
        floor = search["seconds"] + lloyd["seconds"]
        for name in methods or sorted(SELECTORS):
            found = measure(name, N, budget)
            seconds, case = found["seconds"], f"{name}, B = {budget}"
            print(f"{case:34}{seconds:9.1f}{seconds / floor:9.2f}{found['mb']:9.0f}", flush=True)
            if seconds < 1:  # as long as a hiccup of the machine
                continue
            figures.append(Figure(f"{case}, of the floor", floor / seconds, LEAST.get(name, 0.4)))
            if name in FAST:
                figures.append(Figure(f"{case}, of 1,000 MB", 1000 / found["mb"], 1.0))
            if name in peers.SELECTORS and peers.installed("skactiveml"):
                other = measure(f"{peers.SELECTORS[name]}, scikit-activeml", N, budget)["seconds"]
                figures.append(Figure(f"{case}, of scikit-activeml", other / seconds))
    return figures


def at_large(methods: tuple[str, ...]) -> list[str]:
    print(f"{LARGE_N:,} vectors of {D}, B = {LARGE_BUDGET:,}; {LARGE_SECONDS} s, {LARGE_MB:,} MB beyond the vectors")
    print(f"{'case':20}{'seconds':>9}{'beyond MB':>11}  found", flush=True)
    broken = []
    for name in methods:
        found = measure(name, LARGE_N, LARGE_BUDGET, tuple(IMAGENET))
        over = found["seconds"] > LARGE_SECONDS or found["beyond_mb"] > LARGE_MB
        mark = "  over the limit" if over else ""
        print(
            f"{name:20}{found['seconds']:9.0f}{found['beyond_mb']:11.0f}  {json.dumps(found['found'])}{mark}",
            flush=True,
        )
        broken += [name] if over else []
    return broken


def grow(methods: tuple[str, ...]) -> list[str]:
    print(f"seconds, B = {GROWTH_BUDGET}; the exponent is that of n in a fit by least squares of their logarithms")
    print(f"{'case':20}" + "".join(f"{n:>10,}" for n in GROWTH_N) + f"{'exponent':>10}", flush=True)
    for name in methods:
        seconds = [measure(name, n, GROWTH_BUDGET)["seconds"] for n in GROWTH_N]
        exponent = np.polyfit(np.log(GROWTH_N), np.log(seconds), 1)[0]
        print(f"{name:20}" + "".join(f"{value:10.1f}" for value in seconds) + f"{exponent:10.2f}", flush=True)
    return []


if __name__ == "__main__":
    main()
