"""Rows and keys on disk are those that would be in memory, and what is wrong with a file is said alike."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import matrix_files, on_disk
from pipeline.artifacts.embeddings import Embeddings, StoredEmbeddings
from pipeline.artifacts.matrix_files import Array
from pipeline.artifacts.on_disk import KeyLines, Parts, RowNumbers
from pipeline.artifacts.vectors import megabytes, read_vectors
from tests.refusals import refusal_of

X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float16)  # every type can hold these numbers


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matrix_files, "BLOCK_BYTES", 60)  # bytes: blocks of few rows, with a rest
    monkeypatch.setattr(on_disk, "NEAR_BYTES", 12)


def save(x=X, cuts=(20, 21, 33), folder="parts"):
    Path(folder).mkdir()
    for number, part in enumerate(np.split(x, cuts)):
        np.save(f"{folder}/{number}.npy", part)
    return Path(folder)


def refusal(path, read=Parts.open):
    return refusal_of(read, Path(path))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "longdouble"])
def test_rows_are_those_of_the_matrix(dtype):
    found = Parts.open(save(X.astype(dtype)))
    assert (len(found), found.shape) == (50, (50, 3))
    whole = X.astype(np.float32)
    chance = np.random.default_rng(1)
    rows = [chance.integers(50, size=size) for size in (0, 1, 7, 200)]
    for asked in (slice(0, 50), slice(19, 22), slice(40, 90), slice(7, 7), *rows, np.arange(0, 50, 7)):
        assert found[asked].dtype == np.float32
        assert found[asked].tolist() == whole[asked].tolist()
        assert found.centred[asked] == pytest.approx(whole[asked] - whole.mean(axis=0))


def test_far_rows_are_read_one_by_one_and_near_ones_together(monkeypatch):
    found, read, rows = Parts.open(save(cuts=())), [], Array.rows
    monkeypatch.setattr(Array, "rows", lambda *given: read.append(given[1:]) or rows(*given))
    found[np.array([30, 1, 3, 2, 49, 9])]  # blocks of ten rows, jumps of more than two
    assert read == [(1, 4), (9, 10), (30, 31), (49, 50)]


def test_the_survey_is_that_of_the_matrix(monkeypatch):
    whole = X.astype(np.float32)
    for kept in (on_disk.KEPT_LENGTHS, 10):
        monkeypatch.setattr(on_disk, "KEPT_LENGTHS", kept)
        survey = Parts.open(save(folder=f"of{kept}")).survey
        length = np.linalg.norm(whole, axis=1)
        assert survey.sha256 == hashlib.sha256(whole.tobytes()).hexdigest()
        assert survey.mean == pytest.approx(whole.mean(axis=0))
        wanted = [length.min(), length.max(), *length[:: 5 if kept == 10 else 1]]
        assert survey.lengths == pytest.approx(np.array(wanted), rel=1e-6)
    assert megabytes(Path("of10")) == 50 * 3 * 4 / 1e6


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([np.nan, 1], "finite numbers, got 2 rows with NaN or infinity, first 5"),
        ([-np.inf, 1], "finite numbers, got 2 rows with NaN or infinity, first 5"),
        ([1e300, 1], "vectors of length 1e+15 at most, got 2 longer, first 5"),
        ([1e25, 1], "vectors of length 1e+15 at most, got 2 longer, first 5"),
    ],
)
def test_numbers_are_refused_as_in_memory(row, says):
    x = np.ones((40, 2))
    x[[25, 38]] = row
    folder = save(x, cuts=(20,))
    assert refusal(folder) == refusal(folder, read_vectors) == f"parts/1.npy: expected {says}"


def test_other_files_are_to_be_converted():
    says = "expected more than machine.vectors_mb as .npy files whose rows lie one after another (order C), "
    says += "got another kind; convert it, or raise the limit"
    np.save("columns.npy", np.asfortranarray(X))
    np.savez("x.npz", x=X)
    pq.write_table(pa.table({"x": pa.array(X.tolist(), pa.list_(pa.float32()))}), "x.parquet")
    assert refusal("columns.npy") == f"columns.npy: {says}"
    assert refusal("x.npz") == f"x.npz:x: {says}"
    assert refusal("x.parquet") == f"x.parquet: {says}"
    assert refusal("no.npy") == "no.npy: expected a .npy file, found none"


def test_a_part_that_becomes_shorter_while_it_is_used_is_named():
    found = Parts.open(save())
    Path("parts/2.npy").write_bytes(Path("parts/2.npy").read_bytes()[:-1])
    assert found[np.array([31])].shape == (1, 3)
    says = refusal_of(found.__getitem__, np.array([32]))
    assert says == "parts/2.npy: expected a .npy array of numbers, got: fewer bytes than there were"


def test_row_numbers_are_keys():
    keys = RowNumbers(3)
    assert (len(keys), list(keys), keys[2]) == (3, ["0", "1", "2"], "2")
    assert "3" not in keys


@pytest.mark.parametrize("num", [1, 2, 3, 4, 10])
def test_keys_in_a_file_are_those_of_the_list(num, monkeypatch):
    monkeypatch.setattr(on_disk, "INDEXED", 3)
    keys = sorted(f"k{'é' * (i % 3)}{i}" for i in range(num))
    Path("keys.txt").write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
    found = KeyLines.open(Path("keys.txt"))
    assert (len(found), list(found), [found[i] for i in range(num)]) == (num, keys, keys)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a\nb\nb\n", "keys that are sorted and unique, got b before b"),
        (b"a\nc\nb\n", "keys that are sorted and unique, got c before b"),
        (b"a\n\nb\n", "keys that are sorted and unique, got a before "),
        (b"a\n\xff\n", "UTF-8 text, got bytes that are not (invalid start byte)"),
    ],
)
def test_keys_are_refused(text, says):
    Path("keys.txt").write_bytes(text)
    assert refusal("keys.txt", KeyLines.open) == f"keys.txt: expected {says}"


def test_embeddings_may_stay_on_disk():
    Path("e").mkdir()
    Embeddings([f"k{i:02d}" for i in range(50)], X.astype(np.float32)).write(Path("e"))
    table = StoredEmbeddings.open(Path("e"))
    assert table.keys[7] == "k07"
    assert table.vectors[7:9].tolist() == X[7:9].tolist()
    Path("e/keys.txt").write_text("a\nb\n")
    assert refusal("e", StoredEmbeddings.open) == "e/keys.txt: expected 50 keys, one a vector, got 2"
    assert refusal("e", Embeddings.read) == "keys.txt: expected 50 keys, one a vector, got 2"
    Path("e/keys.txt").unlink()
    assert refusal("e", StoredEmbeddings.open) == "e/keys.txt: expected a file, found none"
