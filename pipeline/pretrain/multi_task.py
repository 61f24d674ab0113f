"""Multi-task: pretext tasks that the backbone learns beside any method, one trunk for all of them.

Doersch and Zisserman 2017, "Multi-task self-supervised visual learning".
"""

from typing import cast

import torch
from pydantic import Field
from torch import nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.pretrain.colorization import Colorization
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import AddOn, MethodParams, SelfSupervised
from pipeline.pretrain.methods.context import Context
from pipeline.pretrain.methods.exemplar import Exemplar
from pipeline.pretrain.methods.jigsaw import Jigsaw
from pipeline.pretrain.methods.rotation import Rotation

TASKS: dict[str, type[SelfSupervised]] = {
    "rotation": Rotation,
    "jigsaw": Jigsaw,
    "context": Context,
    "exemplar": Exemplar,
    "colorization": Colorization,
}


class MultiTaskParams(Block):
    """The block `pretrain.multi_task`: the weight of each task's loss; 0: the task is left out."""

    rotation: float = Field(ge=0)
    jigsaw: float = Field(ge=0)
    context: float = Field(ge=0)
    exemplar: float = Field(ge=0)
    colorization: float = Field(ge=0)

    @property
    def weights(self) -> dict[str, float]:
        """Of the tasks in use, which lie in the blocks `pretrain.<task>`."""
        return {task: weight for task in TASKS if (weight := getattr(self, task)) > 0}


class MultiTask(AddOn):
    """A method with tasks beside it: its loss + the sum of weight * a task's own loss.

    Tasks learn from the first view, exemplar from both. Departures: all tasks take each batch, where the paper's take
    turns; their heads stand on the same features, where the paper's choose layers by a lasso; colorization alone sees
    pictures without colours, where the paper takes colours away from all tasks.
    """

    def __init__(
        self,
        base: SelfSupervised | AddOn,
        backbone: Backbone,
        weights: dict[str, float],
        blocks: dict[str, MethodParams],
        num_images: int,
        chance: torch.Generator,
    ) -> None:
        super().__init__(base)
        self.weights = weights
        self.tasks = nn.ModuleDict()
        for name in weights:
            task = TASKS[name](backbone, blocks[name], num_images, chance)
            for module in list(task.modules()):
                if module is not backbone and getattr(module, "backbone", None) is backbone:
                    del module.backbone
                    vars(module)["backbone"] = backbone  # not a part of it, as the base's holds it: it is saved once
            self.tasks[name] = task

    def loss(self, views: Views) -> Step:
        step = self.base.loss(views)
        terms = {task: cast(SelfSupervised, self.tasks[task]).loss(views).loss for task in self.weights}
        total = sum((self.weights[task] * term for task, term in terms.items()), step.loss)
        return Step(total, {**step.logs, **terms}, step.features)
