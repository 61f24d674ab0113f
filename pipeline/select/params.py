"""The block `select`, less the sub-blocks of the methods."""

from typing import Any

from pydantic import Field, field_validator

from pipeline.base.params import Block
from pipeline.select.rules import Rules
from pipeline.vectors.neighbours import Search


class SelectParams(Block):
    """The block `select`, less the sub-blocks of the methods."""

    method: str
    budget: int = Field(ge=1)  # images to label
    max_cost: float = Field(ge=0)  # what their labels may cost together, in the unit of the attributes; 0: no limit
    labelled: str  # finished rounds, or a CSV with the column key
    rules: Rules
    search: Search

    @field_validator("budget", mode="before")
    @classmethod
    def _counts_images(cls, budget: Any) -> Any:
        if isinstance(budget, float):
            raise ValueError("a whole number of images (what their labels may cost together is select.max_cost)")
        return budget
