"""BiT-HyperRule: fine-tuning whose length, rate and mixing follow from the number of labels (Kolesnikov et al. 2020).

"Big Transfer (BiT): General visual representation learning", section 3.3: one rule for all sets, so that nothing is
tuned on few labels.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch.distributions import Beta

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.optim import StaircaseParams
from pipeline.train.batch import SemiBatch
from pipeline.train.labelled_only import FrozenNorm
from pipeline.train.losses import labelled_ce
from pipeline.train.mixing import mixed, of_all_processes, places
from pipeline.train.task import TrainParams

RATE_IMAGES = 512  # images of a step that the rate is given for
FALL = 0.1  # factor of the rate each time it falls


class Rule(NamedTuple):
    """What holds below a number of labels."""

    below: float
    steps: int
    warmup: int  # steps in which the rate rises
    falls: tuple[float, ...]  # shares of the steps after which it falls
    mixes: bool


RULES = (
    Rule(20_000, 500, 100, (0.4, 0.6, 0.8), mixes=False),
    Rule(500_000, 10_000, 500, (0.3, 0.6, 0.9), mixes=True),
    Rule(float("inf"), 20_000, 500, (0.3, 0.6, 0.9), mixes=True),
)


def rule(num_labels: int) -> Rule:
    """The line of the paper's rule for so many labels."""
    return next(one for one in RULES if num_labels < one.below)


class BitParams(Block):
    """The block `train.bit`."""

    batch_size: int = Field(ge=2)  # images of a step of the optimiser, in parts of `train.batch_size`
    learning_rate: float = Field(gt=0, le=1e30)  # where batch_size is 512; in proportion for others
    mixup: float = Field(ge=0)  # alpha of Beta(alpha, alpha), from 20,000 labels on; 0: nothing is mixed


def by_rule(common: TrainParams, params: BitParams, num_labels: int) -> TrainParams:
    """`common` with the steps, the start and the optimiser that the rule has for so many labels.

    Raises ParamsError where the parts of a batch are not equal.
    """
    parts, rest = divmod(params.batch_size, common.batch_size)
    if rest:
        raise ParamsError(
            f"train.bit.batch_size: expected a multiple of train.batch_size, {common.batch_size}, "
            f"got {params.batch_size}"
        )
    found = rule(num_labels)
    optim = {
        "name": "sgd", "learning_rate": params.learning_rate * params.batch_size / RATE_IMAGES, "momentum": 0.9,
        "nesterov": False, "weight_decay": 0.0, "weight_decay_end": "same", "clip_norm": 0.0, "accumulate": parts,
        "warmup": found.warmup / found.steps, "schedule": "staircase", "final_learning_rate": 0.0,
        "staircase": StaircaseParams(at=list(found.falls), factor=FALL),
    }  # fmt: skip
    values = {"steps": found.steps * parts, "head": "zeros", "optim": common.optim.model_copy(update=optim)}
    return common.model_copy(update=values)


class Bit(FrozenNorm[BitParams]):
    """Cross-entropy on weak views of the labelled images; everything learns, from a linear layer of zeros.

    The rule (`by_rule`) replaces `train.steps`, `train.head` and, in `train.optim`, all but `bias_scale`. Departures:
    where a batch has more images than there are labels, each label comes equally often, in the authors' code by chance;
    the share of an image in a mix is drawn for each part of a batch, there for the whole; the rate falls one step
    earlier; the result is the moving average of the weights; views shift and flip, but do not magnify. The paper's
    networks have no batch norm: in others it keeps its pretrained statistics.
    """

    Params = BitParams

    def loss(self, batch: SemiBatch) -> Step:
        """Mean cross-entropy; of mixed images that of both labels, each by its share."""
        images, label = batch.labelled, batch.label[:, 0]
        if not (self.params.mixup > 0 and rule(len(self.task.targets.rows)).mixes):
            return Step(labelled_ce(self.net(images)["label"].float(), label))
        here = places([len(label)])
        all_images, all_labels = of_all_processes([images]), of_all_processes([label])
        share = Beta(self.params.mixup, self.params.mixup, validate_args=False).sample().to(images.device)
        partner = torch.randperm(len(all_labels))[here].to(images.device)
        logits = self.net(mixed(images, all_images[partner], share.expand(len(label))))["label"].float()
        first, second = (labelled_ce(logits, of) for of in (label, all_labels[partner]))
        return Step(share * first + (1 - share) * second)
