"""The selectors, a file each.

`SELECTORS` is the table of methods: a name in params.yaml to the class whose fields are its params. A new method is a
file of that name with such a class, and a line here. A method imports no other one; what two share lies one folder up.
"""

from collections.abc import Mapping

from pipeline.select.methods.activeft import ActiveFt
from pipeline.select.methods.auto import Auto
from pipeline.select.methods.badge import Badge
from pipeline.select.methods.dropquery import DropQuery
from pipeline.select.methods.entropy import Entropy
from pipeline.select.methods.facility_location import FacilityLocation
from pipeline.select.methods.kcenter import KCenter
from pipeline.select.methods.kmeans import KMeans
from pipeline.select.methods.kmedoids import KMedoids
from pipeline.select.methods.margin import Margin
from pipeline.select.methods.maxherding import MaxHerding
from pipeline.select.methods.probcover import ProbCover
from pipeline.select.methods.random import Random
from pipeline.select.methods.rdss import Rdss
from pipeline.select.methods.typiclust import TypiClust
from pipeline.select.methods.uherding import UHerding
from pipeline.select.methods.usl import Usl
from pipeline.select.methods.uslt import UslT
from pipeline.select.selector import Selector

SELECTORS: Mapping[str, type[Selector]] = {
    "auto": Auto,
    "random": Random,
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
