"""One training on images in memory: with the values of params.yaml and nothing pretrained, or as the caller has it."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from pipeline.base import rng
from pipeline.base.params import Params
from pipeline.fit import fit
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.train.base_run import BaseRun
from pipeline.train.method import EmaMethod, TrainMethod
from pipeline.train.methods import METHODS, PROPAGATE, Chosen
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets
from pipeline.train.task import Task, TrainParams

PARAMS = Path(__file__).parent.parent / "params.yaml"


def learnt(
    name: str,
    values: dict[str, Any],
    pixels: UInt8[Tensor, "n c h w"],
    rows: Int64[Tensor, " m"],
    labels: Int64[Tensor, " m"],
    classes: Sequence[str],
    *,
    seed: int,
    stem_stride: int = 1,
    base: BaseRun | None = None,
    before: Callable[[EmaMethod[Any, Any]], None] = lambda _method: None,
    **common: Any,
) -> Classifier:
    """The model of the method `name`, where image `rows[i]` has the class `labels[i]` and the others have none.

    `values` and `common` replace those of the method's block and of `train`; `before` sees the method before it learns.
    """
    params = Params.read(PARAMS)
    usual = {"method": name, "start": "scratch", "head": "random", "targets": "own"}
    shared = params.stage("train", TrainParams, (*METHODS, PROPAGATE)).model_copy(update={**usual, **common})
    chosen = Chosen(name, METHODS[name].Params(**{**params.lookup(f"train.{name}"), **values}))
    torch.manual_seed(rng.number(seed, "train", "init"))
    architecture = {**params.lookup("pretrain.backbones.small_resnet"), "stem_stride": stem_stride}
    backbone = fresh("small_resnet", BACKBONES["small_resnet"](**architecture), pixels)
    targets = Targets({"label": classes}, rows, labels[:, None])
    height, width = pixels.shape[2:]
    method = chosen.build(backbone, Task(targets, len(pixels), (height, width), shared, seed, base=base))
    assert isinstance(method, EmaMethod)
    before(method)
    return result_of(method, Resident(pixels), shared, seed)


def result_of(method: TrainMethod[Any, Any], images: Resident, common: TrainParams, seed: int) -> Classifier:
    """What is left of the method after all steps, on the CPU in float32."""
    device = Device(torch.device("cpu"), bf16=False)
    with tempfile.TemporaryDirectory() as folder:
        options = {"num_steps": common.steps, "seed": seed, "device": device, "save_seconds": 1e9}
        fit(method, method.feed(images), common.optim, state=Path(folder), **options)
    return method.result(images)
