"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32 x 32 pixels (Krizhevsky 2009), by way of torchvision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.base.torchvision_import import torchvision
from pipeline.ingest.files import downloaded
from pipeline.ingest.source import Item, Listing, Source

# The 20 superclasses of CIFAR-100, in the data set's order.
COARSE = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


class Cifar10(Source):
    """CIFAR-10 in `root`, downloaded where it is missing.

    Nothing is unpickled in this project but these files: torchvision reads them only if their checksums are those it
    carries, so they are the authors' own and no user's.
    """

    root: str

    def listing(self) -> Listing:
        splits = {split: _load("CIFAR10", self.root, train=split == "train") for split in ("train", "test")}
        names = splits["train"].classes
        return Listing(("label",), _items(splits, [(name,) for name in names]), {"label": names})


class Cifar100(Source):
    """CIFAR-100 with its 20 superclasses, in `root`, downloaded where it is missing; of pickles as for `Cifar10`."""

    root: str

    def listing(self) -> Listing:
        splits = {split: _load("CIFAR100", self.root, train=split == "train") for split in ("train", "test")}
        names = splits["train"].classes
        parent = {fine: coarse for coarse, members in COARSE.items() for fine in members}
        items = _items(splits, [(name, parent[name]) for name in names])
        return Listing(("label", "coarse"), items, {"label": names, "coarse": list(COARSE)})


def _load(name: str, root: str, *, train: bool) -> Any:
    with downloaded(name, Path(root)):
        return getattr(torchvision().datasets, name)(root, train=train, download=True)


def _items(splits: dict[str, Any], answers: Sequence[tuple[str, ...]]) -> list[Item]:
    return [
        Item(f"{split}/{row:05d}", split, answers[label], image.transpose(2, 0, 1))
        for split, data in splits.items()
        for row, (image, label) in enumerate(zip(data.data, data.targets, strict=True))
    ]
