"""The page of a real run: self-contained, escaped, the same bytes twice, and honest about what is not known."""

import json
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.shards import Index, Manifest
from pipeline.report import tables
from pipeline.report.page import PICTURE_SIDE, Shown
from pipeline.report.run import Run
from pipeline.shards.pictures import pictures
from stages.evaluate import main as evaluate
from stages.report import main as report

PARAMS = """seed: 7
evaluate: {neighbours: 5, random_draws: 3, batch_size: 64}
report: {pictures: 8}
reading: {cache_dir: none, cache_mb: 1, retries: 0, wait_s: 0, timeout_s: 1}
"""
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


def run_both(data):
    params = data.parent / "params.yaml"
    params.write_text(PARAMS)
    paths = {"ingest": "ingest", "embed": "embed", "labels": "label/labels.csv", "model": "train", "out": "evaluate"}
    arguments = [word for name, path in paths.items() for word in (f"--{name}", str(data / path))]
    assert CliRunner().invoke(evaluate, ["--params", str(params), *arguments]).exit_code == 0
    return data


def page_of(data, out="report"):
    params = data.parent / "params.yaml"
    result = CliRunner().invoke(report, ["--params", str(params), "--data", str(data), "--out", str(data / out)])
    assert result.exit_code == 0, result.output
    return (data / out / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(digits_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return run_both(shutil.copytree(digits_run, folder / "data"))


@pytest.fixture
def data(finished, tmp_path):
    shutil.copy(finished.parent / "params.yaml", tmp_path)
    return shutil.copytree(finished, tmp_path / "data")


def test_the_page_is_one_file_with_the_run_s_numbers_and_pictures(data):
    page = page_of(data)
    outline = Outline(page)
    metrics = json.loads((data / "evaluate/metrics.json").read_text())
    assert outline.links == []
    assert not re.search(r"url\(|@import|<script", page)
    assert (
        f"With {metrics['n_labels']} labels, {100 * metrics['top1']:.1f} % of the test images are right" in outline.text
    )
    assert f"{100 * metrics['top1_low']:.1f} % to {100 * metrics['top1_high']:.1f} %" in outline.text
    assert "seed 7" in outline.text
    assert page.count('class="draw"') == 3
    assert "What is not known" not in outline.text
    assert all(image["alt"] for image in outline.images)
    assert len(outline.images) == 8 + 4 + 4
    for image in outline.images:
        with Image.open(BytesIO(b64decode(image["src"].removeprefix("data:image/png;base64,")))) as picture:
            assert picture.size == (8, 8)
            assert image["class"] == "tiny"


def test_the_same_run_gives_the_same_bytes_without_a_folder_s_name(data):
    assert page_of(data) == page_of(data, "again")
    assert str(data) not in page_of(data)


def test_the_pictures_are_the_picks_in_rank_order(data):
    run = Run.read(data)
    shown = Shown.choose(run, 8)
    assert shown.picks == list(run.picks.keys[:8])
    found = pictures(run.manifest, run.index, shown.keys(), PICTURE_SIDE)
    order = [image["src"] for image in Outline(page_of(data)).images[:8]]
    assert order == [found[key].uri for key in shown.picks]


def test_shown_mistakes_are_the_surest_and_right_ones_run_from_end_to_end(data):
    run = Run.read(data)
    shown = Shown.choose(run, 8)
    p = run.predictions
    wrong = [c for a, b, c in zip(p.answers, p.predictions, p.confidence, strict=True) if a != b]
    right = [c for a, b, c in zip(p.answers, p.predictions, p.confidence, strict=True) if a == b]
    assert [guess.confidence for guess in shown.mistakes] == sorted(wrong, reverse=True)[:4]
    assert (shown.right[0].confidence, shown.right[-1].confidence) == (max(right), min(right))
    assert shown.sure == shown.unsure == []


def test_without_answers_the_page_says_what_is_not_known_and_why(data):
    (data / "ingest/answers.csv").write_text("key,label\n")
    run_both(data)
    text = Outline(page_of(data)).text
    assert "so how often the model is right cannot be known" in text
    assert "These metrics are absent, not zero." in text
    assert (
        "top1, top1_low, top1_high, macro_f1, ece, n_test_answered, probe_top1 : no test image has an answer." in text
    )
    assert "Where it is least sure" in text
    assert "interval" not in text
    assert "What the selection bought" not in text


def test_names_and_paths_are_escaped_everywhere(data):
    for name in ("label/labels.csv", "ingest/answers.csv", "ingest/sources.csv", "evaluate/predictions.csv"):
        text = (data / name).read_text().replace("nine", NASTY).replace("digits/", f"{NASTY}/")
        (data / name).write_text(text)
    model = (data / "train/model.json").read_text().replace('"unreached": []', json.dumps({"unreached": [NASTY]})[1:-1])
    (data / "train/model.json").write_text(model)
    m = Manifest.read(data / "ingest/manifest.json")
    Manifest(m.source, 1, m.size, m.splits, [{"path": NASTY, "reason": NASTY}]).write(data / "ingest/manifest.json")
    page = page_of(data)
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "<script" not in page
    assert outline.text.count(NASTY) > 5
    assert any(NASTY in image["title"] for image in outline.images)
    assert "No label reached" in outline.text


def test_images_left_out_are_listed_with_their_reasons(data):
    m = Manifest.read(data / "ingest/manifest.json")
    bad = [{"path": "scans/17.png", "reason": "the file has zero bytes"}]
    Manifest(m.source, 1, m.size, m.splits, bad).write(data / "ingest/manifest.json")
    text = Outline(page_of(data)).text
    assert "left out as unreadable 1" in text
    assert "scans/17.png the file has zero bytes" in text


def test_a_run_without_pretraining_has_no_curve_and_still_a_page(data):
    (data / "pretrain/curve.csv").write_text("\n")
    assert "Self-supervised, without labels" not in page_of(data)


def test_many_classes_are_shown_by_their_worst(data):
    run = Run.read(data)
    p = run.predictions
    g = np.random.default_rng(0)
    answers = [f"class {i:03}" for i in g.integers(0, 80, len(p.keys))]
    said = [a if i % 3 else "class 000" for i, a in enumerate(answers)]
    Predictions(p.keys, answers, said, p.confidence).write(data / "evaluate/predictions.csv")
    run = Run.read(data)
    assert tables.squares(run) == []
    rows = tables.class_rows(run, {})
    assert len(rows) == tables.ROWS < len(run.classes)
    known = [row.recall for row in rows if row.recall is not None]
    assert known == sorted(known)
    assert f"The {tables.ROWS} classes found least, of {len(run.classes)}." in Outline(page_of(data)).text


def test_class_rows_and_mixups_count_what_loops_count(data):
    run = Run.read(data)
    pairs = list(zip(run.predictions.answers, run.predictions.predictions, strict=True))
    for row in tables.class_rows(run, {"a": "one", "b": "one"}):
        own = [said for answer, said in pairs if answer == row.name]
        assert (row.images, row.recall) == (len(own), sum(said == row.name for said in own) / len(own))
        assert row.predicted == sum(said == row.name for _, said in pairs)
        assert row.labels == 2 * (row.name == "one")
    for answer, said, count in tables.mixups(run):
        assert count == pairs.count((answer, said)) > 0
        assert answer != said


def test_a_large_picture_is_made_small_and_kept_smooth(data, tmp_path):
    file = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (100, 400), dtype=np.uint8)).save(file)
    m, index = Manifest.read(data / "ingest/manifest.json"), Index.read(data / "ingest/index.parquet")
    shard = m.splits["train"][0]
    large = Manifest(m.source, 1, m.size, {"train": [type(shard)(str(file), file.stat().st_size, "", 1)]}, [])
    here = Index(["k"], ["train"], [str(file)], index.offset[:1] * 0, np.array([file.stat().st_size]))
    found = pictures(large, here, ["k"], PICTURE_SIDE)["k"]
    with Image.open(BytesIO(b64decode(found.uri.partition(",")[2]))) as picture:
        assert (picture.size, found.tiny) == ((112, 28), False)


def test_a_draw_that_is_no_number_is_one_line(data):
    (data / "evaluate/draws.csv").write_text("draw,top1\n0,high\n")
    params = data.parent / "params.yaml"
    result = CliRunner().invoke(report, ["--params", str(params), "--data", str(data), "--out", str(data / "report")])
    assert result.stderr.splitlines()[-1] == f"Error: {data / 'evaluate/draws.csv'}: expected a number, got 'high'"


def test_a_missing_part_is_named_and_no_page_is_left(data):
    (data / "select/picks.csv").unlink()
    params = data.parent / "params.yaml"
    result = CliRunner().invoke(report, ["--params", str(params), "--data", str(data), "--out", str(data / "report")])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {data / 'select/picks.csv'}: expected a file, found none"
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
    text = Outline(page_of(data)).text
    assert "Level by level" in text
    for shown in ("91.2 %", "83.4 %", "75.6 %", "0.042"):
        assert shown in text
    assert f"1 {rows[first][1]} coarse 2 " in text


def test_a_run_without_coarser_levels_has_no_such_table(data):
    assert "Level by level" not in page_of(data)
