"""Builds the data folder of a small real run on scikit-learn's digits, up to but without `evaluate` and `report`."""

from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from pipeline.artifacts.confirmed import write_confirmed
from pipeline.artifacts.curve import write_rows
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.model import Weights
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.skipped import write_missing
from pipeline.base.files import read_json, sha256, write_json
from pipeline.graph.run import nearest_others
from pipeline.nn.arrays import to_arrays
from pipeline.nn.backbones import Backbone, SmallResNet
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.shards.decode import encode
from tests.clouds import SEARCH
from tests.shards.tar_set import made as tar_set

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def digit_images():
    """All 1,797 scans as grey bytes, 8 x 8."""
    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)


def relabel(data, rows):
    """Gives the run these labels, and a model that says it was trained on them."""
    Labels(["label"], rows).write(data / "label/labels.csv")
    about = read_json(data / "train/model.json")
    write_json(data / "train/model.json", {**about, "labels_sha256": sha256(data / "label/labels.csv")})


def build(data, *, images=500, budget=30, names=NAMES, known=None, unlabelled=(), steps=40, bad=()):
    """`known(split, place)` says whether an image has an answer; classes in `unlabelled` get no label."""
    classes = load_digits().target
    pixels = digit_images()[:images, None]
    keys = np.array([blake2b(f"digits/{i}".encode(), digest_size=8).hexdigest() for i in range(images)])
    order = np.argsort(keys)
    keys, pixels, classes = keys[order], pixels[order], classes[order]
    split = np.where(np.arange(images) % 5 == 0, "test", "train")
    _ingest(data, keys, pixels, split, [f"digits/{i:04d}.png" for i in order], names, bad)
    rows = {}
    for name in ("train", "test"):
        own = np.flatnonzero(split == name)
        vectors = pixels[own].reshape(len(own), -1).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        (data / "embed" / name).mkdir(parents=True)
        Embeddings(keys[own].tolist(), vectors).write(data / "embed" / name)
        if name == "train":
            (data / "graph").mkdir()
            nearest_others(vectors, 10, SEARCH)[0].write(data / "graph")
        rows |= {keys[i]: [names[classes[i]]] for place, i in enumerate(own) if known is None or known(name, place)}
    Labels(["label"], rows).write(data / "ingest/answers.csv")
    train = np.flatnonzero(split == "train")
    allowed = np.array([i for i in train if names[classes[i]] not in unlabelled])
    flat = pixels[allowed].reshape(len(allowed), -1) / 255
    means = KMeans(budget, n_init=1, random_state=0).fit(flat)
    picks = allowed[np.unique([np.argmin(((flat - mean) ** 2).sum(axis=1)) for mean in means.cluster_centers_])]
    Selection(keys[picks].tolist(), np.linspace(1, 0, len(picks))).write(data / "select/picks.csv")
    write_json(data / "select/record.json", {"method": "kmeans", "budget": len(picks), "seed": 0})
    Labels(["label"], {keys[i]: [names[classes[i]]] for i in picks}).write(data / "label/labels.csv")
    Labels(["label"], {}).write(data / "label/audit.csv")
    write_confirmed(data / "label", [])
    write_missing(data / "label/missing.csv", {})
    _train(data, pixels, picks, classes, names, steps)
    return data


def _ingest(data, keys, pixels, split, paths, names, bad):
    (data / "shards").mkdir(parents=True)
    (data / "ingest").mkdir()
    images = list(zip(keys.tolist(), split.tolist(), map(encode, pixels), ["png"] * len(keys), strict=True))
    manifest, index = tar_set(images, data / "shards", len(images), (8, 8), 1)
    replace(manifest, source="digits", bad=list(bad)).write(data / "ingest/manifest.json")
    index.write(data / "ingest/index.parquet")
    Sources(dict(zip(keys.tolist(), paths, strict=True))).write(data / "ingest/sources.csv")
    Classes({"label": list(names)}).write(data / "ingest/classes.json")


def _train(data, pixels, picks, classes, names, steps):
    """A small network trained on the picks; its curve stands for both curves of a run."""
    torch.manual_seed(0)
    images, target = torch.from_numpy(pixels[picks]), torch.from_numpy(classes[picks])
    backbone = Backbone("small_resnet", SmallResNet(width=16, stem_stride=1), torch.tensor([0.3]), torch.tensor([0.4]))
    model = Classifier(backbone, Levels(backbone.dim, {"label": names}), (8, 8))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    curve = []
    for step in range(1, steps + 1):
        logits = model(images)["label"]
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.append({"step": step, "loss": loss.item(), "learning_rate": 1e-2, "feature_std": logits.std().item()})
    unreached = [name for i, name in enumerate(names) if i not in classes[picks]]
    for stage in ("pretrain", "train"):
        (data / stage).mkdir()
        write_rows(data / stage / "curve.csv", curve)
    model.write(data / "train", {"method": "supervised", "unreached": unreached})
    Weights(to_arrays(backbone), {"backbone": backbone.about, "method": "none", "size": [8, 8]}).write(
        data / "pretrain", "backbone"
    )
    Weights({}, {"layers": []}).write(data / "pretrain", "head")
