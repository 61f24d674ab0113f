"""Self-supervised methods, which never meet a label. A new one is a file here and a line in the table."""

from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.data.views import ContrastiveView
from pipeline.nn.device import Precision
from pipeline.nn.optim import OptimParams
from pipeline.params import Block
from pipeline.selfsup.barlow_twins import BarlowTwins
from pipeline.selfsup.byol import Byol
from pipeline.selfsup.cld import CldParams
from pipeline.selfsup.cmsf import Cmsf
from pipeline.selfsup.moco import Moco
from pipeline.selfsup.msf import Msf
from pipeline.selfsup.npid import Npid
from pipeline.selfsup.pirl import Pirl
from pipeline.selfsup.simclr import Simclr
from pipeline.selfsup.simsiam import Simsiam
from pipeline.selfsup.swav import Swav

METHODS: dict[str, Any] = {
    "barlow_twins": BarlowTwins,
    "byol": Byol,
    "cmsf": Cmsf,
    "moco": Moco,
    "msf": Msf,
    "npid": Npid,
    "pirl": Pirl,
    "simclr": Simclr,
    "simsiam": Simsiam,
    "swav": Swav,
}


class PretrainParams(Block):
    """The values of `pretrain` that all methods share."""

    method: str
    backbone: str
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    precision: Precision
    resident_mb: int = Field(ge=0)
    view: ContrastiveView
    second: dict[str, float]  # values of `view` that differ in the second view
    sync_bn: bool
    cld: CldParams
    optim: OptimParams

    @property
    def views(self) -> tuple[ContrastiveView, ContrastiveView]:
        """The first and the second view."""
        return self.view, ContrastiveView(**{**self.view.model_dump(), **self.second})

    @model_validator(mode="after")
    def _second(self) -> "PretrainParams":
        unknown = sorted(set(self.second) - set(ContrastiveView.model_fields))
        if unknown:
            raise ValueError(f"second: values of view, {', '.join(ContrastiveView.model_fields)}")
        try:
            _ = self.views
        except ValidationError as error:
            fault = error.errors()[0]
            raise ValueError(f"second.{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
        return self
