"""A small set with picks, and the command `label` on it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.files import sha256
from pipeline.graph.run import nearest_others
from pipeline.shards.decode import encode
from stages.label import main
from tests.clouds import SEARCH
from tests.imports import ROOT

INGEST, FILE = Path("data/ingest"), Path("data/annotations/labels.csv")
TEMPLATE = FILE.with_name("template.csv")
NAMES = ["ant & bee", "cat", "dog"]
KEYS = [f"key{i}" for i in range(8)]  # the last two are test images
PICKS = ["key4", "key1", "key3"]
COARSE = ("--set", "label.coarse_budget=1")
FROM_FILE = ("--set", "label.source=file")


def path_of(key):
    return f'some, "odd" <b>/{key}.png'


def small_set():
    """Eight images in one shard: key i is i + 1 pixels high, all its pixels have the value 10 i."""
    shutil.copy(ROOT / "params.yaml", ".")
    shard = Path("data/shards/one.tar")
    blobs = [encode(np.full((1, i + 1, 6), 10 * i, np.uint8)) for i in range(8)]
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"".join(blobs))
    sizes = np.array([len(blob) for blob in blobs])
    split = ["train"] * 6 + ["test"] * 2
    INGEST.mkdir()
    Index(KEYS, split, [str(shard)] * 8, np.cumsum(sizes) - sizes, sizes).write(INGEST / "index.parquet")
    facts = str(shard), shard.stat().st_size, sha256(shard)
    splits = {"train": [Shard(*facts, 6)], "test": [Shard(*facts, 2)]}
    Manifest("folder", 1, (8, 8), splits, []).write(INGEST / "manifest.json")
    Sources({key: path_of(key) for key in KEYS}).write(INGEST / "sources.csv")
    answers(label=lambda i: NAMES[i % 3])
    classes(label=NAMES)
    pick(*PICKS)
    for folder in ("embed/train", "graph"):
        Path("data", folder).mkdir(parents=True)
    embed(KEYS[:6])


def embed(keys):
    """Embeddings and graph: each image is nearest to the one before and the one after it."""
    angle = np.arange(len(keys)) * 0.2
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    Embeddings(keys, vectors).write(Path("data/embed/train"))
    nearest_others(vectors, 4, SEARCH)[0].write(Path("data/graph"))


def answers(**levels):
    """Answers at these levels, each a function of an image's number."""
    rows = {key: [name(i) for name in levels.values()] for i, key in enumerate(KEYS)}
    Labels(list(levels), rows).write(INGEST / "answers.csv")


def two_levels():
    """Answers with a coarser level, whose name comes before `label` in the alphabet."""
    answers(label=lambda i: NAMES[i % 3], group=lambda i: "pet" if i % 3 else "insect")
    classes(label=NAMES, group=["insect", "pet"])


def nothing_known():
    """No answers, and no names of classes."""
    classes(label=[])
    Labels(["label"], {}).write(INGEST / "answers.csv")


def classes(**names):
    Classes(names).write(INGEST / "classes.json")


def pick(*keys):
    Selection(keys, np.arange(len(keys), 0.0, -1)).write(Path("data/select/picks.csv"))


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def labels(*arguments):
    """Runs the command, which must end well; labels.csv and what the command says."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return Path("data/label/labels.csv").read_text(), done.stdout


def refusal(*arguments):
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("Error: ").strip()


def labelled(text):
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")


def on_page():
    """The data of the page that asks for labels."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page())[1])


def page():
    return Path("data/label/page.html").read_text(encoding="utf-8")
