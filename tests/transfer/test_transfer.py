"""The command on a small run, a folder and tars: what it measures, what it computes once, and what it refuses."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import read_json
from pipeline.base.params import Params
from pipeline.evaluate.probes import nearest_vote
from pipeline.shards.reader import load
from pipeline.study.score import train_and_test
from pipeline.transfer import cell, measures, scaling
from pipeline.transfer import run as run_module
from pipeline.transfer.image_sets import ImageSet
from pipeline.transfer.scaling import forecast
from stages.transfer import main
from tests.commands import FEW, refusal
from tests.digits_tree import NAMES

SMALL = ("--seeds", "2", "--labels", "20", "--shots", "5", "--set", "pretrain.backbones.small_resnet.width=16")
BOTH = ("--backbone", "ours=.", "--backbone", "random:small_resnet", "--data", "digits=.")


@pytest.fixture
def quick(run, monkeypatch):
    """The run, with less of each measure."""
    monkeypatch.setattr(measures, "EPISODES", 20)
    monkeypatch.setattr(measures, "RESAMPLES", 20)
    monkeypatch.setattr(measures, "PENALTIES", np.logspace(-3, 2, 6))
    return run


def transfer(*more):
    return CliRunner().invoke(main, [*SMALL, *more])


def records(run):
    return {file.name: file.stat().st_mtime_ns for file in (run / "transfer/records").iterdir()}


def colours(folder, classes=("blue", "green", "red"), images=12, side=16):
    """A folder of colour pictures, a folder for each class, whose colour says which it is."""
    chance = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(images):
            pixels = chance.integers(0, 120, (side, side, 3), dtype=np.uint8)
            pixels[..., place % 3] += 120
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def test_a_row_for_each_backbone_by_the_vectors_of_embed(quick):
    result = transfer(*BOTH)
    assert result.exit_code == 0, result.output
    with (quick / "transfer/transfer.csv").open() as file:
        table = {(row["measure"], row["backbone"]): row for row in csv.DictReader(file)}
    names = ("ours", "random-small_resnet")
    assert {*table} == {(m, b) for m in ("knn", "logistic", "ece", "few_5", "propagate_20") for b in names}
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in table.values())
    (folder,) = (quick / "transfer/cells").glob("ours-digits-*")
    train, test = (Embeddings.read(folder / "embed" / split) for split in ("train", "test"))
    answers = Labels.read(quick / "ingest/answers.csv").rows
    y, truth = (np.array([NAMES.index(answers[key][0]) for key in part.keys]) for part in (train, test))
    expected = (nearest_vote(train.vectors, y, test.vectors, 20) == truth).mean()
    assert float(table["knn", "ours"]["value"]) == pytest.approx(expected, abs=1e-5)
    assert expected > 0.6
    page = (quick / "transfer/transfer.md").read_text()
    assert "| ours | " in page
    assert "400 training and 100 test images, 10 classes, grey, 8 x 8" in page


def test_nothing_is_computed_twice(quick):
    assert transfer(*BOTH).exit_code == 0
    first = records(quick)
    assert len(first) == 2 * 4
    tables = [(quick / "transfer" / name).read_bytes() for name in ("transfer.csv", "transfer.md")]
    shutil.rmtree(quick / "transfer/cells")
    assert transfer(*BOTH).exit_code == 0
    assert records(quick) == first
    assert not (quick / "transfer/cells").exists()  # no image was looked at
    assert tables == [(quick / "transfer" / name).read_bytes() for name in ("transfer.csv", "transfer.md")]
    assert transfer(*BOTH, "--shots", "1").exit_code == 0  # both commands ask for one measure that is new
    assert {name.split("-")[-3] for name in records(quick).keys() - first.keys()} == {"few"}


def test_other_values_weights_or_answers_are_computed_anew(quick):
    assert transfer(*BOTH).exit_code == 0
    before = records(quick)
    assert transfer(*BOTH, "--set", "train.propagate.alpha=0.5").exit_code == 0
    new = records(quick).keys() - before.keys()
    assert len(new) == 2
    assert all("propagate" in name for name in new)
    before = records(quick)
    (quick / "prior.csv").write_text("label,share\n" + "".join(f"{name},0.1\n" for name in NAMES))
    prior = ("--set", f"train.propagate.prior={quick / 'prior.csv'}")
    assert transfer(*BOTH, *prior).exit_code == 0
    shares = "".join(f"{name},{0.55 if name == NAMES[0] else 0.05}\n" for name in NAMES)
    (quick / "prior.csv").write_text("label,share\n" + shares)
    assert transfer(*BOTH, *prior).exit_code == 0
    assert len(records(quick).keys() - before.keys()) == 4
    before = records(quick)
    shutil.copytree(next((quick / "transfer/cells").glob("random*")) / "pretrain", quick / "other")
    for name in ("backbone.json", "backbone.safetensors"):
        shutil.copy(quick / "other" / name, quick / "pretrain" / name)
    assert transfer(*BOTH).exit_code == 0
    assert {name.split("-")[0] for name in records(quick).keys() - before.keys()} == {"ours"}
    before = records(quick)
    answers = Labels.read(quick / "ingest/answers.csv")
    first = next(iter(answers.rows))
    other = ["one"] if answers.rows[first] != ["one"] else ["two"]
    Labels(answers.levels, {**answers.rows, first: other}).write(quick / "ingest/answers.csv")
    assert transfer(*BOTH).exit_code == 0
    assert len(records(quick).keys() - before.keys()) == 8


def test_other_neighbours_make_another_graph(quick):
    few = ("--set", "graph.neighbours=3")

    def figures():
        found = (quick / "transfer/records").glob("*propagate*")
        return {file.name: read_json(file)["figures"] for file in found}

    assert transfer(*BOTH).exit_code == 0
    before = figures()
    assert transfer(*BOTH, *few).exit_code == 0
    after = {name: values for name, values in figures().items() if name not in before}
    shutil.rmtree(quick / "transfer")
    assert transfer(*BOTH, *few).exit_code == 0
    assert after == figures()


def test_folders_of_colours_and_runs_of_grey_images_meet_networks_of_either(quick):
    """A backbone of one channel sees colours as grey, and one at 12 pixels both sets at 12 pixels."""
    colours(quick.parent / "pictures")
    more = ("--data", "pictures", "--backbone", "wide=random:small_resnet@12", "--labels", "6")
    result = transfer(*BOTH, *more)
    assert result.exit_code == 0, result.output
    found = read_json(next((quick / "transfer/records").glob("wide-pictures-knn-*")))
    assert found["figures"]["knn"][0] > 0.8
    grey, wide, of_grey = (
        Manifest.read(next((quick / "transfer/cells").glob(f"{name}-*")) / "ingest/manifest.json")
        for name in ("ours-pictures", "wide-pictures", "wide-digits")
    )
    assert (grey.channels, grey.size) == (1, (16, 16))
    assert (wide.channels, wide.size) == (3, (12, 12))
    assert (of_grey.channels, of_grey.size) == (1, (12, 12))
    assert "| measure | digits, pictures |" in (quick / "transfer/transfer.md").read_text()
    sets = list((quick / "transfer/sets").iterdir())
    assert transfer(*BOTH, *more).exit_code == 0
    assert list((quick / "transfer/sets").iterdir()) == sets


def test_of_a_large_set_a_part_is_taken_and_images_without_an_answer_are_not(quick):
    answers = Labels.read(quick / "ingest/answers.csv")
    index = Index.read(quick / "ingest/index.parquet", "test")
    Labels(answers.levels, {k: v for k, v in answers.rows.items() if k not in index.key[:60]}).write(
        quick / "ingest/answers.csv"
    )
    assert transfer(*BOTH, "--most", "150").exit_code == 0
    page = (quick / "transfer/transfer.md").read_text()
    assert "150 training and 40 test images" in page


def test_shards_of_a_run_elsewhere_are_found_from_here(run):
    """A run's own paths lead from its folder."""
    shutil.move(run, run.parent / "elsewhere/data")
    folder = run.parent / "elsewhere/data/ingest"
    manifest, index = Manifest.read(folder / "manifest.json"), Index.read(folder / "index.parquet")
    inside = {path: f"data/shards/{Path(path).name}" for path in index.shard}
    for name in manifest.splits:
        shutil.copy(manifest.splits[name][0].path, run.parent / "elsewhere/data/shards")
    splits = {name: [replace(one, path=inside[one.path]) for one in shards] for name, shards in manifest.splits.items()}
    replace(manifest, splits=splits).write(folder / "manifest.json")
    replace(index, shard=[inside[path] for path in index.shard]).write(folder / "index.parquet")
    images = ImageSet.read("elsewhere", Params.read(Path("params.yaml")), Path("out"), 1000)
    assert len(load(images.manifest, images.index, "test", "").keys) == 100


