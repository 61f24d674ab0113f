"""The block `select`, less the sub-blocks of the methods."""

from pydantic import Field

from pipeline.base.params import Block
from pipeline.select.neighbours import Search
from pipeline.select.rules import Rules


class SelectParams(Block):
    """The block `select`, less the sub-blocks of the methods."""

    method: str
    budget: float = Field(gt=0)  # images to label, or what their labels may cost where attributes tell costs
    labeled: str  # finished rounds, or a CSV with the column key
    resident_mb: int = Field(ge=0)  # what vectors may take as float32 and be held in memory
    rules: Rules
    search: Search
