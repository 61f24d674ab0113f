"""Which images are worth a label, told from their vectors alone.

`SELECTORS` is the table of methods: a name in params.yaml to the class whose fields are its params. A new method is a
file with such a class and a line here. Nothing in this package can reach a label, and none of it imports torch.
"""

from collections.abc import Mapping

from pydantic import Field

from pipeline.params import Block
from pipeline.select.activeft import ActiveFt
from pipeline.select.auto import Auto
from pipeline.select.badge import Badge
from pipeline.select.dropquery import DropQuery
from pipeline.select.entropy import Entropy
from pipeline.select.facility_location import FacilityLocation
from pipeline.select.kcenter import KCenter
from pipeline.select.kmeans import KMeans
from pipeline.select.kmedoids import KMedoids
from pipeline.select.margin import Margin
from pipeline.select.maxherding import MaxHerding
from pipeline.select.near import Search
from pipeline.select.pool import Outputs, Pool
from pipeline.select.probcover import ProbCover
from pipeline.select.rdss import Rdss
from pipeline.select.rules import Rules
from pipeline.select.selector import Picks, Selector
from pipeline.select.typiclust import TypiClust
from pipeline.select.uherding import UHerding
from pipeline.select.uniform import Uniform
from pipeline.select.usl import Usl
from pipeline.select.uslt import UslT

SELECTORS: Mapping[str, type[Selector]] = {
    "auto": Auto,
    "random": Uniform,
    "kmeans": KMeans,
    "kmedoids": KMedoids,
    "kcenter": KCenter,
    "usl": Usl,
    "uslt": UslT,
    "typiclust": TypiClust,
    "probcover": ProbCover,
    "maxherding": MaxHerding,
    "rdss": Rdss,
    "activeft": ActiveFt,
    "facility_location": FacilityLocation,
    # These need the outputs of an earlier round's model.
    "margin": Margin,
    "entropy": Entropy,
    "badge": Badge,
    "uherding": UHerding,
    "dropquery": DropQuery,
}


class SelectParams(Block):
    """The block `select`, less the sub-blocks of the methods."""

    method: str
    budget: float = Field(gt=0)  # images to label, or what their labels may cost where attributes tell costs
    labeled: str  # finished rounds, or a CSV with the column key
    resident_mb: int = Field(ge=0)  # what vectors may take as float32 and be held in memory
    rules: Rules
    search: Search


__all__ = ["SELECTORS", "Outputs", "Picks", "Pool", "Search", "SelectParams", "Selector"]