def test_fine_tuning_chooses_on_validation_images(quick, monkeypatch):
    monkeypatch.setattr(cell, "RATES", (0.01, 0.03))
    monkeypatch.setattr(cell, "DECAYS", (0.0,))
    seen = []

    def watched(params, folder, backbone, labels, answers, work):
        share = train_and_test(params, folder, backbone, labels, answers, work)
        seen.append((folder.name, params.lookup("train.optim.learning_rate"), {*labels}, share))
        return share

    monkeypatch.setattr(cell, "train_and_test", watched)
    few = [part for item in (*FEW, "train.batch_size=32") for part in ("--set", item)]
    assert transfer(*BOTH[2:], "--finetune", *few).exit_code == 0
    *tried, (_, rate, labels, share) = seen
    found = read_json(next((quick / "transfer/records").glob("*finetune*")))
    train, test = (set(Index.read(quick / "ingest/index.parquet", split).key) for split in ("train", "test"))
    (folder,) = (quick / "transfer/cells").iterdir()
    held = set(Index.read(folder / "validation/ingest/index.parquet", "test").key)
    assert held < train
    assert {name for name, *_ in tried} == {"validation"}
    assert all(own == train - held for _, _, own, _ in tried)
    assert (labels, found["figures"]["finetune"][0]) == (train, share)
    best = max(tried, key=lambda one: one[3])
    assert (found["rate"], found["validation"], rate) == (best[1], best[3], best[1])
    assert not test & held


