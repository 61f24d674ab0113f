"""The block `machine` of params.yaml: what this computer has and how it reads, on which no result depends.

No stage of dvc.yaml watches it. Numbers of other precision, or from compiled code, differ by rounding; logs name both.
"""

from typing import Literal

from pydantic import Field

from pipeline.base.params import Block

Precision = Literal["auto", "fp32", "bf16"]


class Reading(Block):
    """How shards behind URLs are read."""

    cache_dir: str  # where fetched shards are kept, for all processes of this machine
    cache_mb: float = Field(gt=0)  # that it holds at most; those not used for longest leave
    retries: int = Field(ge=0)  # of a shard that does not come or comes wrong
    wait_s: float = Field(ge=0)  # before the first retry; twice as long before each next one
    timeout_s: float = Field(gt=0)  # of connecting, and of waiting for the next bytes


class Machine(Block):
    """Precision, memory, compilation and reading."""

    precision: Precision  # of forward passes; auto: bf16 where the hardware multiplies it
    compile: bool  # torch.compile of the backbone: half a minute at the start of a training
    recompute: bool  # activations inside blocks are computed again in the backward pass: less memory, a third more time
    resident_mb: int = Field(ge=0)  # of pixels, up to which images stay in memory; beyond, each batch is decoded
    vectors_mb: int = Field(ge=0)  # of vectors as float32, up to which `select` holds them in memory
    window_shards: int = Field(ge=1)  # shards behind URLs that images are drawn from at a time
    ray: str  # the address of a Ray cluster that ingest works on, or ""
    reading: Reading
