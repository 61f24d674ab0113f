"""Vectors of the user's own: by key, whatever their order, and each refusal in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import ArtifactError
from pipeline.embed.own import Own

KEYS = ["a", "b", "c", "d"]
X = np.arange(1, 16, dtype=np.float32).reshape(5, 3)
ORDER = [3, 4, 0, 1, 2]  # of keys d, extra, a, b, c


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(kind, x=X, keys=("d", "extra", "a", "b", "c")):
    file = Path(f"mine.{kind}")
    if kind == "parquet":
        pq.write_table(pa.table({"key": list(keys), "vector": pa.array(x.tolist(), pa.list_(pa.float32()))}), file)
        return file
    np.save(file, x) if kind == "npy" else np.savez(file, first=x, second=x)
    Path("mine.txt").write_text("".join(f"{key}\n" for key in keys))
    return file if kind == "npy" else Path(f"{file}:second")


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_rows_are_found_by_key_and_made_unit_length(kind):
    own = Own(write(kind), KEYS)
    assert own.dim == 3
    expected = X[[2, 3, 4, 0]] / np.linalg.norm(X[[2, 3, 4, 0]], axis=1, keepdims=True)
    np.testing.assert_allclose(own.of(np.array([0, 1, 2, 3])), expected, rtol=1e-6)
    np.testing.assert_allclose(own.of(np.array([3, 1])), expected[[3, 1]], rtol=1e-6)


def test_a_vector_of_zeros_stays_one():
    own = Own(write("npy", X * np.array([[1], [1], [0], [1], [1]], np.float32)), KEYS)
    np.testing.assert_array_equal(own.of(np.array([0])), np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"keys": ("d", "extra", "a", "b", "z")},
         "mine.txt: key c: expected a vector for each image, found none of that key"),
        ({"keys": ("d", "extra", "a", "b")}, "mine.txt: expected 5 keys, one a vector of mine.npy, got 4"),
        ({"keys": ("d", "a", "a", "b", "c")}, "mine.txt: key a: expected each key once, got it twice"),
        ({"x": np.where(X == 5, np.nan, X)},
         "mine.npy: expected finite numbers, got 1 rows with NaN or infinity, first 1"),
        ({"x": X.ravel(), "keys": ["a"] * 15}, "mine.npy: expected a matrix"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(change, says):
    file = write("npy", **change)
    with pytest.raises(ArtifactError) as error:
        Own(file, KEYS)
    assert str(error.value).startswith(says.split(" a matrix")[0])
    assert "\n" not in str(error.value)


def test_files_that_are_not_there():
    with pytest.raises(ArtifactError, match=r"^none\.npy: expected a \.npy file, found none$"):
        Own(Path("none.npy"), KEYS)
    file = write("npy")
    Path("mine.txt").unlink()
    with pytest.raises(ArtifactError, match=r"^mine\.txt: expected a file, found none$"):
        Own(file, KEYS)
    with pytest.raises(ArtifactError, match=r"expected a \.npy, \.npz or \.parquet file"):
        Own(Path("mine.csv"), KEYS)
    parquet = write("parquet", keys=("d", "extra", "a", "b", "z"))
    with pytest.raises(ArtifactError, match=r"^mine\.parquet: key c: expected a vector for each image"):
        Own(parquet, KEYS)
