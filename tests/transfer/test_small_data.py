"""Few images of each class: what is trained on what, who chooses, what is computed once, and what is refused."""

import csv
import shutil
from collections import Counter
from itertools import product

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.shards import Index
from pipeline.base.files import read_json
from pipeline.evaluate.accuracy import balanced, confusion
from pipeline.study.score import train_and_predict
from pipeline.transfer import small_data as module
from pipeline.transfer.small_table import Result, accuracy
from stages.small_data import main
from tests.commands import FEW, refusal

SETS = [part for item in FEW for part in ("--set", item)]
SMALL = (*SETS, "--per-class", "6", "--splits", "2", "--runs", "2", "--backbone", "ours=.", "--data", "digits=.")
GRID = ("--rate", "0.003", "--rate", "0.1", "--decay", "0.0005")


def small(*more):
    return CliRunner().invoke(main, [*SMALL, *more])


def records(run):
    return {file.name: file.stat().st_mtime_ns for file in (run / "small_data/records").iterdir()}


@pytest.fixture
def seen(monkeypatch):
    """What is trained: the params, the labels and what was said of which images."""
    found = []

    def watched(params, folder, backbone, labels, work):
        said = train_and_predict(params, folder, backbone, labels, work)
        found.append((params, labels, said))
        return said

    monkeypatch.setattr(module, "train_and_predict", watched)
    return found


