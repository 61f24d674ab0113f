"""Self-supervised methods, which never meet a label. A new one is a file here and a line in the table."""

from pipeline.pretrain.method import SelfSupervised
from pipeline.pretrain.methods.ascl import Ascl
from pipeline.pretrain.methods.barlow_twins import BarlowTwins
from pipeline.pretrain.methods.byol import Byol
from pipeline.pretrain.methods.cmsf import Cmsf
from pipeline.pretrain.methods.context import Context
from pipeline.pretrain.methods.dino import Dino
from pipeline.pretrain.methods.exemplar import Exemplar
from pipeline.pretrain.methods.ifnd import Ifnd
from pipeline.pretrain.methods.interclr import Interclr
from pipeline.pretrain.methods.jigsaw import Jigsaw
from pipeline.pretrain.methods.mae import Mae
from pipeline.pretrain.methods.maskfeat import Maskfeat
from pipeline.pretrain.methods.mira import Mira
from pipeline.pretrain.methods.mochi import Mochi
from pipeline.pretrain.methods.moco import Moco
from pipeline.pretrain.methods.msf import Msf
from pipeline.pretrain.methods.ncc import Ncc
from pipeline.pretrain.methods.npid import Npid
from pipeline.pretrain.methods.orl import Orl
from pipeline.pretrain.methods.pirl import Pirl
from pipeline.pretrain.methods.rotation import Rotation
from pipeline.pretrain.methods.simclr import Simclr
from pipeline.pretrain.methods.simreg import Simreg
from pipeline.pretrain.methods.simsiam import Simsiam
from pipeline.pretrain.methods.split_brain import SplitBrain
from pipeline.pretrain.methods.swav import Swav
from pipeline.pretrain.methods.uml import Uml
from pipeline.pretrain.methods.vicreg import Vicreg
from pipeline.pretrain.methods.xmoco import Xmoco

METHODS: dict[str, type[SelfSupervised]] = {
    "ascl": Ascl,
    "barlow_twins": BarlowTwins,
    "byol": Byol,
    "cmsf": Cmsf,
    "dino": Dino,
    "ifnd": Ifnd,
    "interclr": Interclr,
    "mira": Mira,
    "mochi": Mochi,
    "context": Context,
    "exemplar": Exemplar,
    "jigsaw": Jigsaw,
    "mae": Mae,
    "maskfeat": Maskfeat,
    "moco": Moco,
    "msf": Msf,
    "ncc": Ncc,
    "npid": Npid,
    "orl": Orl,
    "pirl": Pirl,
    "rotation": Rotation,
    "simclr": Simclr,
    "simreg": Simreg,
    "simsiam": Simsiam,
    "split_brain": SplitBrain,
    "swav": Swav,
    "uml": Uml,
    "vicreg": Vicreg,
    "xmoco": Xmoco,
}
