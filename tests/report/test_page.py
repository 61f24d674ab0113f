"""The page of a real run: self-contained, escaped, the same bytes twice, and honest about what is not known."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_csv
from pipeline.report import tables
from pipeline.report.inputs import Run
from pipeline.report.page import PICTURE_SIDE, Shown
from pipeline.shards.pictures import pictures
from tests.report.read_page import Outline, page

NASTY = "<script>alert(1)</script>"


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
    images = Outline(page()).images[:8]
    assert [image["src"] for image in images] == [uris[key].uri for key in shown.picks]
    label = {key: names[0] for key, names in run.labels.rows.items()}
    rows = read_csv(data / "select/picks.csv", ("rank", "key"))[1][:8]
    assert [image["alt"] for image in images] == [f"pick of rank {rank}, {label[key]}" for rank, key, *_ in rows]
    wrong = [c for a, b, c in pairs(run) if a != b]
    right = [c for a, b, c in pairs(run) if a == b]
    assert [one.confidence for one in shown.mistakes] == sorted(wrong, reverse=True)[:4]
    assert (shown.right[0].confidence, shown.right[-1].confidence) == (max(right), min(right))
    assert shown.most_confident == shown.least_confident == []


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
    for words in ("Level by level", "91.2 %", "83.4 %", "75.6 %", "0.042", f"0 {rows[first][1]} coarse 1 "):
        assert words in text
