"""What the page says where little is known: no answers, few of them, no test split, and an audit in their place."""

import csv
import re
from dataclasses import replace

import numpy as np

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Predictions, PseudoLabels, Ranking
from pipeline.artifacts.shards import Index, Manifest
from pipeline.report.inputs import Run
from pipeline.report.page import Shown
from stages.evaluate import main as evaluate
from tests.report.read_page import Outline, command, page


def test_without_answers_the_page_says_what_is_not_known_and_why(data):
    (data / "ingest/answers.csv").write_text("key,label\n")
    command(evaluate)
    text = Outline(page()).text
    for words in (
        "supervised is not measured; with 30 labels spread over the graph, probably at least",
        "No test image has an answer.",
        "50 (forecast)",
        "These metrics are absent, not zero.",
        "Why: no image has an answer. What to do: set label.audit: 50 in params.yaml",
        "20 metrics right on the test images; right on the test images, each class counted alike; how far its",
        "The accuracy is not measured. Put audit: 50 into the block label of params.yaml "
        "(images that you confirm or label later are not asked about), then: dvc repro",
        "python -m stages.next_round --budget 40 && dvc repro",
        "Least confident",
    ):
        assert words in text
    for words in ("mean confidence", "What the selection bought"):
        assert words not in text
    shown, p = Shown.choose(Run.read(data), 8), Predictions.read(data / "evaluate/predictions.csv")
    ordered = sorted(p.confidence.tolist())
    assert [one.confidence for one in shown.least_confident] == ordered[:4]
    assert [one.confidence for one in shown.most_confident] == ordered[:-5:-1]


def test_with_answers_for_a_few_test_images_the_estimate_is_the_headline(data):
    tested = set(Predictions.read(data / "evaluate/predictions.csv").keys)
    lines = (data / "ingest/answers.csv").read_text().splitlines(keepends=True)
    mine = [line for line in lines if line.split(",")[0] in tested][:6]
    (data / "ingest/answers.csv").write_text("".join([lines[0], *mine]))
    command(evaluate)
    text = Outline(page()).text
    assert "supervised is not measured; with 30 labels spread over the graph, probably at least" in text
    assert re.search("Only 6 test images have an answer; [0-9.]+.% of them are right, which says little.", text)


def without_test_split(data):
    """The run as it is where no image has an answer: the test images are gone, and some pseudo-labels are there."""
    manifest, index = Manifest.read(data / "ingest/manifest.json"), Index.read(data / "ingest/index.parquet", "train")
    replace(manifest, splits={**manifest.splits, "test": []}).write(data / "ingest/manifest.json")
    index.write(data / "ingest/index.parquet")
    (data / "ingest/answers.csv").write_text("key,label\n")
    train = Embeddings.read(data / "embed/train")
    Embeddings([], train.vectors[:0]).write(data / "embed/test")
    labelled = Labels.read(data / "label/labels.csv").rows
    free = [key for key in index.key if key not in labelled]
    p = np.linspace([0.3, 0.2, 0.1], [0.9, 0.05, 0.05], len(free))
    PseudoLabels(free, Ranking([["one", "two", "six"]] * len(free), p)).write(data / "train/pseudo_labels.csv")
    return free


def test_without_a_test_split_the_page_shows_the_images_without_a_label(data):
    free = without_test_split(data)
    command(evaluate)
    text = Outline(page()).text
    for words in (
        "400 training images · seed 7",
        "No image is held out for a test; label.audit asks for the labels of random images, to measure.",
        "Predictions for the images without a label",
    ):
        assert words in text
    assert [one.key for one in Shown.choose(Run.read(data), 2).most_confident] == [free[-1]]


def test_labels_that_are_not_of_the_last_picks_are_told_apart(data):
    assert "; images chosen by " in Outline(page()).text
    labels, other = Labels.read(data / "label/labels.csv"), without_test_split(data)[0]
    Labels(labels.levels, {**labels.rows, other: ["two"]}).write(data / "label/labels.csv")
    command(evaluate)
    text = Outline(page()).text
    assert (
        "chose, 30 have a label; the other 1 labels are of earlier rounds or of images that you chose; training" in text
    )


def test_an_audit_is_the_headline_where_no_image_is_held_out(data):
    free = without_test_split(data)[:41]
    asked = {key: ["one" if i % 4 else "two"] for i, key in enumerate(free[:40])} | {free[40]: [""]}
    Labels(["label"], asked).write(data / "label/audit.csv")
    command(evaluate)
    text = Outline(page()).text
    assert (
        "With 30 labels, 75 % of the images without one are right The 95 % interval is 59 % to 87 %, for the images"
        in text
    )
    assert "two taken for one 10" in text
    words = "40 of 41 that were asked for have a label: were the other 1 all wrong, 73 % would be right; were they all"
    assert f"{words} right, 76 %. Pretraining: " in text
    assert "Level by level" not in text


def test_the_table_beside_the_page_has_a_row_for_every_image(data):
    free = without_test_split(data)
    Labels(["label"], {free[0]: ["two"]}).write(data / "label/audit.csv")
    command(evaluate)
    page()
    run, label = Run.read(data), {key: names[0] for key, names in Labels.read(data / "label/labels.csv").rows.items()}
    rows = list(csv.DictReader((data / "report/predictions.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == sorted(run.sources.path[key] for key in run.index.key)
    for row in rows:
        known = label.get(row["key"]) or {free[0]: "two"}.get(row["key"])
        sure = float(row["confidence"]) >= 0.5
        assert row["path"] == run.sources.path[row["key"]]
        assert row["status"] == ("labelled" if known else "predicted" if sure else "unsure")
        assert [row["class"], row["second"], row["third"]] == ([known, "", ""] if known else ["one", "two", "six"])
    assert {row["status"] for row in rows} == {"labelled", "predicted", "unsure"}
