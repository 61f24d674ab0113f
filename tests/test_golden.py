"""The first losses of each method on digits, as they have always been; they change only in a commit that says why.

`python -m tests.test_golden` writes them anew. Float32 on one thread; the tolerance is for other processors.
"""

import csv
from pathlib import Path

import pytest
import torch

from pipeline.fit import fit
from pipeline.nn.device import Device
from tests.digits import METHODS, OPTIM, learner

GOLDEN = Path(__file__).parent / "golden" / "losses.csv"


def losses(name: str, folder: Path) -> list[float]:
    method, feed = learner(name)
    device = Device(torch.device("cpu"), bf16=False)
    rows = fit(method, feed, OPTIM, num_steps=20, seed=0, device=device, state=folder, save_seconds=1e9)
    return [row["loss"] for row in rows]


def golden() -> dict[str, list[float]]:
    with GOLDEN.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


@pytest.mark.parametrize("name", METHODS)
def test_first_losses(name, tmp_path):
    # The paths of two processors part slowly: the first losses agree to rounding, the last a little less.
    assert losses(name, tmp_path)[:10] == pytest.approx(golden()[name][:10], rel=1e-3)
    assert losses(name, tmp_path) == pytest.approx(golden()[name], rel=1e-2)


def test_every_method_has_a_column():
    assert sorted(golden()) == METHODS


if __name__ == "__main__":
    columns = {name: losses(name, Path("/nonexistent")) for name in METHODS}
    with GOLDEN.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[f"{value:.7g}" for value in row] for row in zip(*columns.values(), strict=True)])
