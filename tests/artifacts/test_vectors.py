"""Every format of vectors gives the same matrix, and what is wrong with a file is said in one line that names it."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import matrix_files
from pipeline.artifacts.vectors import files_of, read_keyed, read_vectors
from tests.refusals import refusal_of

X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float16)  # every format can hold these numbers
FLOAT = pa.float32()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matrix_files, "BLOCK_BYTES", 40)  # bytes: blocks of few rows, with a rest


def table(file, column, **others):
    pq.write_table(pa.table({**others, "vector": column}), file)


def lists(x, kind=FLOAT):
    return pa.array(x.tolist(), pa.list_(kind))


def refusal(path):
    return refusal_of(read_vectors, Path(path))


def check(path):
    found = read_vectors(Path(path))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tolist() == X.tolist()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype, order):
    np.save("x.npy", X.astype(dtype, order=order))
    check("x.npy")


def test_the_versions_of_the_format():
    for version in ((1, 0), (2, 0)):
        with Path("x.npy").open("wb") as file:
            np.lib.format.write_array(file, X, version)
        check("x.npy")
    with Path("x.npy").open("wb") as file:
        np.lib.format.write_array(file, np.zeros(1, [("é", "f4")]), (3, 0))
    assert refusal("x.npy") == "x.npy: expected a .npy array of numbers, got: version 3.0 of the format"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save):
    save("one.npz", emb=X, y=np.arange(7), line=X[0])
    check("one.npz")
    check("one.npz:emb")
    save("two.npz", a=X, b=X + 1)
    check("two.npz:a")
    expected = "two.npz: expected one array of floats of shape (n, d), or two.npz:name for one of several, "
    assert refusal("two.npz") == expected + "got a float16 (7, 3), b float16 (7, 3)"
    assert refusal("two.npz:c") == "two.npz: expected an array c, got a float16 (7, 3), b float16 (7, 3)"
    says = "one.npz:y: expected floats of shape (n, d), n and d at least 1, got int64 (7,)"
    assert refusal("one.npz:y") == says


def test_an_archive_without_a_matrix_or_with_many():
    np.savez("none.npz", y=np.arange(7))
    assert refusal("none.npz").endswith(", got y int64 (7,)")
    np.savez("none.npz")
    assert refusal("none.npz").endswith(", got nothing")
    np.savez("many.npz", **{f"a{i}": X for i in range(10)})
    assert refusal("many.npz").endswith(", a7 float16 (7, 3), and 2 more")


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 3)])
def test_parquet(kind, make):
    table("x.parquet", pa.array(X.tolist(), make(kind)), label=["a"] * 7, boxes=[[1, 2]] * 7)
    check("x.parquet")
    assert read_keyed(Path("x.parquet"))[0] is None


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_keys_come_from_a_column_of_text(kind):
    table("x.parquet", lists(X), key=pa.array(list("gfedcba"), pa.string()).cast(kind))
    keys, x = read_keyed(Path("x.parquet"))
    assert keys == list("gfedcba")
    assert x.tolist() == X.tolist()
    check("x.parquet")


MATRIX = "floats of shape (n, d), n and d at least 1, got "
NOT_ONE = "expected one column of lists of floats, got "


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"vector": lists(X), "key": list("abcdefa")}, "key a: expected each key once, got it twice"),
        ({"vector": lists(X), "key": [*"abcd", None, *"fg"]}, "expected a key in every row, got none in row 4"),
        ({"vector": lists(X), "key": list(range(7))}, "key: expected a column of text, got int64"),
        ({"v": lists(X), "w": lists(X)}, NOT_ONE + "v list<element: float>, w list<element: float>"),
        ({"name": ["a"], "v": [[1, 2]]}, NOT_ONE + "name string, v list<element: int64>"),
        ({"v": pa.array([], pa.list_(FLOAT))}, f"expected {MATRIX}float (0, 0)"),
        ({"v": pa.array([[], []], pa.list_(FLOAT))}, f"expected {MATRIX}float (2, 0)"),
        *(
            ({"v": pa.array(rows, make(FLOAT))}, f"expected {says}")
            for make in (pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2))
            for rows, says in (
                ([[1, 2]] * 6 + [None], "a vector in every row, got none in row 6"),
                ([None] + [[1, 2]] * 6, "a vector in every row, got none in row 0"),
                ([[1, 2]] * 4 + [[1, None]], "numbers, got null in row 4"),
            )
        ),
        *(
            ({"v": pa.array([[1, 2]] * 5 + [[1], [1, 2, 3]], make(FLOAT))},
             "expected vectors of 2 numbers as in row 0, got another count in row 5")
            for make in (pa.list_, pa.large_list)
        ),
    ],
)  # fmt: skip
def test_tables_are_refused(columns, says):
    pq.write_table(pa.table(columns), "x.parquet")
    assert refusal("x.parquet") == f"x.parquet: {says}"


def test_a_folder_of_parts_is_read_in_the_order_of_names():
    """Numbers in names count by value."""
    Path("parts").mkdir()
    for name, part in (("p10", X[2:3]), ("p9", X[1:2]), ("p100", X[3:]), ("p1", X[:1])):
        np.save(f"parts/{name}.npy", part)
    for name in (".hidden", "_SUCCESS"):
        Path("parts", name).touch()
    check("parts")
    assert [file.name for file in files_of(Path("parts"))] == ["p1.npy", "p9.npy", "p10.npy", "p100.npy"]
    np.savez("two.npz", a=X, b=X)
    assert files_of(Path("two.npz:a")) == [Path("two.npz")]


def test_parts_of_other_formats():
    for folder in ("zips", "tables"):
        Path(folder).mkdir()
    np.savez("zips/0.npz", x=X[:5])
    np.savez("zips/1.npz", y=X[5:])
    check("zips")
    table("tables/0.parquet", lists(X[:5]), key=list("abcde"))
    table("tables/1.parquet", lists(X[5:]), key=list("fg"))
    check("tables")
    assert read_keyed(Path("tables"))[0] == list("abcdefg")
    table("tables/1.parquet", lists(X[5:]), key=list("fa"))
    assert refusal("tables") == "tables: key a: expected each key once, got it twice"
    table("tables/1.parquet", lists(X[5:]))
    says = "tables/1.parquet: expected a column key in every part or in none"
    assert refusal("tables") == says
    table("tables/0.parquet", lists(X[:5]))
    table("tables/1.parquet", lists(X[5:]), key=list("fg"))
    assert refusal("tables") == says


ALONE = "expected a folder of .npy, .npz or .parquet files alone, found this in it"
KIND = "expected a .npy, .npz or .parquet file or a folder of them, found"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("empty", "empty: expected .npy, .npz or .parquet files, found none"),
        ("shapes", "shapes/b.npy: expected vectors of 3 numbers as in shapes/a.npy, got 2"),
        ("values", "values/b.npy: expected finite numbers, got 1 rows with NaN or infinity, first 4"),
        ("formats", "formats/b.npz: expected a part in the format of a.npy, found another"),
        ("others", f"others/keys.txt: {ALONE}"),
        ("folders", f"folders/b.npy: {ALONE}"),
        ("no.npy", "no.npy: expected a .npy file, found none"),
        ("no.npz:x", "no.npz: expected a .npz file, found none"),
        ("no.parquet", "no.parquet: expected a .parquet file, found none"),
        ("no", f"no: {KIND} none"),
        ("x.csv", f"x.csv: {KIND} another"),
    ],
)
def test_folders_and_other_files_are_refused(path, says):
    for name in ("empty", "shapes", "values", "formats", "others", "folders/b.npy"):
        Path(name).mkdir(parents=True)
    for name in ("shapes", "values", "formats", "others", "folders"):
        np.save(f"{name}/a.npy", X)
    np.save("shapes/b.npy", X[:, :2])
    np.save("values/b.npy", np.where(np.arange(7)[:, None] == 4, np.nan, X))
    np.savez("formats/b.npz", x=X)
    Path("others/keys.txt").touch()
    Path("x.csv").touch()
    assert refusal(path) == says


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([[1, 1], [np.nan, 1], [1, np.inf], [1, 1]], "finite numbers, got 2 rows with NaN or infinity, first 1"),
        ([[1.0, 1], [1e300, 1]], "vectors of length 1e+15 at most, got 1 longer, first 1"),
        (np.full((5, 2), 1e25, np.float32), "vectors of length 1e+15 at most, got 5 longer, first 0"),
        (np.zeros(3), f"{MATRIX}float64 (3,)"),
        (np.zeros((0, 4)), f"{MATRIX}float64 (0, 4)"),
        (np.zeros((4, 0)), f"{MATRIX}float64 (4, 0)"),
        (np.zeros((3, 2), int), f"{MATRIX}int64 (3, 2)"),
        (np.zeros((3, 2), complex), f"{MATRIX}complex128 (3, 2)"),
    ],
)
def test_numbers_are_refused_alike_in_every_format(x, says, order):
    x = np.asarray(x, order=order)
    np.save("x.npy", x)
    assert refusal("x.npy") == f"x.npy: expected {says}"
    np.savez("x.npz", name=x)
    assert refusal("x.npz:name") == f"x.npz:name: expected {says}"
    if says.startswith(("finite", "vectors")):
        table("x.parquet", lists(x, pa.float64()))
        assert refusal("x.parquet") == f"x.parquet: expected {says}"


def test_pickles_are_refused_unread():
    class Bomb:
        def __reduce__(self):
            return Path("went-off").touch, ()

    np.save("x.npy", np.array([[Bomb()]], object))
    assert refusal("x.npy") == f"x.npy: expected {MATRIX}object (1, 1)"
    np.savez("x.npz", x=np.array([[Bomb()]], object))
    assert refusal("x.npz:x") == f"x.npz:x: expected {MATRIX}object (1, 1)"
    Path("x.npy").write_bytes(pickle.dumps(Bomb()))
    assert refusal("x.npy").startswith("x.npy: expected a .npy array of numbers, got: the magic string is not correct;")
    assert not Path("went-off").exists()


def test_files_that_were_cut_short_are_refused():
    np.save("x.npy", X)
    whole = Path("x.npy").read_bytes()
    Path("x.npy").write_bytes(whole[:-1])
    assert refusal("x.npy") == "x.npy: expected a .npy array of numbers, got 41 of its 42 bytes"
    Path("x.npy").write_bytes(whole[:50])
    assert refusal("x.npy").startswith("x.npy: expected a .npy array of numbers, got: EOF: reading array header")
    Path("x.npy").write_bytes(b"")
    assert refusal("x.npy").startswith("x.npy: expected a .npy array of numbers, got: EOF: reading magic string")
    np.savez("x.npz", x=X)
    archive = Path("x.npz").read_bytes()
    Path("x.npz").write_bytes(archive[:50])
    assert refusal("x.npz") == "x.npz: expected a .npz archive of arrays, got: File is not a zip file"
    table("x.parquet", lists(X))
    Path("x.parquet").write_bytes(Path("x.parquet").read_bytes()[:-9])
    assert refusal("x.parquet").startswith("x.parquet: expected a Parquet file, got: Parquet magic bytes not found")


def test_bytes_that_were_changed_are_refused():
    for save in (np.savez, np.savez_compressed):
        save("x.npz", x=np.random.default_rng(0).normal(size=(50, 3)))
        spoilt = bytearray(Path("x.npz").read_bytes())
        spoilt[len(spoilt) // 2] ^= 255
        Path("x.npz").write_bytes(spoilt)
        assert ": expected a .npz archive of arrays, got: " in refusal("x.npz")
    table("x.parquet", lists(np.random.default_rng(0).normal(size=(50, 3)), pa.float64()))
    spoilt = bytearray(Path("x.parquet").read_bytes())
    spoilt[4:60] = bytes(56)
    Path("x.parquet").write_bytes(spoilt)
    assert refusal("x.parquet").startswith("x.parquet: expected a Parquet file, got: ")


def test_a_header_that_promises_too_much_asks_for_no_memory():
    with Path("x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6)})
    assert refusal("x.npy") == "x.npy: expected a .npy array of numbers, got 0 of its 4000000000000000 bytes"


def test_archives_and_arrays_under_the_others_name_are_refused():
    np.savez("x.npz", x=X)
    Path("x.npz").rename("x.npy")
    assert refusal("x.npy") == "x.npy: expected a .npy array of numbers, got an archive of arrays (.npz)"
    np.save("y.npy", X)
    Path("y.npy").rename("x.npz")
    assert refusal("x.npz") == "x.npz: expected a .npz archive of arrays, got: File is not a zip file"
