"""The training methods. A new one is a file here, a line in the table, and a block of its name in params.yaml."""

from dataclasses import dataclass

from pipeline.base.params import Block, Params
from pipeline.nn.backbones import Backbone
from pipeline.train.method import TrainMethod
from pipeline.train.methods.bit import Bit, BitParams, by_rule
from pipeline.train.methods.cmsf import CmsfSemi
from pipeline.train.methods.distill import Distill
from pipeline.train.methods.dynamic import Dynamic, DynamicParams
from pipeline.train.methods.finetune import Finetune, FinetuneParams
from pipeline.train.methods.fixmatch import FixMatch
from pipeline.train.methods.flexmatch import FlexMatch
from pipeline.train.methods.freematch import FreeMatch
from pipeline.train.methods.gcd import Gcd
from pipeline.train.methods.hiermatch import HierMatch, HierMatchParams
from pipeline.train.methods.linear import Linear
from pipeline.train.methods.mixmatch import MixMatch
from pipeline.train.methods.nncsl import Nncsl
from pipeline.train.methods.paws import Paws
from pipeline.train.methods.promptcal import PromptCal
from pipeline.train.methods.proxynca import ProxyNca
from pipeline.train.methods.s4l import S4l
from pipeline.train.methods.softmatch import SoftMatch
from pipeline.train.methods.supervised import Supervised
from pipeline.train.methods.trex import Trex
from pipeline.train.task import Task, TrainParams

METHODS: dict[str, type[TrainMethod]] = {
    "bit": Bit,
    "cmsf": CmsfSemi,
    "distill": Distill,
    "dynamic": Dynamic,
    "finetune": Finetune,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "gcd": Gcd,
    "hiermatch": HierMatch,
    "linear": Linear,
    "mixmatch": MixMatch,
    "nncsl": Nncsl,
    "paws": Paws,
    "promptcal": PromptCal,
    "proxynca": ProxyNca,
    "s4l": S4l,
    "softmatch": SoftMatch,
    "supervised": Supervised,
    "trex": Trex,
}
PROPAGATE = "propagate"  # beside these: it trains no network, so it has a run of its own


@dataclass(frozen=True)
class Chosen:
    """A method by its name, and the values of its block; `base` is the method that hiermatch has at each level."""

    name: str
    params: Block
    base: "Chosen | None" = None

    @classmethod
    def read(cls, params: Params) -> "Chosen":
        """What `train.method` names. Blocks of methods that are not in use are not looked at. Raises ParamsError."""
        name = params.method("train.method", METHODS)
        block = params.block(f"train.{name}", METHODS[name].Params)
        if not isinstance(block, HierMatchParams):
            return cls(name, block)
        return cls(name, block, cls(block.base, params.block(f"train.{block.base}", METHODS[block.base].Params)))

    @property
    def values(self) -> dict[str, dict[str, object]]:
        """All values that are read, by the name of their block."""
        return {self.name: self.params.model_dump(), **(self.base.values if self.base else {})}

    @property
    def head_layer(self) -> int:
        """How many hidden layers of pretraining's head belong to the backbone that it is given."""
        return self.params.head_layer if isinstance(self.params, FinetuneParams) else 0

    @property
    def base_run(self) -> str | None:
        """The folder of another run whose labelled images and model the method needs, if it does."""
        return self.params.base if isinstance(self.params, DynamicParams) else None

    @property
    def every_level(self) -> bool:
        """Whether the method learns every level of classes, or the finest alone."""
        return METHODS[self.name].every_level

    @property
    def guesses(self) -> bool:
        """Whether the method guesses the class of unlabelled images."""
        return METHODS[self.name].guesses

    def settled(self, common: TrainParams, num_labels: int) -> TrainParams:
        """`common` with what BiT's rule says of so many labels, and without the graph where nothing is guessed."""
        if isinstance(self.params, BitParams):
            common = by_rule(common, self.params, num_labels)
        return common if self.guesses else common.model_copy(update={"targets": "own"})

    def build(self, backbone: Backbone, task: Task) -> TrainMethod:
        """The method around a backbone, which it trains in place, less the layers that `train.frozen` keeps."""
        backbone.freeze(task.common.frozen)
        if self.base is not None:
            assert isinstance(self.params, HierMatchParams)
            return HierMatch(backbone, task, self.params, METHODS[self.base.name], self.base.params)
        return METHODS[self.name](backbone, task if self.every_level else task.finest(), self.params)
