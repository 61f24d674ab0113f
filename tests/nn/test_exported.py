"""A model as a file for other programs: it is run there and says what the model says."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from pipeline.base.errors import ArtifactError
from pipeline.nn.classifier import Classifier
from pipeline.nn.exported import Probabilities, export
from pipeline.nn.heads import LINEAR, Levels, Nearest
from pipeline.nn.neighbour_vote import NeighbourVote
from pipeline.shards.decode import decode
from stages.export import main
from tests.imports import ROOT
from tests.nn.test_embedder import backbone, embedder

NAMES = {"label": ["ant & bee", "cat", "doğ"], LINEAR: ["ant & bee", "cat", "doğ"]}
SIZE = (8, 8)
USE = re.search(r"```python\n(.*?)```", (ROOT / "docs/guide/using.md").read_text(encoding="utf-8"), re.DOTALL)[1]


def spread(dim):
    """A head that asks 40 images, each with two classes, beside a linear layer."""
    head = NeighbourVote(dim, NAMES, num_images=40, top=2, neighbours=5)
    head.vectors.copy_(F.normalize(torch.randn(40, dim), dim=1))
    head.classes.copy_(torch.randint(0, 3, (40, 2)))
    head.amounts.copy_(torch.rand(40, 2))
    head.share.fill_(0.6)
    return head


def supported(dim):
    """A head that asks nine labelled images."""
    head = Nearest(dim, NAMES, hidden_dim=8, out_dim=6, temperature=0.1, num_supports=9)
    head.supports.copy_(F.normalize(torch.randn(9, 6), dim=1))
    head.answers.copy_(torch.eye(3)[torch.arange(9) % 3])
    return head


MODELS = {
    "levels": (backbone, lambda dim: Levels(dim, {"label": NAMES["label"]})),
    "nearest": (backbone, supported),
    "neighbour_vote": (lambda: embedder(within=(0.3, 0.6)), spread),
}


def model(name):
    body, head = MODELS[name]
    net = body()
    return Classifier(net, head(net.dim).requires_grad_(False), SIZE).eval()


@pytest.mark.parametrize("end", ["onnx", "pt2"])
@pytest.mark.parametrize("name", MODELS)
def test_the_file_says_what_the_model_says(name, end, tmp_path, caplog):
    net, file = model(name), tmp_path / f"a model.{end}"
    caplog.set_level("INFO")
    assert export(net, file) < 1e-5  # it is read back and run
    told = [line.split(" (")[0] for line in caplog.messages]
    assert told == [
        "export: tracing the network",
        f"export: writing {file}",
        "export: comparing it with the model on 7 images",
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_another_program_names_a_picture_by_the_example_of_the_docs(tmp_path):
    net = model("neighbour_vote")
    net.write(tmp_path, {})
    done = CliRunner().invoke(main, ["--out", str(tmp_path / "model.onnx"), "--model", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "3 classes" in done.stdout
    pixels = np.random.default_rng(0).integers(0, 256, (31, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    said = subprocess.run([sys.executable, "-I", "-c", USE], cwd=tmp_path, capture_output=True, text=True, check=True)
    images = torch.tensor(decode((tmp_path / "picture.png").read_bytes(), 1, SIZE))[None]
    p = net.probabilities(images, 1)["label"][0]
    name, confidence = said.stdout.rsplit(" ", 1)
    assert name == net.classes[p.argmax()]
    assert float(confidence) == pytest.approx(p.max().item(), abs=1e-5)


def test_a_file_that_says_something_else_is_not_left(tmp_path, monkeypatch):
    net = model("levels")
    forward = Probabilities.forward

    def odd(self, images):  # a branch that is taken while the graph is made, and not later
        p = forward(self, images)
        return p.flip(1) if torch.compiler.is_exporting() else p

    monkeypatch.setattr(Probabilities, "forward", odd)
    monkeypatch.setattr(logging.getLogger("torch.onnx"), "level", logging.ERROR)
    with pytest.raises(ArtifactError, match="expected the model's probabilities within"):
        export(net, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())
    assert logging.getLogger("torch.onnx").level == logging.ERROR


def test_other_kinds_of_files_are_refused(tmp_path):
    model("levels").write(tmp_path, {})
    for name, end in (("model.txt", ".txt"), ("model", "no end")):
        done = CliRunner().invoke(main, ["--out", str(tmp_path / name), "--model", str(tmp_path)])
        assert done.stderr == f"Error: {tmp_path / name}: expected a name that ends in .onnx or .pt2, got {end}\n"
        assert not Path(name).exists()
