"""Measures seconds and memory of the whole command `select` over vectors on disk, beside bare FAISS on the same rows.

The rows are a seeded mixture of Gaussians on the sphere, float32, in parts of half a million, in a temporary folder.
Memory is that of the command's process while it runs: VmHWM, the peak of all its pages, and the peak of RssAnon, those
that no file stands behind. The floor is FAISS's k-means on its own sample (256 rows a centroid) and one exact search
for the nearest centroid of every row, which is mapped, in a process of its own. Methods that need the vectors in memory
must refuse in one line. Exits with 1 over 6 GB, or where a command ends otherwise than it should.

    python -m benchmarks.ten_million                     # 10 million x 128: 5.1 GB of disk
    python -m benchmarks.ten_million --rows 1000000
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import faiss
import numpy as np

from benchmarks.select import GAUSSIANS, D, mixture
from pipeline.base import rng

PART, BUDGET, ITERATIONS = 500_000, 1_000, 10
LIMIT_MB = 6_000
SETS = (f"select.budget={BUDGET}", f"select.auto.iterations={ITERATIONS}", f"select.kmeans.iterations={ITERATIONS}")
SETS += ("select.kmeans.restarts=1", "machine.vectors_mb=0")
CASES = ("random", "kmeans", "auto", "usl", "typiclust")
REFUSED = ("usl", "typiclust")


def write(folder: Path, rows: int) -> None:
    centres = rng.stream(0, "bench", "many").standard_normal((GAUSSIANS, D), np.float32)
    for number, start in enumerate(range(0, rows, PART)):
        x = mixture(centres, min(PART, rows - start), rng.stream(0, "bench", "many", number))
        np.save(folder / f"{number}.npy", x)


def bare(folder: Path) -> None:
    """FAISS alone: a sample, k-means, the nearest centroid of every row."""
    parts = [np.load(file, mmap_mode="r") for file in sorted(folder.iterdir())]
    each = -(-256 * BUDGET // len(parts))
    some = np.concatenate([part[:: max(1, len(part) // each)] for part in parts])
    means = faiss.Kmeans(D, BUDGET, niter=ITERATIONS, spherical=True, seed=0, min_points_per_centroid=1)
    means.train(some)
    for part in parts:
        for start in range(0, len(part), 65_536):
            means.index.search(np.ascontiguousarray(part[start : start + 65_536]), 1)


def watched(command: list[str]) -> tuple[int, str, float, float, float, float]:
    """Exit code, last line, seconds, processor seconds, and the peaks in MB of all pages and of anonymous ones."""
    started, used, peak, anonymous = time.perf_counter(), children(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        while process.poll() is None:
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            if "VmHWM" in lines:  # else it has just ended
                peak = max(peak, int(lines["VmHWM"].split()[0]) / 1024)
                anonymous = max(anonymous, int(lines["RssAnon"].split()[0]) / 1024)
            time.sleep(0.05)
        said = process.stdout.read().splitlines()
    return (
        process.returncode,
        said[-1] if said else "",
        time.perf_counter() - started,
        children() - used,
        peak,
        anonymous,
    )


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@click.command(help=__doc__)
@click.option("--rows", default=10_000_000, show_default=True)
@click.option("--method", "methods", multiple=True, help=f"Only these, of {', '.join(CASES)}.")
@click.option("--bare", "floor", type=click.Path(path_type=Path), hidden=True)
def main(rows: int, methods: tuple[str, ...], floor: Path | None) -> None:
    """See the module's docstring, which is the command's help."""
    if floor is not None:
        bare(floor)
        return
    print(f"{rows:,} x {D} float32, B = {BUDGET:,}, {ITERATIONS} iterations; at most {LIMIT_MB:,} MB")
    print(f"{'case':16}{'seconds':>9}{'processor':>11}{'of bare':>9}{'peak MB':>9}{'anonymous':>11}", flush=True)
    broken = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "vectors"
        folder.mkdir()
        write(folder, rows)
        _, _, seconds, bare_used, peak, anonymous = watched(
            [sys.executable, "-m", __spec__.name, "--bare", str(folder)]
        )
        print(f"{'bare FAISS':16}{seconds:9.1f}{bare_used:11.1f}{'':9}{peak:9.0f}{anonymous:11.0f}", flush=True)
        for method in methods or CASES:
            sets = [word for item in (*SETS, f"select.method={method}") for word in ("--set", item)]
            out = ["--vectors", str(folder), "--out", str(Path(made) / method)]
            code, said, seconds, used, peak, anonymous = watched([sys.executable, "-m", "stages.select", *sets, *out])
            numbers = f"{seconds:9.1f}{used:11.1f}{used / bare_used:9.2f}{peak:9.0f}{anonymous:11.0f}"
            print(f"{method:16}{numbers}  {said if code else ''}", flush=True)
            broken += [method] if bool(code) != (method in REFUSED) or peak > LIMIT_MB else []
    if broken:
        sys.exit(f"over the limit, or not as expected: {', '.join(broken)}")


if __name__ == "__main__":
    main()
