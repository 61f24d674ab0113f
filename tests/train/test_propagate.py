"""The method propagate on real digits: the files of its stage, new images like old ones, and what it refuses."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.neighbours import Neighbours
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import read_csv, sha256
from pipeline.nn import neighbour_vote
from pipeline.nn.classifier import Classifier
from pipeline.nn.neighbour_vote import NeighbourVote
from pipeline.shards.reader import load
from stages.embed import main as embed
from stages.graph import main as graph
from stages.keep_round import main as keep_round
from stages.train import main as train

COLUMNS = ("key", "prediction", "confidence")


def call(command, *sets, **options):
    arguments = [part for item in sets for part in ("--set", item)]
    arguments += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return CliRunner().invoke(command, arguments)


def propagated(*sets, out="data/out"):
    result = call(train, "train.method=propagate", *sets, out=out)
    assert result.exit_code == 0, result.output


def refusal(result):
    assert result.exit_code == 1, result.output
    return result.output.splitlines()[-1].removeprefix("Error: ")


@pytest.fixture
def embedded(run):
    """A run with vectors, the embedder that made them, and their graph."""
    for command in (embed, graph):
        result = call(command)
        assert result.exit_code == 0, result.output
    return run


def right(run, keys, names):
    answers = Labels.read(run / "ingest/answers.csv").rows
    return np.mean([answers[key][0] == name for key, name in zip(keys, names, strict=True)])


@pytest.mark.parametrize("readout", ["auto", "neighbours", "linear"])
def test_every_image_gets_a_class_and_new_images_get_the_same(embedded, readout):
    propagated(f"train.propagate.readout={readout}")
    labels = Labels.read(embedded / "label/labels.csv").rows
    manifest, index = Manifest.read(embedded / "ingest/manifest.json"), Index.read(embedded / "ingest/index.parquet")
    body = read_csv(embedded / "out/pseudo_labels.csv", COLUMNS)[1]
    assert [row[0] for row in body] == sorted(set(Embeddings.read(embedded / "embed/train").keys) - set(labels))
    assert right(embedded, [row[0] for row in body], [row[1] for row in body]) > 0.8
    model = Classifier.read(embedded / "out")
    pseudo = {row[0]: row[1] for row in body}
    for split, least in (("train", 0.97), ("test", 0.8)):
        images = load(manifest, index, split, "")
        p = model.probabilities(images.pixels, 100)["label"]
        assert p.sum(1).numpy() == pytest.approx(np.ones(len(p)), abs=1e-5)
        names = [model.classes[i] for i in p.argmax(1).tolist()]
        if split == "test":
            assert right(embedded, images.keys, names) > least
        else:
            same = [pseudo[key] == name for key, name in zip(images.keys, names, strict=True) if key in pseudo]
            assert np.mean(same) > least
            confident = {row[0]: float(row[2]) for row in body}
            ours = [value for key, value in zip(images.keys, p.max(1).values.tolist(), strict=True) if key in confident]
            assert np.mean(ours) == pytest.approx(np.mean(list(confident.values())), abs=0.03)
    about = json.loads((embedded / "out/model.json").read_text())
    assert about["labels_sha256"] == sha256(embedded / "label/labels.csv")
    assert sum(share["predicted"] for share in about["class_shares"].values()) == pytest.approx(1, abs=1e-4)
    left_out = about["left_out"]
    several = [name for name, count in Counter(names[0] for names in labels.values()).items() if count > 1]
    assert len(left_out["confidence"]) == len(left_out["right"]) == sum(n[0] in several for n in labels.values())
    assert np.mean(left_out["right"]) > 0.5


def test_the_same_bytes_twice_and_others_with_other_labels(embedded):
    for out in ("data/out", "data/again"):
        propagated(out=out)
    files = ("model.safetensors", "model.json", "pseudo_labels.csv", "curve.csv")
    assert all((embedded / "out" / n).read_bytes() == (embedded / "again" / n).read_bytes() for n in files)
    rows = dict(list(Labels.read(embedded / "label/labels.csv").rows.items())[1:])
    Labels(["label"], rows).write(embedded / "label/labels.csv")
    propagated(out="data/again")
    assert (embedded / "out/pseudo_labels.csv").read_bytes() != (embedded / "again/pseudo_labels.csv").read_bytes()


def test_images_that_no_label_reaches_have_no_class(embedded):
    n = Neighbours.read(embedded / "graph", len(Embeddings.read(embedded / "embed/train").keys))
    rows, lonely = n.rows.copy(), np.arange(3)
    labelled = set(Labels.read(embedded / "label/labels.csv").rows)
    keys = Embeddings.read(embedded / "embed/train").keys
    lonely = np.array([i for i, key in enumerate(keys) if key not in labelled][:3])
    rows[np.isin(rows, lonely)] = -1
    rows[lonely] = -1
    Neighbours(rows, np.where(rows < 0, np.inf, n.sq_dist).astype(np.float32)).write(embedded / "graph")
    propagated()
    body = {row[0]: row[1:] for row in read_csv(embedded / "out/pseudo_labels.csv", COLUMNS)[1]}
    assert [body[keys[i]] for i in lonely] == [["", "0", *[""] * 4]] * 3
    assert json.loads((embedded / "out/model.json").read_text())["unreached_images"] == 3


def test_known_shares_come_from_a_csv(embedded):
    names = sorted({row[0] for row in Labels.read(embedded / "label/labels.csv").rows.values()})
    (embedded / "shares.csv").write_text("label,share\n" + "".join(f"{name},{i + 1}\n" for i, name in enumerate(names)))
    propagated("train.propagate.prior=data/shares.csv")
    shares = json.loads((embedded / "out/model.json").read_text())["class_shares"]
    total = len(names) * (len(names) + 1) / 2
    assert [shares[name]["assumed"] for name in names] == pytest.approx(
        [(i + 1) / total for i in range(len(names))], abs=1e-5
    )
    assert "expected a file" in refusal(call(train, "train.method=propagate", "train.propagate.prior=data/none.csv"))


def test_what_does_not_belong_together_is_refused(embedded):
    n = Neighbours.read(embedded / "graph", len(Embeddings.read(embedded / "embed/train").keys))
    Neighbours(np.minimum(n.rows[:-1], len(n) - 2), n.sq_dist[:-1]).write(embedded / "graph")
    assert "expected neighbours of the" in refusal(call(train, "train.method=propagate", out="data/out"))
    assert not (embedded / "out").exists()
    for value in ("train.propagate.alpha=1", "train.propagate.readout=probe", "graph.neighbours=0"):
        stage = graph if value.startswith("graph") else train
        assert value.split("=")[0] in refusal(call(stage, "train.method=propagate", value))


def test_a_round_of_propagation_is_kept(embedded):
    propagated(out="data/train")
    result = call(keep_round)
    assert result.exit_code == 0, result.output
    assert (embedded / "rounds/outputs").is_dir()


@pytest.mark.parametrize("most", [1 << 26, 256 * 7])
def test_the_vote_is_that_of_loops(monkeypatch, most):
    monkeypatch.setattr(neighbour_vote, "SIMILARITIES", most)  # the fewer, the more blocks of images
    torch.manual_seed(0)
    head = NeighbourVote(4, {"label": ["a", "b", "c"], "linear": ["a", "b", "c"]}, num_images=30, top=2, neighbours=5)
    x = torch.nn.functional.normalize(torch.randn(30, 4), dim=1)
    classes = torch.stack([torch.randperm(3)[:2] for _ in range(30)]).int()
    amounts = torch.rand(30, 2)
    amounts[7] = 0
    head.vectors.copy_(x)
    head.classes.copy_(classes)
    head.amounts.copy_(amounts)
    queries = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    for query, vote in zip(queries, head.vote(queries), strict=True):
        square = ((head.vectors.float() - query) ** 2).sum(1)
        near = square.argsort()[:5]
        wanted = torch.zeros(3)
        for i in near:
            weight = torch.exp(-4 * square[i] / square[near[-1]])
            for c, amount in zip(classes[i], head.amounts[i].float(), strict=True):
                wanted[c] += weight * amount
        np.testing.assert_allclose(vote.detach(), wanted / wanted.sum(), atol=2e-3)
    head.share.fill_(0.25)
    head.temperature.fill_(2.0)
    logits = head(queries)
    p = 0.25 * head.vote(queries) + 0.75 * logits["linear"].softmax(1)
    wanted = p.sqrt() / p.sqrt().sum(1, keepdim=True)
    np.testing.assert_allclose(logits["label"].softmax(1).detach(), wanted.detach(), atol=1e-6)
