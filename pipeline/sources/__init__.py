"""Where images come from: the table of sources, and what makes shards and an index of any of them."""

from pipeline.sources.cifar import Cifar10, Cifar100
from pipeline.sources.digits import Digits
from pipeline.sources.fashion_mnist import FashionMnist
from pipeline.sources.folder import Folder
from pipeline.sources.imagenet import ImageNet
from pipeline.sources.shards import Shards
from pipeline.sources.source import Source

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "fashion-mnist": FashionMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "imagenet": ImageNet,
    "folder": Folder,
    "shards": Shards,
}
