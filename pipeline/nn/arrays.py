"""A network's tensors as NumPy arrays, and back."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError
from pipeline.nn.device import channels_last

M = TypeVar("M", bound=nn.Module)


def to_arrays(net: nn.Module) -> dict[str, Any]:
    """The network's parameters and buffers as NumPy arrays, float32 where they are floats."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in net.state_dict().items()}


def from_arrays(net: M, weights: Weights, where: Path) -> M:
    """Fills the network; tensors that are missing, left over or of another shape are refused."""
    state = {name: torch.from_numpy(array) for name, array in weights.arrays.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if odd:
        raise ArtifactError(f"{where}: {odd[0]}: expected shape {wanted.get(odd[0])}, got {found.get(odd[0])}")
    net.load_state_dict(state)
    return channels_last(net)
