"""The first losses and the first picks of each method on digits, as they have always been.

They change only in a commit that says why; `python -m tests.test_golden` writes them anew. Networks are of float64, and
a run has four steps: in float32 or after ten steps two kinds of processor differ by more than one per cent.
Picks are by the values of params.yaml.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.files import write_csv
from pipeline.select.methods import SELECTORS
from tests.digits import METHODS, digits, learner
from tests.pools import pool, selector
from tests.pretrain.family import trained

GOLDEN = Path(__file__).parent / "golden" / "losses.csv"
PICKS = GOLDEN.with_name("picks.csv")


def losses(name: str, folder: Path) -> list[float]:
    method, feed = learner(name)
    return [row["loss"] for row in trained(method.double(), feed, folder, 4)]


def golden() -> dict[str, list[float]]:
    with GOLDEN.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


@pytest.mark.parametrize("name", METHODS)
def test_first_losses(name, tmp_path):
    assert losses(name, tmp_path) == pytest.approx(golden()[name], rel=5e-3)


def test_every_method_has_a_column():
    assert sorted(golden()) == METHODS


def picks(name: str) -> list[tuple[int, float]]:
    """The first twenty rows and their scores; a linear model of chance stands for one that was trained."""
    x = digits()[0].flatten(1).numpy().astype(np.float32)
    found = selector(name).select(pool(x), 20, 0)
    return list(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_first_picks(name):
    with PICKS.open() as file:
        golden = [(int(row["row"]), float(row["score"])) for row in csv.DictReader(file) if row["method"] == name]
    assert [row for row, _ in picks(name)] == [row for row, _ in golden]
    assert [score for _, score in picks(name)] == pytest.approx([score for _, score in golden], rel=1e-4)


if __name__ == "__main__":
    columns = {name: losses(name, Path("/nonexistent")) for name in METHODS}
    write_csv(GOLDEN, list(columns), [[f"{value:.7g}" for value in row] for row in zip(*columns.values(), strict=True)])
    ranked = [(name, rank, *pick) for name in sorted(SELECTORS) for rank, pick in enumerate(picks(name))]
    rows = [(name, rank, row, f"{score:.7g}") for name, rank, row, score in ranked]
    write_csv(PICKS, ("method", "rank", "row", "score"), rows)
