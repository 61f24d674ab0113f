import hashlib
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest
from pipeline.ingest.names import key_of
from pipeline.shards.reader import load

OUT = Path("data/ingest")


def hashes(folder):
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files(folder)}


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name not in ("logs", "scratch"))


def test_digits_arrive_whole(ingest):
    result = ingest("ingest.shard_images=500")
    assert result.exit_code == 0, result.output
    images, digits = load_digits(return_X_y=True)
    manifest = Manifest.read(OUT / "manifest.json")
    index = Index.read(OUT / "index.parquet")
    answers = Labels.read(OUT / "answers.csv")
    assert (manifest.source, manifest.channels, manifest.size, manifest.bad) == ("digits", 1, (8, 8), [])
    assert [shard.count for shard in manifest.splits["train"]] == [500, 500, 438]
    rows = {key_of(f"{row:04d}"): row for row in range(1797)}
    assert Sources.read(OUT / "sources.csv").path == {key: f"{row:04d}" for key, row in rows.items()}
    for split, count in (("train", 1438), ("test", 359)):
        seen = load(manifest, index, split, "")
        own = [rows[key] for key in seen.keys]
        assert len(own) == count
        assert np.array_equal(seen.pixels.numpy().reshape(-1, 64), np.rint(images[own] * 255 / 16))
        for key, row in zip(seen.keys, own, strict=True):
            assert answers.rows[key] == [str(digits[row]), ("even", "odd")[digits[row] % 2]]
    names = Classes.read(OUT / "classes.json").names
    assert names == {"label": [*"0123456789"], "coarse": ["even", "odd"]}


def test_shards_and_index_say_nothing_of_the_class(ingest):
    assert ingest().exit_code == 0
    answers = Labels.read(OUT / "answers.csv").rows
    index = Index.read(OUT / "index.parquet")
    labels = [int(answers[key][0]) for key in index.key]
    assert abs(np.corrcoef(labels[:-1], labels[1:])[0, 1]) < 0.1  # rows sorted by class would give almost 1
    assert abs(np.corrcoef(index.size, np.arange(len(labels)))[0, 1]) < 0.1
    for tar in Path("data/shards").rglob("*.tar"):
        with tarfile.open(tar) as file:
            members = file.getmembers()
        assert {member.name.split(".")[1] for member in members} == {"png"}
        assert {len(member.name) for member in members} == {24}
        assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}


def test_the_test_split_has_a_fifth_of_each_digit(ingest):
    assert ingest().exit_code == 0
    answers = Labels.read(OUT / "answers.csv").rows
    index = Index.read(OUT / "index.parquet")
    everything = Counter(answers[key][0] for key in index.key)
    test = Counter(answers[key][0] for key, split in zip(index.key, index.split, strict=True) if split == "test")
    assert all(abs(test[digit] - everything[digit] / 5) < 1 for digit in everything)


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_split(ingest):
    assert ingest().exit_code == 0
    first = hashes(Path("data"))
    assert ingest().exit_code == 0
    assert hashes(Path("data")) == first
    assert ingest("seed=1").exit_code == 0
    assert len(list(Path("data/shards").iterdir())) == 2
    assert hashes(OUT)["answers.csv"] == first["ingest/answers.csv"]
    assert hashes(OUT)["index.parquet"] != first["ingest/index.parquet"]


def test_the_command_runs_outside_the_tests(tmp_path):
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "stages.ingest",
        "--out",
        tmp_path / "out",
        "--set",
        f"ingest.shards_dir={tmp_path}",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "ingest: digits: 1438 to train, 359 to test; grey, 8 x 8; 0 left out"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "manifest.json",
        "index.parquet",
        "sources.csv",
        "answers.csv",
        "attributes.parquet",
        "classes.json",
    }
