"""The small set of tests/label with pictures that are known by a digest, guesses, and the two commands."""

import csv
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from pipeline.artifacts.labels import Sources
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from pipeline.exchange.formats import FORMATS
from stages.export_labels import main as export_labels
from stages.import_labels import main as import_labels
from tests.label.small_set import FILE, INGEST, KEYS, NAMES, path_of, small_set

AUDIT = ("--set", "label.audit=1")  # it falls on key5
PICTURES = {key: hashlib.blake2b(key.encode(), digest_size=10).hexdigest() for key in KEYS}
GUESSES = {"key0": "dog", "key1": "cat", "key3": "ant & bee", "key5": "cat"}  # none of key4


def with_guesses():
    Sources({key: path_of(key) for key in KEYS}, PICTURES).write(INGEST / "sources.csv")
    names = [[name, *(other for other in NAMES if other != name)] for name in GUESSES.values()]
    ranking = Ranking(names, np.array([[0.7, 0.2, 0.1]] * len(GUESSES)))
    Path("data/train").mkdir()
    PseudoLabels([*GUESSES], ranking).write(Path("data/train/pseudo_labels.csv"))


def name_of(key):
    return f"{key}-{PICTURES[key]}.png"


def export(form, *arguments):
    """Exports into a folder of the format's name; what the command says."""
    done = CliRunner().invoke(export_labels, ["--format", form, "--out", form, *arguments])
    return _said(done)


def take(*arguments):
    """Imports; what the command says."""
    done = CliRunner().invoke(import_labels, [*map(str, arguments)])
    return _said(done)


def _said(done):
    assert done.exit_code in (0, 1), done.output
    if done.exit_code:
        assert done.stderr.count("Error: ") == done.stderr.splitlines()[-1].count("Error: ") == 1
        return done.stderr.splitlines()[-1]
    return done.stdout.strip()


def labels():
    with FILE.open(newline="") as file:
        return {row["key"]: row["label"] for row in csv.DictReader(file)}


if __name__ == "__main__":  # makes the set and all exports in a new folder, for real/make.py
    made = Path(sys.argv[1])
    made.mkdir(parents=True)
    os.chdir(made)
    small_set()
    with_guesses()
    print(*(export(form, *AUDIT) for form in FORMATS), sep="\n")
