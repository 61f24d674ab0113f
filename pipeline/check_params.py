"""The whole of params.yaml, held against the models of all stages before any of them spends hours.

A stage reads its own blocks only, and a later one would refuse its own when the earlier ones have run for days.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.model_outputs import OUTPUTS
from pipeline.base.errors import ParamsError
from pipeline.base.machine import Machine
from pipeline.base.params import Block, Params, near
from pipeline.embed.run import EmbedParams
from pipeline.evaluate.metrics import EvaluateParams
from pipeline.graph.prior import PRIORS
from pipeline.graph.propagation import PropagateParams
from pipeline.graph.run import GraphParams
from pipeline.ingest.run import IngestParams
from pipeline.ingest.sources import SOURCES
from pipeline.label.run import LABELLERS, LabelParams
from pipeline.nn.backbones import BACKBONES
from pipeline.pretrain.methods import METHODS as PRETRAIN
from pipeline.pretrain.methods.none import NoneParams
from pipeline.pretrain.params import PretrainParams
from pipeline.pretrain.recipe import Recipe
from pipeline.report.run import ReportParams
from pipeline.select.methods import SELECTORS
from pipeline.select.params import SelectParams
from pipeline.train.methods import METHODS as TRAIN
from pipeline.train.methods import PROPAGATE
from pipeline.train.methods.distill import SAME
from pipeline.train.task import TrainParams

Blocks = Mapping[str, type[Block]]
BACKBONES_HOME = "pretrain.backbones"
MODELS = ("pretrain.simreg.teacher", "train.distill.teacher", "train.nncsl.previous")  # deps, whatever the method is
COMMON: Blocks = {
    "ingest": IngestParams,
    "pretrain": PretrainParams,
    "embed": EmbedParams,
    "graph": GraphParams,
    "select": SelectParams,
    "label": LabelParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
}
CHOICES: Mapping[str, tuple[str, Blocks]] = {  # a key that names a block, where such blocks lie, and which there are
    "ingest.source": ("ingest", SOURCES),
    "pretrain.method": ("pretrain", {**{name: method.Params for name, method in PRETRAIN.items()}, "none": NoneParams}),
    "pretrain.backbone": (BACKBONES_HOME, BACKBONES),
    "select.method": ("select", SELECTORS),
    "label.source": ("label", LABELLERS),
    "train.method": ("train", {**{name: method.Params for name, method in TRAIN.items()}, PROPAGATE: PropagateParams}),
}


def check_params(params: Params) -> None:
    """Raises ParamsError for the first fault in any block, also in those of methods that are not in use."""
    _ = params.seed
    params.block("machine", Machine)
    for key, (home, blocks) in CHOICES.items():
        params.method(key, blocks)
        for name, model in blocks.items():
            params.block(f"{home}.{name}", model)
    unknown = [name for name in params.lookup(BACKBONES_HOME) if name not in BACKBONES]
    if unknown:
        raise ParamsError(f"{params.where}: {BACKBONES_HOME}: unknown {unknown}{near(unknown[0], BACKBONES)}")
    for stage, model in COMMON.items():
        others = {name for home, blocks in CHOICES.values() if home == stage for name in blocks}
        params.stage(stage, model, {*others, BACKBONES_HOME.removeprefix(f"{stage}.")})
    Recipe.read(params)
    student = params.lookup("train.distill.backbone")
    if student != SAME:
        params.block("train.distill.options", BACKBONES[student])
    label = params.stage("label", LabelParams, LABELLERS)
    coarse = label.coarse_budget if isinstance(label.coarse_budget, int) else sum(label.coarse_budget)
    label.levels(min(params.lookup("select.budget"), coarse + 1))


def check_files(params: Params) -> None:
    """Raises ParamsError for a file that a later stage needs and does not find; relative paths begin here.

    `ingest` and `pretrain` say themselves what they miss: they begin at once.
    """
    rounds, teacher = Path(params.lookup("select.labelled")), Path(params.lookup("train.distill.teacher"))
    own, prior = params.lookup("embed.own"), params.lookup("train.propagate.prior")
    needed = [("select.labelled", rounds, "finished rounds")]
    needed += [(key, Path(params.lookup(key)), "the folder of an earlier model") for key in MODELS]
    if own:
        needed.append(("embed.own", Path(re.sub(r"\.npz:.*$", ".npz", own)), "a file of vectors"))
    if prior not in PRIORS:
        needed.append(("train.propagate.prior", Path(prior or "nothing"), f"{', '.join(PRIORS)} or a CSV"))
    if params.lookup("train.method") == "distill":
        needed.append(("train.distill.teacher", teacher / "model.json", "a model that train wrote"))
    if params.lookup("train.method") == "dynamic":
        model = Path(params.lookup("train.dynamic.base")) / "data/train/model.json"
        needed.append(("train.dynamic.base", model, "the folder of another run, in which train has finished"))
    method = params.lookup("select.method")
    if SELECTORS[method].needs_outputs:
        what = f"a model's outputs for {method}, which `python -m stages.keep_round` writes"
        needed.append(("select.labelled", rounds / OUTPUTS, what))
    for key, path, what in needed:
        if not path.exists() or path == Path():
            raise ParamsError(f"{params.where}: {key}: expected {what}, found nothing at {path}")
