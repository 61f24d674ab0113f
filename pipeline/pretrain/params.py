"""The values of the block `pretrain` that all methods share."""

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from pipeline.base.params import Block
from pipeline.nn.optim import OptimParams
from pipeline.pretrain.cld import CldParams
from pipeline.pretrain.colorization import ColorizationParams
from pipeline.pretrain.multi_task import MultiTaskParams
from pipeline.views.kinds import ContrastiveView, LocalCrops


class PretrainParams(Block):
    """The block `pretrain` without the sub-blocks of methods and backbones."""

    method: str  # a name in the table of methods, or none
    backbone: str
    start: Literal["scratch", "weights"]  # random weights, or those of the block `none`; method none has no choice
    steps: int = Field(ge=1, le=10**12)
    batch_size: int = Field(ge=2, le=10**7)  # images a step, those of all processes together
    view: ContrastiveView
    second: dict[str, float]  # values of `view` that differ in the second view
    local: LocalCrops  # small views beside the two large ones, for methods that take them
    sync_bn: bool  # batch norm over the batches of all processes
    cld: CldParams
    multi_task: MultiTaskParams
    colorization: ColorizationParams  # one of its tasks, which is no method of its own
    optim: OptimParams

    @property
    def views(self) -> tuple[ContrastiveView, ContrastiveView]:
        """The two large views: `view`, and the same with the values of `second` laid over it."""
        return self.view, ContrastiveView(**{**self.view.model_dump(), **self.second})

    @field_validator("second")
    @classmethod
    def _second(cls, values: dict[str, float], info: Any) -> dict[str, float]:
        unknown = sorted(set(values) - set(ContrastiveView.model_fields))
        if unknown:
            raise ValueError(f"values of view without {', '.join(unknown)}")
        try:
            if "view" in info.data:
                ContrastiveView(**{**info.data["view"].model_dump(), **values})
        except ValidationError as error:
            fault = error.errors()[0]
            where = "".join(f"{part} " for part in fault["loc"])
            raise ValueError(
                where + fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            ) from None
        return values
