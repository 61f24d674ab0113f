"""Where and in which precision to compute, decided from the device's own flags and never by timing."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import nn

from pipeline.base.machine import Precision
from pipeline.parallel import dist

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Device:
    """A device and the precision of forward passes on it; weights and losses are always float32."""

    device: torch.device
    bf16: bool

    @classmethod
    def choose(cls, precision: Precision) -> "Device":
        """CUDA where there is one. `auto` is bf16 where the hardware multiplies it: Ampere and later, or AMX on a CPU.

        AVX-512's bf16 instructions alone do not count: with them a small ResNet ran at 0.8 times its fp32 speed.
        """
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if device.type == "cuda":
            capable = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            capable = torch.cpu._is_amx_tile_supported()
        bf16 = precision == "bf16" or (precision == "auto" and capable)
        log.info("device %s, %s, %d threads", device, "bf16" if bf16 else "fp32", torch.get_num_threads())
        return cls(device, bf16)

    def about(self) -> dict[str, str | int]:
        """What the results of a run may depend on beyond its params: results differ between 1 and 2 threads."""
        precision = "bf16" if self.bf16 else "fp32"
        return {
            "device": self.device.type,
            "precision": precision,
            "threads": torch.get_num_threads(),
            "processes": dist.world(),
        }

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def channels_last(net: M) -> M:
    """The network with its weights in the memory layout that convolutions are fastest in, on CPUs and on GPUs."""
    return cast(Any, net).to(memory_format=torch.channels_last)  # torch's stubs do not know this form
