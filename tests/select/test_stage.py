"""`python -m stages.select`, in the chain and on a bare matrix, with every message that it can give."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import ModelOutputs
from pipeline.artifacts.picks import Selection
from pipeline.select.methods import SELECTORS
from stages.select import main

ROOT = Path(__file__).parents[2]
NAMES = ", ".join(sorted(SELECTORS))
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    Path("data/embed/train").mkdir(parents=True)
    Path("data/rounds").mkdir()
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
    done = run("--set", "select.budget=7", "--set", "select.method=usl")
    assert (done.exit_code, done.stdout) == (0, "usl: 7 of 60 images\n")
    assert sorted(p.name for p in Path("data/select").iterdir()) == ["picks.csv", "record.json"]
    keys = Selection.read(Path("data/select/picks.csv")).keys
    assert len(set(keys)) == 7
    assert all(key.startswith("k0") for key in keys)
    record = json.loads(Path("data/select/record.json").read_text())
    params, common, figures = (record.pop(name) for name in ("params", "select", "quality"))
    assert params["horizon"] == {"kind": "radius", "value": 4.0}
    assert common["search"]["memory_mb"] == 1000
    assert {name: common[name] for name in ("budget", "labeled", "rules")} == {
        "budget": 7, "labeled": "data/rounds", "rules": {"min_distance": 0.0, "outliers": 0.0, "group_most": 0},
    }  # fmt: skip
    assert set(figures) == {"mean_distance", "max_distance", "cluster_coverage", "density_percentile", "sample"}
    assert set(record.pop("versions")) == {"numpy", "faiss"}
    x = Embeddings.read(Path("data/embed/train")).vectors
    assert record == {
        "method": "usl", "picks": 7, "cost": 7.0, "seed": 0, "n": 60, "d": 8,
        "found": {"neighbours": "exact", "passes": 1},
        "labelled_before": 0, "labelled_before_sha256": hashlib.sha256(b"").hexdigest(),
        "vectors_sha256": hashlib.sha256(x.tobytes()).hexdigest(), "attributes_sha256": None, "outputs_sha256": None,
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
    record = json.loads(Path("chosen/record.json").read_text())
    assert (record["found"], record["select"]["budget"]) == ({"passes": 1}, 40)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["select.budget=0"], "params.yaml: select.budget: expected greater than 0, got 0"),
        (
            ["select.budget=61"],
            "params.yaml: select.budget: expected at most 60, what all images of data/embed/train without a label come "
            "to, got 61",
        ),
        (
            ["select.budget=2.5"],
            "params.yaml: select.budget: expected a whole number of images, as no costs are given, got 2.5",
        ),
        (["select.rules.outliers=1"], "params.yaml: select.rules.outliers: expected less than 1, got 1"),
        (
            ["select.search.memory_mb=8"],
            "params.yaml: select.search.memory_mb: expected greater than or equal to 64, got 8",
        ),
        (["select.budget=few"], "params.yaml: select.budget: expected a valid number, got 'few'"),
        (["select.method=best"], f"params.yaml: select.method: expected one of {NAMES}, got 'best'"),
        (
            ["select.method=usl", "select.usl.weight=-1"],
            "params.yaml: select.usl.weight: expected greater than or equal to 0, got -1",
        ),
        (["select.method=usl", "select.usl=3"], "params.yaml: select.usl: expected a block, got 3"),
        (["select.method=usl", "select.usl.weigth=1"], "params.yaml: select.usl: unknown ['weigth']"),
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


def picked(folder="data/select"):
    return Selection.read(Path(folder, "picks.csv")).keys


def test_finished_rounds_are_not_picked_again_and_their_labels_do_not_matter():
    first = ["k003", "k007", "k059"]
    for labels in ("cat,cat,dog", "dog,emu,cat"):
        rows = "".join(f"{key},{name}\n" for key, name in zip(first, labels.split(","), strict=True))
        Path("data/rounds/00").mkdir(exist_ok=True)
        Path("data/rounds/00/labels.csv").write_text("key,label\n" + rows)
        assert run("--out", labels, "--set", "select.budget=20").exit_code == 0
        assert not set(picked(labels)) & set(first)
    assert picked("cat,cat,dog") == picked("dog,emu,cat")
    assert json.loads(Path("cat,cat,dog/record.json").read_text())["labelled_before"] == 3
    says = (
        "params.yaml: select.budget: expected at most 57, what all images of data/embed/train without a label come to, "
        "got 58"
    )
    assert refusal("--set", "select.budget=58") == says


def test_labelled_images_may_be_named_in_a_csv():
    Path("mine.csv").write_text("key\n" + "".join(f"{row}\n" for row in range(50)))
    done = run("--vectors", "x.npy", "--out", "o", "--set", "select.budget=10", "--set", "select.labeled=mine.csv")
    assert done.exit_code == 0
    assert sorted(map(int, picked("o"))) == list(range(50, 60))
    Path("mine.csv").write_text("key\n60\n")
    says = "mine.csv: key 60: expected the key of an image to select from, as in keys.txt, got none of these"
    assert refusal("--vectors", "x.npy", "--set", "select.labeled=mine.csv") == says


@pytest.mark.parametrize("name", ["myrounds", "list.CSV", "nothing"])
def test_labelled_images_of_a_bare_matrix_are_never_ignored(name):
    if name == "myrounds":
        Labels(["label"], {str(row): ["cat"] for row in range(50)}).write(Path("myrounds/00/labels.csv"))
    elif name == "list.CSV":
        Path(name).write_text("key\n" + "".join(f"{row}\n" for row in range(50)))
    sets = ["--set", "select.budget=10", "--set", f"select.labeled={name}"]
    if name == "nothing":
        says = "nothing: expected a folder of rounds or a CSV with the column key, found none"
        assert refusal("--vectors", "x.npy", *sets) == says
        return
    assert run("--vectors", "x.npy", "--out", "o", *sets).exit_code == 0
    assert sorted(map(int, picked("o"))) == list(range(50, 60))


def test_the_chains_own_rounds_count_for_its_own_images_in_any_file():
    keys = [f"k{i:03d}" for i in range(60)]
    pq.write_table(pa.table({"key": keys, "vector": list(np.load("x.npy"))}), "x.parquet")
    Labels(["label"], {key: ["cat"] for key in keys[:50]}).write(Path("data/rounds/00/labels.csv"))
    assert run("--vectors", "x.parquet", "--out", "o", "--set", "select.budget=10").exit_code == 0
    assert sorted(picked("o")) == keys[50:]
    assert run("--vectors", "x.npy", "--out", "p", "--set", "select.budget=20").exit_code == 0
    assert len(picked("p")) == 20  # row numbers: other images


def test_attributes_may_be_a_csv_and_the_cost_is_told():
    rows = "".join(f"{i},,{2.5 if i < 30 else 1}\n" for i in range(60))
    Path("a.csv").write_text("key,group,cost\n" + rows)
    done = run("--vectors", "x.npy", "--attributes", "a.csv", "--out", "o", "--set", "select.budget=21")
    spent = sum(2.5 if int(key) < 30 else 1 for key in picked("o"))
    assert done.stdout == f"auto: {len(picked('o'))} of 60 images, cost {spent:g} of 21\n"
    assert json.loads(Path("o/record.json").read_text())["cost"] == spent


def test_numbers_may_be_groups_and_zero_is_one():
    table = {"key": [str(i) for i in range(60)], "group": [0] * 59 + [None], "vector": [[1.0]] * 60}
    pq.write_table(pa.table(table), "a.parquet")
    options = ["--vectors", "x.npy", "--attributes", "a.parquet", "--set", "select.rules.group_most=1"]
    assert run(*options, "--out", "o", "--set", "select.budget=5").exit_code == 0
    assert len(picked("o")) == 2


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"key": ["0", "0"], "group": ["a", "b"]}, "a.parquet: expected each key once, got 2 rows of 1 keys"),
        ({"key": ["0", "0"]}, "a.parquet: expected each key once, got 2 rows of 1 keys"),
        ({"key": [str(i) for i in range(60)], "cost": [1.0] * 59 + [np.inf]},
         "a.parquet: key 59: expected a finite cost above 0, got inf"),
        ({"key": [str(i) for i in range(60)], "cost": [1.0] * 59 + [np.nan]},
         "a.parquet: key 59: expected a finite cost above 0, got nan"),
        ({"key": [str(i) for i in range(60)], "cost": [0.0] + [1.0] * 59},
         "a.parquet: key 0: expected a finite cost above 0, got 0"),
    ],
)  # fmt: skip
def test_attributes_are_refused(table, says):
    pq.write_table(pa.table(table), "a.parquet")
    assert refusal("--vectors", "x.npy", "--attributes", "a.parquet") == says


def test_attributes_that_are_named_must_be_there_and_a_cap_needs_groups():
    assert refusal("--attributes", "no.parquet").startswith("no.parquet: expected the columns key, group and cost, got")
    says = (
        "params.yaml: select.rules.group_most: expected 0, as no image has a group, got 2; groups come from "
        "ingest.attributes, with --vectors from --attributes"
    )
    assert refusal("--set", "select.rules.group_most=2") == says


def test_a_budget_that_costs_meet_but_for_rounding_is_met():
    Attributes([str(i) for i in range(60)], [""] * 60, np.full(60, 0.1)).write(Path("a.parquet"))
    options = ["--vectors", "x.npy", "--attributes", "a.parquet", "--out", "o"]
    for images in (42, 59, 60):
        assert run(*options, "--set", f"select.budget={images * 0.1:.1f}").exit_code == 0
        assert len(picked("o")) == images


def test_where_no_image_may_be_picked_it_says_so():
    Path("mine.csv").write_text("key\n0\n")
    says = (
        "select.rules: expected an image that may be picked, found none: each has a label, is near one that has, an "
        "outlier, of a full group or dearer than the budget"
    )
    sets = ["--set", "select.labeled=mine.csv", "--set", "select.rules.min_distance=10"]
    assert refusal("--vectors", "x.npy", "--out", "o", *sets) == says
    assert not Path("o").exists()


def test_uneven_lengths_are_said(caplog):
    caplog.set_level("INFO")
    x = np.load("x.npy")
    x[3] *= 1e5
    np.save("x.npy", x)
    assert run("--vectors", "x.npy", "--out", "o").exit_code == 0
    assert "unit length would help" in caplog.text


def test_groups_and_costs_come_from_attributes():
    keys = [f"k{i:03d}" for i in range(60)]
    Path("data/ingest").mkdir()
    file = Path("data/ingest/attributes.parquet")
    Attributes(keys, [f"g{i % 6}" for i in range(60)], None).write(file)
    assert run("--set", "select.budget=12", "--set", "select.rules.group_most=2").exit_code == 0
    assert sorted(int(key[1:]) % 6 for key in picked()) == sorted([*range(6)] * 2)
    Attributes(keys, [""] * 60, np.where(np.arange(60) < 30, 1.0, 4.0)).write(file)
    assert run("--set", "select.budget=21.5").exit_code == 0
    assert sum(1 if int(key[1:]) < 30 else 4 for key in picked()) == 21
    Attributes(keys[:-1], [""] * 59, None).write(file)
    says = "data/ingest/attributes.parquet: expected a row for every image to select from, got none for k059"
    assert refusal() == says


def test_attributes_of_a_bare_matrix_go_by_row_number():
    Attributes([str(i) for i in range(60)], ["one"] * 59 + [""], None).write(Path("a.parquet"))
    options = ["--vectors", "x.npy", "--attributes", "a.parquet", "--out", "o"]
    assert run(*options, "--set", "select.budget=5", "--set", "select.rules.group_most=1").exit_code == 0
    assert len(picked("o")) == 2
    assert "59" in picked("o")
    Path("a.parquet").write_bytes(b"none")
    assert refusal(*options).startswith("a.parquet: expected the columns key, group and cost, got: ")


def test_a_parquet_with_keys_and_a_folder_of_parts_give_the_picks_of_the_matrix():
    x = np.load("x.npy")
    keys = [f"image-{i}" for i in range(60)]
    table = pa.table({"key": keys, "vector": pa.array(list(x), pa.list_(pa.float32()))})
    pq.write_table(table, "x.parquet")
    Path("parts").mkdir()
    for part in range(3):
        np.save(f"parts/{part}.npy", x[20 * part : 20 * part + 20])
    for path in ("x.npy", "x.parquet", "parts"):
        assert run("--vectors", path, "--out", f"of-{path}", "--set", "select.budget=6").exit_code == 0
    rows = picked("of-x.npy")
    assert picked("of-parts") == rows
    assert picked("of-x.parquet") == [f"image-{row}" for row in rows]
    one, other = (json.loads(Path(f"of-{path}/record.json").read_text()) for path in ("x.npy", "parts"))
    assert one == other


def test_a_method_that_needs_a_model_says_so_and_reads_its_outputs():
    says = refusal("--set", "select.method=margin")
    assert "margin" in says
    assert "keep_round" in says
    keys, x = [f"k{i:03d}" for i in range(60)], np.load("x.npy")
    weight = np.zeros((2, 8), np.float32)
    weight[0, 0] = 1  # the two classes are alike where the first number is 0
    ModelOutputs(Embeddings(keys, x), weight, np.zeros(2, np.float32)).write(Path("data/rounds/outputs"))
    assert run("--set", "select.method=margin", "--set", "select.budget=3").exit_code == 0
    assert picked() == [keys[row] for row in np.abs(x[:, 0]).argsort()[:3]]


def on_disk(*arguments):
    return run(*arguments, "--set", "select.resident_mb=0", "--set", "select.budget=9")


def test_vectors_on_disk_give_the_picks_and_the_record_of_those_in_memory():
    x = np.load("x.npy").astype(np.float16)
    np.save("half.npy", x)
    Path("parts").mkdir()
    for part in range(3):
        np.save(f"parts/{part}.npy", x[25 * part : 25 * part + 25])
    Path("mine.csv").write_text("key\n7\n30\n")
    for method in ("auto", "kmeans", "random"):
        sets = ["--set", f"select.method={method}", "--set", "select.labeled=mine.csv"]
        assert run("--vectors", "half.npy", "--out", "one", "--set", "select.budget=9", *sets).exit_code == 0
        done = on_disk("--vectors", "parts", "--out", "two", *sets)
        assert (done.exit_code, done.stdout) == (0, f"{method}: 9 of 60 images\n")
        assert Path("one/picks.csv").read_bytes() == Path("two/picks.csv").read_bytes()
        one, two = (json.loads(Path(out, "record.json").read_text()) for out in ("one", "two"))
        assert (one["select"].pop("resident_mb"), two["select"].pop("resident_mb")) == (4000, 0)
        del one["quality"]["density_percentile"]
        assert one == two


def test_embeddings_of_the_chain_may_stay_on_disk():
    Path("data/rounds/00").mkdir()
    Path("data/rounds/00/labels.csv").write_text("key,label\nk003,cat\nk007,dog\n")
    assert run("--out", "one", "--set", "select.budget=9").exit_code == 0
    assert on_disk("--out", "two").exit_code == 0
    assert Path("one/picks.csv").read_bytes() == Path("two/picks.csv").read_bytes()
    assert json.loads(Path("two/record.json").read_text())["labelled_before"] == 2
    Path("data/rounds/00/labels.csv").write_text("key,label\nelse,cat\n")
    says = "data/rounds: key else: expected the key of an image to select from, as in keys.txt, got none of these"
    assert on_disk("--out", "two").stderr == f"Error: {says}\n"


def test_what_cannot_be_done_for_vectors_on_disk_is_refused_before_they_are_read():
    bad = np.load("x.npy")
    bad[3] = np.nan
    np.save("bad.npy", bad)

    def says(*options):
        done = on_disk("--vectors", "bad.npy", "--out", "o", *options)
        assert done.exit_code == 1
        assert not Path("o").exists()
        return done.stderr.removeprefix("Error: ").strip()

    why = "as bad.npy takes 0 MB as float32 and select.resident_mb is 0"
    expected = "params.yaml: select.method: expected one of auto, kmeans, random"
    assert says("--set", "select.method=typiclust") == f"{expected}, {why}, got typiclust"
    for rule, value in (("min_distance", 0.1), ("outliers", 0.1), ("group_most", 2)):
        got = says("--set", f"select.rules.{rule}={value}")
        assert got == f"params.yaml: select.rules.{rule}: expected 0, {why}, got {value:g}"
    Attributes([str(i) for i in range(60)], ["a"] * 60, np.ones(60)).write(Path("a.parquet"))
    Path("a.csv").write_text("key,group,cost\n")
    for file in ("a.parquet", "a.csv"):
        assert says("--attributes", file) == f"{file}: expected no costs, {why}"
    Path("a.csv").unlink()
    assert says("--attributes", "a.csv").startswith("a.csv: expected the columns key, group and cost, got: ")
    assert says() == "bad.npy: expected finite numbers, got 1 rows with NaN or infinity, first 3"
