"""No pretraining: a backbone with random weights, torchvision's ImageNet weights, or those of a safetensors file."""

from pathlib import Path
from typing import Literal

import torch

from pipeline.artifacts import Weights, read_tensors
from pipeline.errors import ArtifactError, ParamsError
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import from_arrays
from pipeline.nn.vision import torchvision
from pipeline.params import Block

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NoneParams(Block):
    """The block `pretrain.none`; `file` is read where `weights` is "file"."""

    weights: Literal["random", "torchvision", "file"]
    file: str


def fill(backbone: Backbone, params: NoneParams) -> None:
    """Puts the weights into the backbone.

    A file may name its tensors as this backbone does (a `backbone.safetensors` of ours, normalisation included) or as
    torchvision does; a classification layer in it is passed over. Raises ParamsError or ArtifactError.
    """
    if params.weights == "torchvision":
        _fill_torchvision(backbone)
    elif params.weights == "file":
        if not Path(params.file).is_file():
            raise ParamsError(f"pretrain.none.file: expected a safetensors file, got {params.file!r}, which is no file")
        arrays = read_tensors(Path(params.file))
        if "mean" in arrays:
            from_arrays(backbone, Weights(arrays, {}), Path(params.file))
        else:
            body = {name: array for name, array in arrays.items() if name.split(".")[0] not in ("fc", "classifier")}
            from_arrays(backbone.body, Weights(body, {}), Path(params.file))


def _fill_torchvision(backbone: Backbone) -> None:
    name = str(backbone.about["name"])
    models = torchvision().models
    if not hasattr(models, name):
        raise ParamsError(f"pretrain.none.weights: expected a torchvision backbone, got pretrain.backbone {name}")
    if backbone.about["channels"] != len(IMAGENET_MEAN) or backbone.about["options"].get("small_stem"):
        raise ParamsError(
            "pretrain.none.weights: torchvision's expect 3 channels (ingest.mode: rgb) and "
            f"pretrain.backbones.{name}.small_stem: false, got {backbone.about['channels']} and "
            f"{str(backbone.about['options'].get('small_stem')).lower()}"
        )
    try:
        state = models.get_model(name, weights="DEFAULT").state_dict()
    except OSError as error:
        raise ArtifactError(f"torchvision {name}: expected its weights to download, got: {error}") from error
    backbone.body.load_state_dict({n: t for n, t in state.items() if not n.startswith("fc.")})
    backbone.mean.copy_(torch.tensor(IMAGENET_MEAN).reshape(1, -1, 1, 1))
    backbone.std.copy_(torch.tensor(IMAGENET_STD).reshape(1, -1, 1, 1))
