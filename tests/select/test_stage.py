"""`python -m stages.select`, in the chain and on a bare matrix, with every message that it can give."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts.audit import audit_keys, write_audit
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import ModelOutputs
from pipeline.artifacts.skipped import Skipped
from pipeline.select.methods import SELECTORS
from tests.imports import ROOT
from tests.select.command import KEYS, NUMBERS, VECTORS, done, picked, record, refusal

NAMES = ", ".join(sorted(SELECTORS))
ATTRIBUTES = (*VECTORS, "--attributes", "a.parquet")
FROM_ATTRIBUTES = "come from ingest.attributes, with --vectors from --attributes"
pytestmark = pytest.mark.usefixtures("here")


def test_the_chain_writes_picks_and_a_record_without_times():
    assert done(budget=7, method="usl") == "usl: 7 of 60 images\n"
    assert sorted(p.name for p in Path("data/select").iterdir()) == ["picks.csv", "record.json"]
    assert len(set(picked()) & set(KEYS)) == 7
    found = record()
    params, block, figures = (found.pop(name) for name in ("params", "select", "quality"))
    assert params["horizon"] == {"kind": "radius", "value": 4.0}
    assert block.pop("search")["memory_mb"] == 1000
    assert block == {
        "budget": 7, "max_cost": 0.0, "labelled": "data/rounds",
        "rules": {"min_distance": 0.0, "outliers": 0.0, "group_most": 0},
    }  # fmt: skip
    assert set(figures) == {"mean_distance", "max_distance", "cluster_coverage", "density_percentile", "sample"}
    assert set(found.pop("versions")) == {"numpy", "faiss"}
    x = Embeddings.read(Path("data/embed/train")).vectors
    assert found == {
        "method": "usl", "picks": 7, "cost": 7.0, "seed": 0, "n": 60, "d": 8,
        "found": {"neighbours": "exact", "passes": 1, "replaced": 0},
        "labelled_before": 0, "labelled_before_sha256": hashlib.sha256(b"").hexdigest(), "skipped_before": 0,
        "vectors_sha256": hashlib.sha256(x.tobytes()).hexdigest(), "attributes_sha256": None, "outputs_sha256": None,
    }  # fmt: skip
    log = json.loads(Path("data/logs/select.json").read_text())
    assert log["images"] == 60
    before = [Path("data/select", name).read_bytes() for name in ("picks.csv", "record.json")]
    done(budget=7, method="usl")
    assert [Path("data/select", name).read_bytes() for name in ("picks.csv", "record.json")] == before


def test_the_command_of_the_guide_on_a_bare_matrix():
    options = ["--set", "select.method=usl", "--set", "select.budget=40", "--set", "seed=3"]
    command = [sys.executable, "-m", "stages.select", "--vectors", "x.npy", "--out", "picks.csv", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    assert (result.returncode, result.stdout) == (0, "usl: 40 of 60 images\n")
    assert result.stderr.splitlines()[0] == "vectors of length 1 to 1, taken as they are"
    with Path("picks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["rank", "key", "score"]
    assert len({row["key"] for row in rows} & set(NUMBERS)) == 40
    assert not Path("data/logs").exists()
    assert not Path("data/select").exists()


def test_only_the_selectors_that_train_import_torch():
    says = "import sys; import stages.select; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "False\n"


def test_a_bare_matrix_may_have_a_record_too_and_picks_alone_leave_no_log():
    done(*VECTORS, method="random")
    assert (record("o")["found"], record("o")["select"]["budget"]) == ({"passes": 1, "replaced": 0}, 40)
    done("--out", "p.csv")
    assert {path.name for path in Path().iterdir()} == {"data", "o", "p.csv", "params.yaml", "x.npy"}
    assert not Path("data/logs").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": 0}, "select.budget: expected greater than or equal to 1, got 0"),
        ({"budget": 61}, "select.budget: expected at most 60, the images of data/embed/train without a label, got 61"),
        ({"budget": 2.5}, "select.budget: expected a whole number of images (what their labels may cost together is "
                          "select.max_cost), got 2.5"),
        ({"budget": "few"}, "select.budget: expected a valid integer, got 'few'"),
        ({"max_cost": 21}, f"select.max_cost: expected 0, as no costs are given, got 21; costs {FROM_ATTRIBUTES}"),
        ({"labeled": "x"}, "select.labeled: expected its new name, select.labelled, got the old one"),
        ({"rules__outliers": 1}, "select.rules.outliers: expected less than 1, got 1"),
        ({"rules__group_most": 2},
         f"select.rules.group_most: expected 0, as no image has a group, got 2; groups {FROM_ATTRIBUTES}"),
        ({"search__memory_mb": 8}, "select.search.memory_mb: expected greater than or equal to 64, got 8"),
        ({"method": "best"}, f"select.method: expected one of {NAMES}, got 'best'"),
        ({"method": "usl", "usl__weight": -1}, "select.usl.weight: expected greater than or equal to 0, got -1"),
        ({"method": "usl", "usl": 3}, "select.usl: expected a block, got 3"),
        ({"method": "usl", "usl__weigth": 1}, "select.usl: unknown ['weigth']; is it weight?"),
        ({"method": "usl", "usl__horizon": "{kind: nearest, value: 2.5}"},
         "select.usl.horizon: expected a whole number of nearest picks, got {'kind': 'nearest', 'value': 2.5}"),
        ({"fast": 1}, "select: unknown ['fast']"),
    ],
)  # fmt: skip
def test_params_are_refused(values, message):
    assert refusal(**values) == f"params.yaml: {message}"
    assert not Path("data/select").exists()


def test_another_methods_broken_block_is_not_read():
    done(method="random", usl__weight=-1)


def test_bad_vectors_and_missing_files_are_named():
    np.save("bad.npy", np.array([[1], [np.nan], [np.inf]]))
    says = "bad.npy: expected finite numbers, got 2 rows with NaN or infinity, first 1"
    assert refusal("--vectors", "bad.npy", "--out", "o") == says
    assert refusal("--embeddings", "no") == "no/keys.txt: expected a file, found none"


def test_finished_rounds_are_not_picked_again_and_their_labels_do_not_matter():
    first = ["k003", "k007", "k059"]
    for out, labels in (("one", ("cat", "cat", "dog")), ("two", ("dog", "emu", "cat"))):
        rows = {key: [name] for key, name in zip(first, labels, strict=True)}
        Labels(["label"], rows).write(Path("data/rounds/00/labels.csv"))
        done("--out", out, budget=20)
        assert not set(picked(out)) & set(first)
    assert picked("one") == picked("two")
    assert record("one")["labelled_before"] == 3
    says = "params.yaml: select.budget: expected at most 57, the images of data/embed/train without a label, got 58"
    assert refusal(budget=58) == says


@pytest.mark.parametrize("name", ["myrounds", "mine.csv", "list.CSV"])
def test_labelled_images_of_a_bare_matrix_are_never_ignored(name):
    if name == "myrounds":
        Labels(["label"], {key: ["cat"] for key in NUMBERS[:50]}).write(Path("myrounds/00/labels.csv"))
    else:
        Path(name).write_text("key\n" + "".join(f"{key}\n" for key in NUMBERS[:50]))
    done(*VECTORS, budget=10, labelled=name)
    assert sorted(picked("o")) == NUMBERS[50:]


def test_labelled_images_that_are_others_are_refused():
    Path("mine.csv").write_text("key\n60\n")
    says = "mine.csv: key 60: expected the key of an image to select from, as in keys.txt, got none of these"
    assert refusal(*VECTORS, labelled="mine.csv") == says


def test_the_chains_own_rounds_count_for_its_own_images_in_any_file():
    pq.write_table(pa.table({"key": KEYS, "vector": list(np.load("x.npy"))}), "x.parquet")
    Labels(["label"], {key: ["cat"] for key in KEYS[:50]}).write(Path("data/rounds/00/labels.csv"))
    done("--vectors", "x.parquet", "--out", "o", budget=10)
    assert sorted(picked("o")) == KEYS[50:]
    done("--vectors", "x.npy", "--out", "p", budget=20)
    assert len(picked("p")) == 20  # row numbers: other images


def test_skipped_picks_make_way_in_their_round_and_are_not_picked_later():
    done(budget=6)
    plain, rounds = picked(), Path("data/rounds")
    Skipped([], [], [], []).and_({plain[1]: "skipped", "gone": "not usable"}, 0).write(rounds)
    assert done(budget=6) == "auto: 6 of 60 images\n"
    other = picked()
    assert other[:5] == [key for key in plain if key != plain[1]]
    assert other[5] not in plain
    assert (record()["found"]["replaced"], record()["skipped_before"]) == (1, 0)
    Labels(["label"], {key: ["cat"] for key in other}).write(rounds / "00/labels.csv")
    done(budget=53)
    assert set(KEYS) - set(picked()) == {*other, plain[1]}
    assert (record()["found"]["replaced"], record()["skipped_before"]) == (0, 1)
    assert refusal(budget=54).endswith("expected at most 53, the images of data/embed/train without a label, got 54")
    np.save("other.npy", np.load("x.npy"))
    done("--vectors", "other.npy", "--out", "o.csv", budget=6)  # not of these images


def test_if_no_image_may_be_picked_it_says_so():
    Path("mine.csv").write_text("key\n0\n")
    assert refusal(*VECTORS, labelled="mine.csv", rules__min_distance=10) == (
        "select.rules: expected an image that may be picked, found none: each has a label, is near one that has, was "
        "skipped, is an outlier, is of a full group or costs more than select.max_cost"
    )


def test_uneven_lengths_are_said(caplog):
    caplog.set_level("INFO")
    x = np.load("x.npy")
    x[3] *= 1e5
    np.save("x.npy", x)
    done(*VECTORS)
    assert "unit length would help" in caplog.text


def test_a_parquet_with_keys_and_a_folder_of_parts_give_the_picks_of_the_matrix():
    x = np.load("x.npy")
    table = pa.table({"key": KEYS, "vector": pa.array(list(x), pa.list_(pa.float32()))})
    pq.write_table(table, "x.parquet")
    Path("parts").mkdir()
    for part in range(3):
        np.save(f"parts/{part}.npy", x[20 * part : 20 * part + 20])
    for path in ("x.npy", "x.parquet", "parts"):
        done("--vectors", path, "--out", f"of-{path}", budget=6)
    rows = picked("of-x.npy")
    assert picked("of-parts") == rows
    assert picked("of-x.parquet") == [KEYS[int(row)] for row in rows]
    assert record("of-x.npy") == record("of-parts")


def test_a_method_that_needs_a_model_reads_its_outputs():
    x, weight = np.load("x.npy"), np.zeros((2, 8), np.float32)
    weight[0, 0] = 1  # the two classes are alike where the first number is 0
    ModelOutputs(Embeddings(KEYS, x), weight, np.zeros(2, np.float32)).write(Path("data/rounds/outputs"))
    done(method="margin", budget=3)
    assert picked() == [KEYS[row] for row in np.abs(x[:, 0]).argsort()[:3]]


ON_DISK = ("--set", "machine.vectors_mb=0")


def test_vectors_on_disk_give_the_picks_and_the_record_of_those_in_memory():
    x = np.load("x.npy").astype(np.float16)
    np.save("half.npy", x)
    Path("parts").mkdir()
    for part in range(3):
        np.save(f"parts/{part}.npy", x[25 * part : 25 * part + 25])
    Path("mine.csv").write_text("key\n7\n30\n")
    for method in ("auto", "kmeans", "random"):
        values = {"method": method, "labelled": "mine.csv", "budget": 9}
        done("--vectors", "half.npy", "--out", "one", **values)
        assert done("--vectors", "parts", "--out", "two", *ON_DISK, **values) == f"{method}: 9 of 60 images\n"
        assert Path("one/picks.csv").read_bytes() == Path("two/picks.csv").read_bytes()
        one = record("one")
        del one["quality"]["density_percentile"]
        assert one == record("two")


def test_embeddings_of_the_chain_may_stay_on_disk(caplog):
    Labels(["label"], {"k003": ["cat"], "k007": ["dog"]}).write(Path("data/rounds/00/labels.csv"))
    done("--out", "one")
    done("--out", "two", *ON_DISK)
    assert Path("one/picks.csv").read_bytes() == Path("two/picks.csv").read_bytes()
    assert record("two")["labelled_before"] == 2
    Labels(["label"], {"else": ["cat"]}).write(Path("data/rounds/00/labels.csv"))
    done("--out", "three", *ON_DISK)
    assert record("three")["labelled_before"] == 0
    assert "select: 1 images with a label in data/rounds are not to train any more" in caplog.messages


def test_images_of_an_audit_are_never_picked_in_the_chain():
    keys = [f"k{i:03d}" for i in range(60)]
    audit = audit_keys(keys, [], 20, ())
    done("--set", "label.audit=20", budget=40)
    assert sorted([*picked(), *audit]) == keys
    Labels(["label"], {key: ["cat"] for key in picked()[:5]}).write(Path("data/rounds/00/labels.csv"))
    done("--set", "label.audit=20", budget=35)
    assert not {*picked()} & {*audit}
    write_audit(Path("data/rounds"), audit[5:])  # of a time with fewer images
    done("--set", "label.audit=5", budget=35)
    assert not {*picked()} & {*audit}
    done(*VECTORS, "--set", "label.audit=20", budget=60)  # a bare matrix has none


def test_what_cannot_be_done_for_vectors_on_disk_is_refused_before_they_are_read():
    bad = np.load("x.npy")
    bad[3] = np.nan
    np.save("bad.npy", bad)
    given = ("--vectors", "bad.npy", "--out", "o", *ON_DISK)
    why = "as bad.npy takes 0 MB as float32 and machine.vectors_mb is 0"
    expected = "params.yaml: select.method: expected one of auto, kmeans, random"
    assert refusal(*given, method="typiclust") == f"{expected}, {why}, got typiclust"
    for name, value in {"rules.min_distance": 0.1, "rules.outliers": 0.1, "rules.group_most": 2, "max_cost": 3}.items():
        found = refusal(*given, **{name.replace(".", "__"): value})
        assert found == f"params.yaml: select.{name}: expected 0, {why}, got {value:g}"
    assert refusal(*given) == "bad.npy: expected finite numbers, got 1 rows with NaN or infinity, first 3"


def test_picks_that_are_copies_of_others_are_counted_and_a_rule_keeps_them_apart(caplog):
    x = np.load("x.npy")
    np.save("x.npy", np.concatenate([x[:30], x[:30]]))
    done(*VECTORS, method="random", budget=40)
    count = 40 - len({int(key) % 30 for key in picked("o")})
    assert count >= 10
    assert any(line.startswith(f"select: {count} of 40 picks are copies of others") for line in caplog.messages)
    caplog.clear()
    done(*VECTORS, method="random", budget=25, rules__min_distance=0.0001)
    assert len({int(key) % 30 for key in picked("o")}) == 25
    assert not [line for line in caplog.messages if "copies" in line]
