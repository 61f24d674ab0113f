"""Groups and costs of images, by key or by row number: what they change, and what is refused of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts.attributes import Attributes
from tests.select.command import KEYS, NUMBERS, VECTORS, done, picked, record, refusal

ATTRIBUTES = (*VECTORS, "--attributes", "a.parquet")
FROM_ATTRIBUTES = "come from ingest.attributes, with --vectors from --attributes"
pytestmark = pytest.mark.usefixtures("here")


def test_costs_limit_the_picks_and_are_told():
    Path("a.csv").write_text("key,group,cost\n" + "".join(f"{i},,{2.5 if i < 30 else 1}\n" for i in range(60)))
    says = done(*VECTORS, "--attributes", "a.csv", budget=60, max_cost=21)
    spent = sum(2.5 if int(key) < 30 else 1 for key in picked("o"))
    assert says == f"auto: {len(picked('o'))} of 60 images, cost {spent:g} of 21\n"
    assert record("o")["cost"] == spent
    says = done("--vectors", "x.npy", "--attributes", "a.csv", "--out", "p", budget=5)
    assert says == f"auto: 5 of 60 images, cost {sum(2.5 if int(key) < 30 else 1 for key in picked('p')):g}\n"
    Path("o").rename("before")
    assert refusal(*VECTORS, "--attributes", "a.csv", budget=200) == (
        "params.yaml: select.budget: expected at most 60, the images of x.npy without a label, got 200; what their "
        "labels may cost together is select.max_cost"
    )


def test_a_limit_that_costs_meet_but_for_rounding_is_met():
    Attributes(NUMBERS, [""] * 60, np.full(60, 0.1)).write(Path("a.parquet"))
    for images in (42, 59, 60):
        done(*ATTRIBUTES, budget=60, max_cost=f"{images * 0.1:.1f}")
        assert len(picked("o")) == images


@pytest.mark.parametrize("groups", [[0] * 59 + [None], ["one"] * 59 + [""]])  # numbers may be groups, and 0 is one
def test_attributes_of_a_bare_matrix_go_by_row_number(groups):
    pq.write_table(pa.table({"key": NUMBERS, "group": groups, "vector": [[1.0]] * 60}), "a.parquet")
    done(*ATTRIBUTES, budget=5, rules__group_most=1)
    assert len(picked("o")) == 2
    assert "59" in picked("o")


def test_groups_and_costs_come_from_attributes():
    Path("data/ingest").mkdir()
    file = Path("data/ingest/attributes.parquet")
    Attributes(KEYS, [f"g{i % 6}" for i in range(60)], None).write(file)
    done(budget=12, rules__group_most=2)
    assert sorted(int(key[1:]) % 6 for key in picked()) == sorted([*range(6)] * 2)
    Attributes(KEYS, [""] * 60, np.where(np.arange(60) < 30, 1.0, 4.0)).write(file)
    done(budget=60, max_cost=21.5)
    assert sum(1 if int(key[1:]) < 30 else 4 for key in picked()) == 21
    Attributes(KEYS[:-1], [""] * 59, None).write(file)
    says = "data/ingest/attributes.parquet: expected a row for every image to select from, got none for k059"
    assert refusal() == says


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"key": ["0", "0"], "group": ["a", "b"]}, "expected each key once, got 2 rows of 1 keys"),
        ({"key": ["0", "0"]}, "expected each key once, got 2 rows of 1 keys"),
        ({"key": NUMBERS, "cost": [1.0] * 59 + [np.inf]}, "key 59: expected a finite cost above 0, got inf"),
        ({"key": NUMBERS, "cost": [1.0] * 59 + [np.nan]}, "key 59: expected a finite cost above 0, got nan"),
        ({"key": NUMBERS, "cost": [0.0] + [1.0] * 59}, "key 0: expected a finite cost above 0, got 0"),
    ],
)
def test_attributes_are_refused(table, says):
    pq.write_table(pa.table(table), "a.parquet")
    assert refusal(*ATTRIBUTES) == f"a.parquet: {says}"
    for file, content in (("a.parquet", b"none"), ("a.csv", b"")):
        Path(file).write_bytes(content)
        found = refusal(*VECTORS, "--attributes", file)
        assert found.startswith(f"{file}: expected the columns key, group and cost, got: ")
    found = refusal(*VECTORS, "--attributes", "no.parquet")
    assert found.startswith("no.parquet: expected the columns key, group and cost, got")
