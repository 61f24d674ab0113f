"""Measures images/s and MB/s of ingest, for shards written from files and for tars indexed in place, beside a floor.

The images are made here: JPEGs of smoothed noise, 400 x 300 pixels. The floor of writing is a bare decode of the same
files (at an eighth of the size, which still reads all bytes, as ingest does). The floor of indexing is to read the tars
and compute their SHA-256. Both use as many threads as ingest has workers. Rounds alternate between the cases, and the
best round of each counts. CPU time is that of all threads; other work on the machine changes it less than the wall
time. All files are in the page cache.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks import ledger
from benchmarks.ledger import Figure
from pipeline.base import rng
from pipeline.base.files import sha256
from pipeline.base.params import Params
from pipeline.ingest.run import Ingested, IngestParams, ingest
from pipeline.ingest.sources import SOURCES

DISTINCT, IMAGES, SHARD_IMAGES, ROUNDS = 100, 1_000, 100, 2
DECODE, DIGEST = "bare decode of the files", "bare read + SHA-256 of tars"
FIXED = ("ingest.mode=rgb", "ingest.size=224", f"ingest.shard_images={SHARD_IMAGES}")


def photographs(folder: Path) -> list[Path]:
    """A thousand files that are links to a hundred JPEGs; four fifths of them are for training."""
    chance = rng.stream(0, "bench", "ingest")
    made, files = [], []
    (folder / "made").mkdir()
    for number in range(DISTINCT):
        coarse = Image.fromarray(chance.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((400, 300), Image.Resampling.BICUBIC), np.float32)
        pixels = (smooth + chance.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        made.append(folder / "made" / f"{number}.jpg")
        Image.fromarray(pixels).save(made[-1], quality=92)
    for number in range(IMAGES):
        files.append(folder / "images" / ("test" if number % 5 == 0 else "train") / f"{number:06d}.jpg")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].hardlink_to(made[number % DISTINCT])
    return files


def ready(out: Path, *sets: str) -> Callable[[], Ingested]:
    """What `python -m stages.ingest` does, without the start of Python and the reading of params."""
    params = Params.read(Path("params.yaml"), (*FIXED, *sets))
    own, name = params.stage("ingest", IngestParams, SOURCES), params.method("ingest.source", SOURCES)
    return partial(ingest, own, params.block(f"ingest.{name}", SOURCES[name]), 0, out)


def decode(file: Path) -> None:
    image = Image.open(BytesIO(file.read_bytes()))
    image.draft(None, (1, 1))
    image.load()


def in_threads(work: Callable[[Path], object], files: list[Path], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, files))


@click.command(help=__doc__)
def main() -> None:
    """See the module's docstring, which is the command's help."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder)
        source = ("ingest.source=folder", f"ingest.folder.path={folder}/images")
        ready(folder / "out", *source, f"ingest.shards_dir={folder}/shards")()
        tars = sorted((folder / "shards").glob("*/*.tar"))
        place = ("ingest.source=shards", f"ingest.shards.path={tars[0].parent}")
        write = ready(folder / "again", *source, f"ingest.shards_dir={folder}/more")
        header = ready(folder / "place", *place, "ingest.shards.look=header")
        whole = ready(folder / "place", *place, "ingest.shards.look=decode")
        floors = {"shards from files": DECODE, "tars in place, header": DIGEST, "tars in place, decode": DECODE}
        cases: dict[str, Callable[[int], object]] = {
            DECODE: lambda n: in_threads(decode, files, n),
            "shards from files": lambda _: write(),
            DIGEST: lambda n: in_threads(sha256, tars, n),
            "tars in place, header": lambda _: header(),
            "tars in place, decode": lambda _: whole(),
        }
        num_bytes = sum(tar.stat().st_size for tar in tars)
        best: dict[tuple[str, int], tuple[float, float]] = {}
        for _ in range(ROUNDS):
            for workers in (1, 2):
                os.environ["SLURM_CPUS_PER_TASK"] = str(workers)  # ingest takes the number of its workers from it
                for case, work in cases.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    work(workers)
                    took = time.perf_counter() - wall, time.process_time() - cpu
                    old = best.get((case, workers), took)
                    best[case, workers] = min(old[0], took[0]), min(old[1], took[1])
    print(f"{IMAGES:,} JPEGs of 400 x 300, {num_bytes / 1e6:.0f} MB in {len(tars)} tars; {os.cpu_count()} cores")
    head = ("case", "workers", "images/s", "MB/s", "of floor", "CPU s", "of floor")
    print("{:30}{:>8}{:>10}{:>8}{:>10}{:>8}{:>10}".format(*head))
    figures = []
    for (case, workers), (wall, cpu) in best.items():
        floor = best.get((floors.get(case, ""), workers))
        times = (f"{wall / floor[0]:.2f}", f"{cpu / floor[1]:.2f}") if floor else ("", "")
        speed = f"{IMAGES / wall:10.0f}{num_bytes / 1e6 / wall:8.0f}"
        print(f"{case:30}{workers:8}{speed}{times[0]:>10}{cpu:8.2f}{times[1]:>10}")
        if floor:
            figures.append(Figure(f"{case}, {workers} workers, of the floor", floor[0] / wall))
    sys.exit(ledger.close("ingest", figures))


if __name__ == "__main__":
    main()
