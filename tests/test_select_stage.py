"""`python -m stages.select`, in the chain and on a bare matrix, with every message that it can give."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts import Embeddings, Selection
from pipeline.files import sha256
from stages.select import main

ROOT = Path(__file__).parents[1]
VECTORS = "data/embed/train/vectors.npy"
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    Path("data/embed/train").mkdir(parents=True)
    Embeddings([f"k{i:03d}" for i in range(60)], x).write(Path("data/embed/train"))
    np.save("x.npy", x)


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def refusal(*arguments):
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("Error: ").strip()


def test_the_chain_writes_picks_and_a_record_without_times():
    done = run("--set", "select.budget=7")
    assert (done.exit_code, done.stdout) == (0, "usl: 7 of 60 images\n")
    assert sorted(p.name for p in Path("data/select").iterdir()) == ["picks.csv", "record.json"]
    keys = Selection.read(Path("data/select/picks.csv")).keys
    assert len(set(keys)) == 7
    assert all(key.startswith("k0") for key in keys)
    record = json.loads(Path("data/select/record.json").read_text())
    params = record.pop("params")
    assert params["horizon"] == {"kind": "radius", "value": 4.0}
    assert set(record.pop("versions")) == {"numpy", "faiss"}
    assert record == {
        "method": "usl", "budget": 7, "seed": 0, "n": 60, "d": 8, "neighbours": "exact",
        "vectors_sha256": sha256(Path("data/embed/train/vectors.npy")),
    }  # fmt: skip
    log = json.loads(Path("data/logs/select.json").read_text())
    assert log["images"] == 60
    assert log["seconds"] >= 0
    assert log["peak_mb"] > 0


def test_the_same_params_give_the_same_bytes():
    for out in ("one", "two"):
        assert run("--out", out, "--set", "select.budget=9").exit_code == 0
    for name in ("picks.csv", "record.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_the_command_of_the_readme_on_a_bare_matrix():
    options = ["--set", "select.method=usl", "--set", "select.budget=40", "--set", "seed=3"]
    command = [sys.executable, "-m", "stages.select", "--vectors", "x.npy", "--out", "picks.csv", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "usl: 40 of 60 images\n")
    assert done.stderr.splitlines()[0] == "vectors of length 1 to 1, taken as they are"
    with Path("picks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["rank", "key", "score"]
    assert len({row["key"] for row in rows}) == 40
    assert {row["key"] for row in rows} <= {str(i) for i in range(60)}
    assert not Path("data/logs").exists()
    assert not Path("data/select").exists()


def test_a_bare_matrix_may_have_a_record_too():
    assert run("--vectors", "x.npy", "--out", "chosen", "--set", "select.method=random").exit_code == 0
    assert json.loads(Path("chosen/record.json").read_text())["neighbours"] is None


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["select.budget=0"], "params.yaml: select.budget: expected greater than or equal to 1, got 0"),
        (["select.budget=61"], f"params.yaml: select.budget: expected at most 60, the rows of {VECTORS}, got 61"),
        (["select.budget=few"], "params.yaml: select.budget: expected a valid integer, got 'few'"),
        (["select.method=best"], "params.yaml: select.method: expected one of kmeans, random, usl, got 'best'"),
        (["select.usl.weight=-1"], "params.yaml: select.usl.weight: expected greater than or equal to 0, got -1"),
        (["select.usl=3"], "params.yaml: select.usl: expected a block, got 3"),
        (["select.usl.weigth=1"], "params.yaml: select.usl: unknown ['weigth']"),
        (["select.fast=1"], "params.yaml: select: unknown ['fast']"),
        (["seed=-1"], "params.yaml: seed: expected a whole number of at least 0, got -1"),
    ],
)  # fmt: skip
def test_params_are_refused(sets, message):
    assert refusal(*[part for item in sets for part in ("--set", item)]) == message
    assert not Path("data/select").exists()


def test_another_methods_broken_block_is_not_read():
    assert run("--set", "select.method=random", "--set", "select.usl.weight=-1").exit_code == 0


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.array([[1], [np.nan], [np.inf]]),
            "bad.npy: expected finite numbers, got 2 rows with NaN or infinity, first 1",
        ),
        (np.zeros(3), "bad.npy: expected floats of shape (n, d), n and d at least 1, got float64 (3,)"),
        (np.zeros((0, 4)), "bad.npy: expected floats of shape (n, d), n and d at least 1, got float64 (0, 4)"),
        (np.array([[1.0], [1e300]]), "bad.npy: expected vectors of length 1e+15 at most, got 1 longer, first 1"),
        (
            np.full((50, 8), 1e25, np.float32),
            "bad.npy: expected vectors of length 1e+15 at most, got 50 longer, first 0",
        ),
        (np.zeros((3, 2), int), "bad.npy: expected floats of shape (n, d), n and d at least 1, got int64 (3, 2)"),
    ],
)  # fmt: skip
def test_vectors_are_refused(x, message):
    np.save("bad.npy", x)
    assert refusal("--vectors", "bad.npy", "--out", "picks.csv") == message
    assert not Path("picks.csv").exists()


@pytest.mark.parametrize("method", ["random", "kmeans", "usl"])
@pytest.mark.parametrize("length", [1e-18, 9e14])
def test_vectors_of_every_length_that_is_read_can_be_selected_from(method, length):
    np.save("x.npy", np.load("x.npy") * np.float32(length))
    done = run("--vectors", "x.npy", "--out", "picks.csv", "--set", f"select.method={method}")
    assert done.exit_code == 0, done.output
    assert np.isfinite(Selection.read(Path("picks.csv")).scores).all()


def test_an_archive_of_arrays_is_refused():
    np.savez("bad.npz", x=np.zeros((3, 2)))
    says = "bad.npz: expected a .npy array of numbers, got an archive of arrays (.npz)"
    assert refusal("--vectors", "bad.npz", "--out", "picks.csv") == says
    Path("bad.npz").write_bytes(Path("bad.npz").read_bytes()[:50])
    says = "bad.npz: expected a .npy array of numbers, got: File is not a zip file"
    assert refusal("--vectors", "bad.npz", "--out", "picks.csv") == says


def test_keys_that_are_no_text_are_refused():
    Path("data/embed/train/keys.txt").write_bytes(b"k\xff\n")
    says = "data/embed/train/keys.txt: expected UTF-8 text, got bytes that are not (invalid start byte)"
    assert refusal() == says


def test_picks_alone_leave_no_log():
    assert run("--out", "p.csv").exit_code == 0
    assert {path.name for path in Path().iterdir()} == {"data", "p.csv", "params.yaml", "x.npy"}
    assert not Path("data/logs").exists()


def test_missing_files_are_named():
    assert refusal("--vectors", "no.npy") == "no.npy: expected a .npy file, found none"
    assert refusal("--embeddings", "no") == "no/keys.txt: expected a file, found none"
    assert refusal("--params", "no.yaml") == "no.yaml: expected a params file, found none; name one with --params"
