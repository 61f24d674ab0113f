"""The table of sources: where images come from."""

import logging

from pipeline.base.machine import Machine
from pipeline.base.params import Params
from pipeline.ingest.source import Source
from pipeline.ingest.sources.cifar import Cifar10, Cifar100
from pipeline.ingest.sources.digits import Digits
from pipeline.ingest.sources.fashion_mnist import FashionMnist
from pipeline.ingest.sources.folder import Folder
from pipeline.ingest.sources.imagenet import ImageNet
from pipeline.ingest.sources.remote_tars import RemoteTars
from pipeline.ingest.sources.shards import Shards, ShardsOnCluster

log = logging.getLogger(__name__)

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "fashion-mnist": FashionMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "imagenet": ImageNet,
    "folder": Folder,
    "shards": Shards,
}


def source_of(params: Params) -> Source:
    """The source that `ingest.source` names, with its own block; tars behind URLs are a source of their own."""
    name = params.method("ingest.source", SOURCES)
    source = params.block(f"ingest.{name}", SOURCES[name])
    if not isinstance(source, Shards):
        return source
    machine = params.block("machine", Machine)
    if source.behind_urls:
        if machine.ray:
            log.warning("ingest: machine.ray is not used, as tars behind URLs come through this machine's cache")
        return RemoteTars(path=source.path, look=source.look, reading=machine.reading)
    return ShardsOnCluster(path=source.path, look=source.look, ray=machine.ray) if machine.ray else source
