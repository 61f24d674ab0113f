"""The page of a real run: self-contained, escaped, the same bytes twice, and honest about what is not known."""

import csv
import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions, PseudoLabels, Ranking
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError
from pipeline.report import tables
from pipeline.report.inputs import Run
from pipeline.report.page import PICTURE_SIDE, Shown
from pipeline.shards.pictures import pictures
from stages.evaluate import main as evaluate
from stages.report import main as report

NASTY = "<script>alert(1)</script>"
VOID = {"meta", "img", "br", "link", "input"}


class Outline(HTMLParser):
    """Collects images, links to elsewhere and the text; refuses tags that do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.links, self.words, self.tags = [], [], [], [], set()
        self.feed(page)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).replace("\u202f", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action") and value[:5] != "data:"]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def command(main, *sets, code=0):
    result = CliRunner().invoke(main, [word for item in sets for word in ("--set", item)])
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1:]


def page(code=0):
    """The page as it is now; or what the command says where it fails."""
    says = command(report, "seed=7", "report.pictures=8", "report.map=none", code=code)
    return says[-1].removeprefix("Error: ") if code else Path("data/report/index.html").read_text(encoding="utf-8")


@pytest.fixture
def data(run):
    """A run with its `evaluate`, in the working directory."""
    command(evaluate, "evaluate.random_draws=3")
    return run


def pairs(run):
    return list(zip(run.predictions.answers, run.predictions.predictions, run.predictions.confidence, strict=True))


def with_bad(data, path, reason):
    m = Manifest.read(data / "ingest/manifest.json")
    Manifest(m.source, 1, m.size, m.splits, [{"path": path, "reason": reason}]).write(data / "ingest/manifest.json")


def test_the_page_is_one_file_with_the_run_s_numbers_and_pictures(data):
    text = page()
    outline = Outline(text)
    m = json.loads((data / "evaluate/metrics.json").read_text())
    assert outline.links[-6:] == [
        "map.html",
        "gallery.html",
        "predictions.csv",
        "../evaluate/metrics.json",
        "../select/picks.csv",
        "../label/page.html",
    ]
    ids = {link[1:] for link in outline.links[:-6] if link[0] == "#"}
    assert all(f'id="{name}"' in text for name in ids)
    assert ids > {"expect", "picks", "classes", "mistakes", "run"}
    assert not re.search(r"url\(|@import|<script", text)
    for words in (
        f"With {m['n_labels']} labels, {100 * m['top1']:.1f} % of the test images are right",
        f"{100 * m['top1_low']:.1f} % to {100 * m['top1_high']:.1f} %",
        "seed 7",
        "Predictions are counted on the test images. The shares assumed and found are of the training images",
    ):
        assert words in outline.text
    for words in ("What is not known", "Level by level"):
        assert words not in outline.text
    assert text.count('class="draw"') == 3
    assert all(image["alt"] for image in outline.images)
    assert len(outline.images) == 8 + 4 + 4
    for image in outline.images:
        with Image.open(BytesIO(b64decode(image["src"].removeprefix("data:image/png;base64,")))) as picture:
            assert picture.size == (8, 8)
            assert image["class"] == "tiny"
    assert page() == text
    assert str(data.resolve()) not in text


def test_picks_by_rank_mistakes_by_confidence_and_right_ones_from_end_to_end(data):
    run = Run.read(data)
    shown = Shown.choose(run, 8)
    assert shown.picks == list(run.picks.keys[:8])
    uris = pictures(run.manifest, run.index, shown.keys(), PICTURE_SIDE)
    assert [image["src"] for image in Outline(page()).images[:8]] == [uris[key].uri for key in shown.picks]
    wrong = [c for a, b, c in pairs(run) if a != b]
    right = [c for a, b, c in pairs(run) if a == b]
    assert [one.confidence for one in shown.mistakes] == sorted(wrong, reverse=True)[:4]
    assert (shown.right[0].confidence, shown.right[-1].confidence) == (max(right), min(right))
    assert shown.most_confident == shown.least_confident == []


def test_without_answers_the_page_says_what_is_not_known_and_why(data):
    (data / "ingest/answers.csv").write_text("key,label\n")
    command(evaluate)
    text = Outline(page()).text
    of_model = "top1, top1_low, top1_high, macro_f1, ece, n_test_answered, probe_top1, propagate_top1"
    for words in (
        "With 30 labels spread over the graph, probably at least",
        "No test image has an answer.",
        "50 (forecast)",
        "These metrics are absent, not zero.",
        "right on the test images; right on the test images, each class counted alike; how far its confidence is",
        f"{of_model} Why: no test image has an answer. What to do: set label.audit: 50 in params.yaml",
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
    assert "With 30 labels spread over the graph, probably at least" in text
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
        "mean_confidence Why: no image is held out for a test. What to do: set ingest.test_fraction: 0.2",
    ):
        assert words in text
    assert [one.key for one in Shown.choose(Run.read(data), 2).most_confident] == [free[-1]]


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


def test_names_and_paths_are_escaped_everywhere(data):
    for name in ("label/labels.csv", "ingest/answers.csv", "ingest/sources.csv", "evaluate/predictions.csv"):
        text = (data / name).read_text().replace("nine", NASTY).replace("digits/", f"{NASTY}/")
        (data / name).write_text(text)
    model = (data / "train/model.json").read_text().replace('"unreached": []', json.dumps({"unreached": [NASTY]})[1:-1])
    (data / "train/model.json").write_text(model)
    with_bad(data, NASTY, NASTY)
    text = page()
    outline = Outline(text)
    assert "script" not in outline.tags
    assert "<script" not in text
    assert outline.text.count(NASTY) > 5
    assert any(NASTY in image["title"] for image in outline.images)
    assert f"Class without a label: {NASTY}" in outline.text


def test_images_left_out_are_listed_and_a_run_without_pretraining_has_no_curve(data):
    assert "Self-supervised, without labels" in page()
    with_bad(data, "scans/17.png", "the file has zero bytes")
    (data / "pretrain/curve.csv").write_text("\n")
    text = Outline(page()).text
    assert "left out as unreadable 1" in text
    assert "scans/17.png the file has zero bytes" in text
    assert "Self-supervised, without labels" not in text


def test_many_classes_are_shown_by_their_worst(data):
    p, g = Run.read(data).predictions, np.random.default_rng(0)
    answers = [f"class {i:03}" for i in g.integers(0, 80, len(p.keys))]
    predictions = [a if i % 3 else "class 000" for i, a in enumerate(answers)]
    Predictions(p.keys, answers, replace(p.ranking, names=[[name] for name in predictions])).write(
        data / "evaluate/predictions.csv"
    )
    run = Run.read(data)
    assert tables.squares(run) == []
    rows = tables.class_rows(run, {})
    assert len(rows) == tables.ROWS < len(run.classes)
    recall = [row.recall for row in rows if row.recall is not None]
    assert recall == sorted(recall)
    assert (
        f"The {tables.ROWS} classes with the least recall (share that is right), of {len(run.classes)}."
        in Outline(page()).text
    )


def test_class_rows_and_mixups_count_what_loops_count(data):
    run = Run.read(data)
    named = [pair[:2] for pair in pairs(run)]
    for row in tables.class_rows(run, {"a": "one", "b": "one"}):
        own = [prediction for answer, prediction in named if answer == row.name]
        assert (row.images, row.recall) == (len(own), own.count(row.name) / len(own))
        assert row.predicted == sum(prediction == row.name for _, prediction in named)
        assert row.labels == 2 * (row.name == "one")
    counts = [named.count((answer, prediction)) for answer, prediction, _ in tables.mixups(run)]
    assert counts == [count for _, _, count in tables.mixups(run)] == sorted(counts, reverse=True)
    assert all(answer != prediction for answer, prediction, _ in tables.mixups(run))
    assert counts[0] == max(named.count(pair) for pair in named if pair[0] != pair[1])


def test_a_large_picture_is_made_small_and_kept_smooth(tmp_path):
    file = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (100, 400), dtype=np.uint8)).save(file)
    size = file.stat().st_size
    large = Manifest("made", 1, (8, 8), {"train": [Shard(str(file), size, "", 1)]}, [])
    index = Index(["k"], ["train"], [str(file)], np.zeros(1, np.int64), np.array([size]))
    found = pictures(large, index, ["k"], PICTURE_SIDE)["k"]
    with Image.open(BytesIO(b64decode(found.uri.partition(",")[2]))) as picture:
        assert (picture.size, found.tiny) == ((112, 28), False)
    with pytest.raises(ArtifactError, match=r"^index.parquet: key a: expected an image, found none of that key$"):
        pictures(large, index, ["k", "a"], PICTURE_SIDE)


def test_a_draw_that_is_no_number_and_a_missing_part_are_one_line_and_leave_no_page(data):
    (data / "evaluate/draws.csv").write_text("draw,top1\n0,high\n")
    assert page(code=1) == "data/evaluate/draws.csv: expected a number, got 'high'"
    (data / "select/picks.csv").unlink()
    assert page(code=1) == "data/select/picks.csv: expected a file, found none"
    assert not (data / "report").exists()


def test_coarser_levels_have_a_table_and_coarse_picks_their_name(data):
    given = Labels.read(data / "label/labels.csv")
    rows = {key: [*names, "even" if len(names[0]) % 2 else "odd"] for key, names in given.rows.items()}
    first = Selection.read(data / "select/picks.csv").keys[0]
    rows[first][0] = ""
    Labels(["label", "coarse"], rows).write(data / "label/labels.csv")
    values = json.loads((data / "evaluate/metrics.json").read_text())
    more = {"coarse_top1": 0.912, "coarse_consistency": 0.834, "nearest_top1": 0.756, "nearest_ece": 0.0421}
    (data / "evaluate/metrics.json").write_text(json.dumps({**values, **more}))
    text = Outline(page()).text
    for words in ("Level by level", "91.2 %", "83.4 %", "75.6 %", "0.042", f"1 {rows[first][1]} coarse 2 "):
        assert words in text