def test_validation_images_choose_and_the_whole_draw_is_then_trained_on(run, seen):
    result = small(*GRID, "--method", "supervised", "--backbone", "random:small_resnet")
    assert result.exit_code == 0, result.output
    answers = {key: names[0] for key, names in Labels.read(run / "ingest/answers.csv").rows.items()}
    train, test = (set(Index.read(run / "ingest/index.parquet", split).key) for split in ("train", "test"))
    with (run / "small_data/small_data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["backbone"], row["split"]) for row in rows] == list(product(("ours", "random-small_resnet"), "01"))
    assert len(seen) == 4 * (2 + 2)  # rates and runs
    assert {params.lookup("train.nncsl.previous") for params, *_ in seen} == {"data/no-former-model"}
    for place, row in enumerate(rows):
        tuned, tested = seen[2 * place : 2 * place + 2], seen[8 + 2 * place : 10 + 2 * place]
        draw = {**tested[0][1]}
        assert {*Counter(draw.values()).values()} == {6}
        for _, labels, said in tuned:
            assert {*labels} | {*said} == {*draw} <= train
            assert {*Counter(answers[key] for key in said).values()} == {1}  # a fifth of six
        for _, labels, said in tested:
            assert labels == draw == {key: answers[key] for key in draw}
            assert {*said} == test
        shares = [balanced_accuracy_score([answers[k] for k in said], [*said.values()]) for _, _, said in tuned]
        runs = [balanced_accuracy_score([answers[k] for k in said], [*said.values()]) for _, _, said in tested]
        rate = (0.003, 0.1)[int(np.argmax(shares))]
        assert (float(row["rate"]), float(row["validation"])) == (rate, pytest.approx(max(shares), abs=1e-5))
        assert float(row["balanced"]) == pytest.approx(np.mean(runs), abs=1e-5)
        trained = [(params.lookup("train.optim.learning_rate"), params.seed) for params, *_ in tested]
        assert trained == [(rate, 0), (rate, 1)]
        begun = {params.lookup("train.start") for params, *_ in (*tuned, *tested)}
        assert begun == {"pretrained" if row["backbone"] == "ours" else "scratch"}
    assert len({frozenset(labels) for _, labels, _ in seen[8:]}) == 2  # the draws, alike for both backbones


def test_more_runs_add_to_what_is_recorded_and_other_values_are_computed_anew(run, monkeypatch):
    def untrained(_params, folder, *_):
        return dict.fromkeys(Index.read(folder / "ingest/index.parquet", "test").key, "one")

    monkeypatch.setattr(module, "train_and_predict", untrained)
    few = (*GRID[:2], *GRID[4:], "--method", "fixmatch", "--method", "bit", "--runs", "1")
    assert small(*few).exit_code == 0
    before, page = records(run), (run / "small_data/small_data.md").read_bytes()
    assert len(before) == 2 * 2 * (1 + 1)
    assert "| ours | fixmatch | " in page.decode()
    assert "| digits | ours | bit | 0 | 2.34375e-05 | 0 | " in page.decode()  # its rule's rate
    shutil.rmtree(run / "small_data/draws")
    assert small(*few).exit_code == 0
    assert (records(run), (run / "small_data/small_data.md").read_bytes()) == (before, page)
    assert not (run / "small_data/draws").exists()  # no image was looked at
    assert small(*few, "--runs", "2").exit_code == 0
    assert len(records(run)) == len(before) + 2 * 2
    assert small(*few, "--rate", "0.1").exit_code == 0
    new = records(run).keys() - before.keys()
    assert {name.split("-")[2] for name in new if "-0.1-" in name} == {"fixmatch"}  # BiT has a rate of its own
    before = records(run)
    assert small(*few, "--per-class", "5").exit_code == 0
    assert len(records(run).keys() - before.keys()) == 2 * 2 * (1 + 1)


def test_a_training_that_diverges_counts_as_0_and_the_others_go_on(run):
    wild = ("--rate", "0.003", "--rate", "1e20", "--method", "supervised", "--runs", "1")
    result = small(*wild)
    assert result.exit_code == 0, result.output
    assert not list((run / "small_data/draws").glob("*/trainings/*"))
    found = [read_json(file) for file in (run / "small_data/records").iterdir()]
    assert {record["balanced"] for record in found if record["rate"] > 1} == {0.0}
    assert all(record["balanced"] > 0 for record in found if record["rate"] < 1)
    assert {record["rate"] for record in found if record["part"] == "test"} == {0.003}


def test_methods_that_keep_batch_norm_are_not_measured_with_random_weights(run):
    both = ("--method", "fixmatch", "--method", "linear", "--backbone", "random:small_resnet", "--runs", "1")
    assert small(*GRID[2:], *both).exit_code == 0
    lines = (run / "small_data/small_data.md").read_text().splitlines()
    start = lines.index("| backbone | method | digits |") + 2
    assert [tuple(line.split(" | ")[:2]) for line in lines[start : start + 4]] == [
        ("| ours", "fixmatch"), ("| random-small_resnet", "fixmatch"), ("| ours", "linear"), ("",),
    ]  # fmt: skip


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_are_there():
    truth, said = np.repeat([0, 1, 3], [6, 3, 1]), np.array([0, 0, 0, 0, 1, 2, 1, 1, 0, 3])
    assert balanced(confusion(truth, said, 4)) == pytest.approx((4 / 6 + 2 / 3 + 1) / 3)


def test_the_interval_is_of_the_draws():
    shares = {"a": [(0.5, 0.7), (0.8, 0.8), (0.6, 0.6)], "b": [(0.9, 0.7), (0.4, 0.6), (0.7, 0.9)]}
    found = [
        Result("net", data, split, "supervised", 0.1, 0.0, 0.5, runs)
        for data, draws in shares.items()
        for split, runs in enumerate(draws)
    ]
    other = Result("net", "a", 0, "bit", 0.1, 0.0, 0.5, (0.1, 0.1))
    for sets, means in ((["a"], (0.6, 0.8, 0.6)), (["a", "b"], (0.7, 0.65, 0.7))):
        figure = accuracy([*found, other], "net", "supervised", sets)
        reach = stats.t.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3)
        assert figure == pytest.approx((np.mean(means), np.mean(means) - reach, min(1, np.mean(means) + reach)))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "propagate"), "--method: expected one of bit, cmsf, distill, dynamic, finetune, fixmatch, "),
        (("--method", "superviced"), "got 'superviced'; is it supervised?"),
        (
            ("--per-class", "1"),
            "expected 2 images of a class or more, one of which validates, 2 splits or more for an ",
        ),
        (("--splits", "1"), "and 1 run or more, got 6, 1 and 2"),
        (("--per-class", "60"), "--data digits: expected 60 training images of each class, got "),
        (("--rate", "0"), "train.optim.learning_rate: expected "),
        (("--data", "digits=."), "--data: expected each name once, got digits twice"),
    ],
)
def test_what_it_refuses_before_it_trains(run, more, said):
    assert said in refusal(small(*more))
    assert not (run / "small_data/records").exists()


@pytest.mark.usefixtures("run")
def test_random_weights_alone_are_refused_where_all_methods_need_others():
    alone = (*SETS, "--backbone", "random:small_resnet", "--per-class", "6", "--method", "finetune")
    said = refusal(CliRunner().invoke(main, alone))
    assert said == "--backbone: expected one with weights for finetune, got random ones alone"