def test_a_curve_of_labels_stands_on_the_page_with_two_forecasts(quick, monkeypatch):
    monkeypatch.setattr(scaling, "DRAWS", 2)
    monkeypatch.setattr(run_module, "ENOUGH", 200)
    assert transfer(*BOTH, "--scaling").exit_code == 0
    with (quick / "transfer/transfer.csv").open() as file:
        own = {row["measure"]: float(row["value"]) for row in csv.DictReader(file) if row["backbone"] == "ours"}
    points = {n: own[f"scaling_{n}"] for n in (50, 100, 200, 400)}
    page = (quick / "transfer/transfer.md").read_text()
    miss = 100 * (forecast(points).line - points[400])
    assert f"| line: miss of the last, points | {miss:+.1f} |" in page
    assert f"| 400 | {100 * points[400]:.1f} (" in page


def unlabelled(folder):
    colours(folder, classes=("20240102",))


def one_class(folder):
    colours(folder)
    shutil.rmtree(folder / "red")
    (folder / "answers.csv").write_text("path,label\n" + "".join(f"blue/{i:02d}.png,sky\n" for i in range(12)))


def spoilt(folder):
    shutil.copytree("data/pretrain", folder)
    (folder / "backbone.safetensors").write_bytes(b"no weights")


@pytest.mark.parametrize(
    ("make", "more", "said"),
    [
        (unlabelled, ("--data", "it"), "expected images with labels, in folders of classes or answers.csv, got none"),
        (one_class, ("--data", "it"), "it: expected two classes or more, got sky alone"),
        (colours, ("--data", "it"), "--data it: expected 20 training images of each class, for as many shots, got "),
        (colours, ("--data", "it", "--data", "it"), "--data: expected each name once, got it twice"),
        (spoilt, ("--backbone", "it"), "it/backbone.safetensors: expected "),
        (colours, ("--backbone", "it"), "--backbone it: expected a run or a folder with backbone.safetensors, found"),
        (None, ("--backbone", "b=.", "--backbone", "b=packaged"), "--backbone: expected each name once, got b twice"),
        (None, ("--data", "digts"), "or one of digits, fashion-mnist, cifar10, cifar100, imagenet, got 'digts'"),
        (None, ("--backbone", "random:resnet19"), "got 'random:resnet19'; random: one of small_resnet"),
        (None, ("--backbone", "torchvision:small_resnet"), "torchvision: one of resnet18"),
        (None, ("--backbone", "timm:none_such"), "expected a name from timm.list_models()"),
        (
            None,
            ("--backbone", "random:vit_tiny@7"),
            "vit_tiny.patch_size: expected a divisor of the sides of all images and crops, got 4 for 7 x 7",
        ),
        (None, ("--backbone", "packaged:efficientnet_lite2"), "tf_efficientnet_lite2; is it tf_efficientnet_lite"),
        (None, ("--backbone", "packaged@big"), "expected pixels after @, such as @96, got 'big'"),
        (None, ("--labels", "500"), "expected 500 training images, for as many labels, got 400"),
        (None, ("--scaling",), "expected 800 training images for a curve of 5 points, got 400"),
        (None, ("--seeds", "1"), "two seeds, got "),
        (None, ("--data", "a/b=."), "a name of letters, digits and .-_@, got 'a/b'"),
    ],
)
def test_what_it_refuses_before_it_computes(run, make, more, said):
    if make:
        make(run.parent / "it")
    shots = ("--shots", "20") if make is colours else ()
    assert said in refusal(transfer(*BOTH, *more, *shots))
    assert not (run / "transfer/records").exists()


def test_a_run_without_ingest_and_a_damaged_record_are_named(quick):
    (quick.parent / "new/.dvc").mkdir(parents=True)
    assert "new: expected a run with data/ingest, found none" in refusal(transfer("--data", "new"))
    assert transfer(*BOTH).exit_code == 0
    file = next((quick / "transfer/records").glob("*knn*"))
    file.write_text(json.dumps({"figures": {}}))
    assert refusal(transfer(*BOTH)).endswith("; delete the file")


def test_sets_that_leave_nothing_to_validate_or_tell_apart_are_refused(run):
    for split, images in (("train", 1), ("test", 5)):
        colours(run.parent / "single" / split, images=images)
        colours(run.parent / "other" / split, classes=("blue", "red")[: 2 if split == "train" else 1])
    for name, said in (
        ("single", "expected two training images of some class, to validate on, got one of each"),
        ("other", "expected test images of two classes or more, got those of blue alone"),
    ):
        few = ["--shots", "1", "--labels", "3", "--seeds", "2", "--backbone", "random:small_resnet", "--data", name]
        assert said in refusal(CliRunner().invoke(main, few))
