"""All of params.yaml is checked at once: what is refused, in which words, and what is taken."""

import shutil

import pytest
from click.testing import CliRunner

from pipeline.base.errors import ParamsError
from pipeline.base.params import Params
from pipeline.check_params import check_params
from stages.params import main
from tests.imports import ROOT
from tests.refusals import refusal_of

NAMES = ", ".join(sorted(file.stem for file in (ROOT / "pipeline/select/methods").glob("[a-z]*.py")))


def check(*sets: str) -> None:
    check_params(Params.read(ROOT / "params.yaml", sets))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("select.method=typicclust", f"select.method: expected one of {NAMES}, got 'typicclust'; is it typiclust?"),
        ("label.source=null", "label.source: expected one of answers, file, got None"),
        ("train.stpes=3", "train: unknown ['stpes']; is it steps?"),
        ("train.steps=-5", "train.steps: expected greater than or equal to 1, got -5"),
        ("graph.search.recal=0.9", "graph: unknown ['search.recal']; is it recall?"),
        ("machine.precison=fp32", "machine: unknown ['precison']; is it precision?"),
        ("seed=-1", "seed: expected a whole number of at least 0, got -1"),
        # Blocks of methods that are not in use.
        ("pretrain.byol.dim=x", "pretrain.byol.dim: expected a valid integer, got 'x'"),
        ("pretrain.backbones.resnet19={}", "pretrain.backbones: unknown ['resnet19']; is it resnet18?"),
        ("pretrain.backbones=[]", "pretrain.backbones: expected a block, got []"),
        ("ingest.folder.pth=x", "ingest.folder: unknown ['pth']; is it path?"),
        ("train.distill.backbone=vit_tiny", "train.distill.options: missing ['image_size', 'patch_size']"),
    ],
)
def test_a_wrong_value_of_any_stage(item, message):
    assert refusal_of(check, item, kind=ParamsError) == f"{ROOT}/params.yaml: {message}"


def test_cld_beside_a_method_of_one_view():
    said = refusal_of(check, "pretrain.method=rotation", "pretrain.cld.weight=0.5", kind=ParamsError)
    assert said == "pretrain.cld.weight: expected 0 for rotation, which takes one view of an image, got 0.5"
    check("pretrain.method=rotation")


def test_sgd_where_the_paper_has_adamw_is_warned_of(caplog):
    says = "pretrain.optim.name: sgd, where the paper of dino has adamw; its preset has values for the whole block"
    check("pretrain.method=dino")
    assert says in caplog.messages
    caplog.clear()
    check("pretrain.method=dino", "pretrain.optim.name=adamw")
    check("pretrain.method=simclr")
    assert not caplog.messages


def test_a_coarse_budget_that_leaves_no_fine_label():
    said = refusal_of(check, "label.coarse_budget=[30, 10]", kind=ParamsError)
    assert said.startswith("label.coarse_budget: expected less than the 40 picks")
    check("label.coarse_budget=[30, 10]", "select.budget=41")
    check(f"select.budget={10**20}")  # how many images there are is not known yet


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("select.labelled=data/roundz", "select.labelled: expected finished rounds, found nothing at data/roundz"),
        ("select.method=margin", "select.labelled: expected a model's outputs for margin, which `python -m "
                                 "stages.keep_round` writes, found nothing at data/rounds/outputs"),
        ("pretrain.simreg.teacher=data/none", "pretrain.simreg.teacher: expected the folder of an earlier model, found "
                                              "nothing at data/none"),
        ("train.method=distill", "train.distill.teacher: expected a model that train wrote, found nothing at "
                                 "data/teacher/model.json"),
        ("train.method=dynamic", "train.dynamic.base: expected the folder of another run, in which train has finished, "
                                 "found nothing at data/train/model.json"),
        ("embed.own=mine.npz:x", "embed.own: expected a file of vectors, found nothing at mine.npz"),
        ("train.propagate.prior=mixd", "train.propagate.prior: expected uniform, clusters, mixed or a CSV, found "
                                       "nothing at mixd"),
    ],
)  # fmt: skip
def test_a_file_that_a_later_stage_would_miss(item, message, tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name in ("rounds", "teacher", "backbone", "previous"):
        (tmp_path / "data" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for items, code in ((["--set", item], 1), ([], 0)):
        result = CliRunner().invoke(main, items)
        assert result.exit_code == code, result.output
        assert result.output == (f"Error: params.yaml: {message}\n" if code else "")
        assert (tmp_path / "data/params/checked").exists() == (code == 0)
