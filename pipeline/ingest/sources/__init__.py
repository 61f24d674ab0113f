"""Where images come from: the table of sources, and what makes shards and an index of any of them."""

from pipeline.ingest.source import Source
from pipeline.ingest.sources.cifar import Cifar10, Cifar100
from pipeline.ingest.sources.digits import Digits
from pipeline.ingest.sources.fashion_mnist import FashionMnist
from pipeline.ingest.sources.folder import Folder
from pipeline.ingest.sources.imagenet import ImageNet
from pipeline.ingest.sources.shards import Shards

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "fashion-mnist": FashionMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "imagenet": ImageNet,
    "folder": Folder,
    "shards": Shards,
}
