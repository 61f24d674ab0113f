"""Semi-supervised methods, and those that look at labelled images alone. A new one is a file here and a line below."""

from typing import Any

from pipeline.nn.backbones import Backbone
from pipeline.train.methods.cmsf import CmsfSemi
from pipeline.train.methods.distill import Distill
from pipeline.train.methods.finetune import Finetune
from pipeline.train.methods.fixmatch import FixMatch
from pipeline.train.methods.flexmatch import FlexMatch
from pipeline.train.methods.freematch import FreeMatch
from pipeline.train.methods.hiermatch import HierMatch
from pipeline.train.methods.linear import Linear
from pipeline.train.methods.mixmatch import MixMatch
from pipeline.train.methods.paws import Paws
from pipeline.train.methods.softmatch import SoftMatch
from pipeline.train.methods.supervised import Supervised
from pipeline.train.task import Task

METHODS: dict[str, Any] = {
    "cmsf": CmsfSemi,
    "distill": Distill,
    "finetune": Finetune,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "hiermatch": HierMatch,
    "linear": Linear,
    "mixmatch": MixMatch,
    "paws": Paws,
    "softmatch": SoftMatch,
    "supervised": Supervised,
}


def learner(name: str, backbone: Backbone, task: Task, params: Any) -> Any:
    """The method for a task: at the finest level alone, but for those that want every level."""
    return METHODS[name](backbone, task if METHODS[name].every_level else task.finest(), params)
