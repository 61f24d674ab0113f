"""Weights that a backbone starts from: random, torchvision's, timm's, those of a package or of a safetensors file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import safetensors.torch
import torch
from safetensors import SafetensorError

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError, first_line
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.arrays import from_arrays
from pipeline.nn.backbones import Backbone
from pipeline.nn.timm_models import create
from pipeline.pretrain import packaged

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's and timm's
Start = Literal["random", "torchvision", "timm", "packaged", "file"]
HEADS = ("fc", "classifier", "head", "heads")  # how torchvision and timm name what turns features into classes
RESNET: dict[str, Any] = {"small_stem": False}
TORCHVISION = {  # what torchvision calls a backbone, and the options that its weights are for
    "resnet18": ("resnet18", RESNET),
    "resnet34": ("resnet34", RESNET),
    "resnet50": ("resnet50", RESNET),
    "resnet101": ("resnet101", RESNET),
    "vit_base": ("vit_b_16", {"patch_size": 16, "image_size": 224}),
}


def fill(backbone: Backbone, start: Start, file: str = "") -> None:
    """Puts the weights, and the normalisation that goes with them, into the backbone.

    A file of ours (`backbone.safetensors`) holds its normalisation. One with torchvision's or timm's names does not:
    images are then still normalised by their own mean and deviation, or where the model's name has a tag, as timm does
    it for the weights of that tag. Raises ParamsError or ArtifactError.
    """
    if start == "torchvision":
        _fill_torchvision(backbone)
    elif start == "timm":
        _fill_timm(backbone)
    elif start == "packaged":
        _fill_packaged(backbone)
    elif start == "file":
        if not Path(file).is_file():
            raise ParamsError(f"pretrain.none.file: expected a safetensors file, got {file!r}, which is no file")
        _fill_file(backbone, Path(file))


def _fill_torchvision(backbone: Backbone) -> None:
    name, channels = str(backbone.about["name"]), int(backbone.about["channels"])
    if name not in TORCHVISION:
        raise ParamsError(
            f"pretrain.none.weights: torchvision's are for {', '.join(TORCHVISION)}, got pretrain.backbone {name}"
        )
    arch, wanted = TORCHVISION[name]
    for option, value in wanted.items():
        got = backbone.about["options"][option]
        if got != value:
            raise ParamsError(
                f"pretrain.backbones.{name}.{option}: expected {json.dumps(value)} for torchvision's weights, "
                f"got {json.dumps(got)}"
            )
    if channels != len(IMAGENET_MEAN):
        raise ParamsError(f"pretrain.none.weights: torchvision's expect 3 channels (ingest.mode: rgb), got {channels}")
    try:
        state = torchvision().models.get_model(arch, weights="DEFAULT").state_dict()
    except (OSError, RuntimeError) as error:  # RuntimeError: what came is not what was published
        raise ArtifactError(
            f"torchvision {arch}: expected its weights to download, got: {first_line(error)}"
        ) from error
    backbone.body.load_state_dict({n: t for n, t in state.items() if n.split(".")[0] not in HEADS})
    _normalise(backbone, IMAGENET_MEAN, IMAGENET_STD)


def _fill_timm(backbone: Backbone) -> None:
    """On one channel timm adds up the first layer's weights for three; mean and deviation are then the three's mean."""
    name, channels = str(backbone.about["name"]), int(backbone.about["channels"])
    if name != "timm":
        raise ParamsError(f"pretrain.none.weights: timm's are for pretrain.backbone timm, got {name}")
    if channels not in (1, len(IMAGENET_MEAN)):
        raise ParamsError(f"pretrain.none.weights: timm's expect 1 or 3 channels, got {channels}")
    model = str(backbone.about["options"]["model"])
    try:
        net = create(model, channels, pretrained=True)
    except RuntimeError as error:  # timm knows of none, or they do not fit
        raise ParamsError(
            f"pretrain.none.weights: expected weights of timm {model}, got: {first_line(error)}"
        ) from error
    except OSError as error:
        raise ArtifactError(f"timm {model}: expected its weights to download, got: {first_line(error)}") from error
    backbone.body.load_state_dict(net.state_dict())
    _normalise_as_timm(backbone, net.pretrained_cfg)


def _fill_packaged(backbone: Backbone) -> None:
    name, channels = str(backbone.about["name"]), int(backbone.about["channels"])
    if name != "timm":
        raise ParamsError(f"pretrain.none.weights: the packaged ones are for pretrain.backbone timm, got {name}")
    model = backbone.about["options"]["model"]
    if model not in packaged.DIGESTS:
        names = " or ".join(packaged.DIGESTS)
        raise ParamsError(f"pretrain.backbones.timm.model: expected {names} for the packaged weights, got {model!r}")
    if channels not in (1, len(packaged.MEAN)):
        raise ParamsError(f"pretrain.none.weights: the packaged ones expect 1 or 3 channels, got {channels}")
    packaged.fill_by_order(backbone.body, channels, packaged.find(model))
    _normalise(backbone, packaged.MEAN, packaged.STD)


def _fill_file(backbone: Backbone, file: Path) -> None:
    try:
        tensors = safetensors.torch.load_file(file)  # by torch, as NumPy has no bfloat16
    except SafetensorError as error:
        raise ArtifactError(f"{file}: expected a safetensors file, got: {first_line(error)}") from error
    arrays = {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in tensors.items()}
    if "mean" in arrays:
        from_arrays(backbone, Weights(arrays, {}), file)
    else:
        ours = backbone.body.state_dict()  # timm's `head` may hold a norm that belongs to the features
        body = {n: array for n, array in arrays.items() if n in ours or n.split(".")[0] not in HEADS}
        from_arrays(backbone.body, Weights(body, {}), file)
        if "." in backbone.about["options"].get("model", ""):
            _normalise_as_timm(backbone, cast(dict[str, Any], backbone.body.pretrained_cfg))


def _normalise_as_timm(backbone: Backbone, constants: Mapping[str, Any]) -> None:
    _normalise(backbone, constants.get("mean") or IMAGENET_MEAN, constants.get("std") or IMAGENET_STD)


def _normalise(backbone: Backbone, mean: Sequence[float], std: Sequence[float]) -> None:
    for buffer, values in ((backbone.mean, mean), (backbone.std, std)):
        constants = torch.tensor(values)
        buffer.copy_((constants if len(values) == buffer.numel() else constants.mean()).reshape(1, -1, 1, 1))
