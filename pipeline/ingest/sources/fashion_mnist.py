"""Fashion-MNIST: 60,000 + 10,000 grey images of 28 x 28 pixels (Xiao et al. 2017), from its four idx files."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from pipeline.base.errors import SourceError
from pipeline.base.torchvision_import import torchvision
from pipeline.ingest.files import downloaded
from pipeline.ingest.source import Item, Listing, Source

COARSE = {  # the paper's names in the paper's order; the coarser level is ours
    "T-shirt/top": "tops",
    "Trouser": "trousers",
    "Pullover": "tops",
    "Dress": "dresses",
    "Coat": "tops",
    "Sandal": "footwear",
    "Shirt": "tops",
    "Sneaker": "footwear",
    "Bag": "bags",
    "Ankle boot": "footwear",
}
FILES = {"train": "train", "test": "t10k"}  # split: prefix of its files
PARTS = {"images": "images-idx3-ubyte.gz", "labels": "labels-idx1-ubyte.gz"}


class FashionMnist(Source):
    """The idx files in `root`; where they are not, torchvision's, downloaded into `download`."""

    root: str
    download: str

    def listing(self) -> Listing:
        folder = Path(self.root)
        if not all((folder / f"{prefix}-{part}").is_file() for prefix in FILES.values() for part in PARTS.values()):
            with downloaded("Fashion-MNIST", Path(self.download)):
                torchvision().datasets.FashionMNIST(self.download, download=True)
            folder = Path(self.download) / "FashionMNIST" / "raw"
        names = list(COARSE)
        items = []
        for split, prefix in FILES.items():
            images = read_idx(folder / f"{prefix}-{PARTS['images']}", 3)
            labels = read_idx(folder / f"{prefix}-{PARTS['labels']}", 1)
            if len(images) != len(labels) or labels.max(initial=0) >= len(names):
                raise SourceError(f"{folder}: expected a label 0 to 9 for each of the {len(images)} {split} images")
            items += [
                Item(f"{split}/{row:05d}", split, (names[label], COARSE[names[label]]), image[None])
                for row, (image, label) in enumerate(zip(images, labels, strict=True))
            ]
        return Listing(("label", "coarse"), items, {"label": names, "coarse": list(dict.fromkeys(COARSE.values()))})


def read_idx(file: Path, num_axes: int) -> UInt8[ndarray, "..."]:
    """The array of bytes in a gzipped idx file; refuses one that is truncated or of another type or shape."""
    try:
        data = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file}: expected a gzipped idx file, got: {error}") from error
    magic = bytes([0, 0, 8, num_axes])
    shape = np.frombuffer(data[4 : 4 + 4 * num_axes].ljust(4 * num_axes, b"\0"), ">u4").tolist()
    body = data[4 + 4 * num_axes :]
    if data[:4] != magic or len(body) != np.prod(shape):
        raise SourceError(f"{file}: expected idx bytes with {num_axes} axes, got {len(data)} bytes that are not")
    return np.frombuffer(body, np.uint8).reshape(shape)
