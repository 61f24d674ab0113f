"""ImageNet-1k (Deng et al. 2009, Russakovsky et al. 2015) as it is unpacked, or as Kaggle hands it out."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import SourceError
from pipeline.base.files import read_csv, read_text
from pipeline.ingest.files import images_in
from pipeline.ingest.source import Item, Listing, Source

WNID = re.compile(r"n\d{8}")  # a class: its number in WordNet
KAGGLE = Path("ILSVRC/Data/CLS-LOC")  # where Kaggle's archive has the images
NAMES, TRUTH = "LOC_synset_mapping.txt", "LOC_val_solution.csv"  # Kaggle's


class ImageNet(Source):
    """The folder `root` with `train/<wnid>/*` and `val/`, the test split: in folders of wnids as well, or flat.

    For a flat one `truth` is Kaggle's table or a text with a line for each image in the order of their names: a wnid,
    or a number that `numbers` translates, a text with a number and a wnid a line. "" is Kaggle's table in `root`. A
    class is called by the first of its names in LOC_synset_mapping.txt, if that is there, otherwise by its wnid.
    """

    root: str
    truth: str
    numbers: str

    def listing(self) -> Listing:
        """Images by the names of files; classes in the order of their wnids, as is the custom."""
        root = Path(self.root)
        home = root / KAGGLE if (root / KAGGLE).is_dir() else root
        train = _in_folders(home / "train")
        wnids = {wnid: None for _, wnid in sorted(train, key=lambda pair: pair[1])}
        inside = images_in(home / "val")
        flat = [file for file in inside if not WNID.fullmatch(file.name)]
        if flat and len(flat) < len(inside):
            raise SourceError(f"{home / 'val'}: expected images or folders of wnids, got both: {flat[0].name}")
        val = self._flat(root, flat) if flat else _in_folders(home / "val")
        for file, wnid in val:
            if wnid not in wnids:
                raise SourceError(f"{file}: expected a class of those in {home / 'train'}, got {wnid}")
        names = _names(root / NAMES, list(wnids))
        items = [
            Item(file.relative_to(home).as_posix(), split, (names[wnid],), file)
            for split, images in (("train", train), ("test", val))
            for file, wnid in images
        ]
        return Listing(("label",), items, {"label": list(names.values())})

    def _flat(self, root: Path, files: Sequence[Path]) -> list[tuple[Path, str]]:
        """The images of a flat folder with the wnid of each."""
        truth = Path(self.truth) if self.truth else root / TRUTH
        if truth.suffix == ".csv":
            answers = _solution(truth)
            missing = next((file for file in files if file.stem not in answers), None)
            if missing:
                raise SourceError(f"{truth}: expected a row for every image, found none for {missing.name}")
            return [(file, answers[file.stem]) for file in files]
        lines = read_text(truth).split()
        if len(lines) != len(files):
            raise SourceError(f"{truth}: expected a line for each of {len(files)} images, got {len(lines)}")
        wanted = any(not WNID.fullmatch(line) for line in lines)
        if wanted and not self.numbers:
            raise SourceError(f"{truth}: expected wnids, or numbers and their wnids in ingest.imagenet.numbers")
        wnid_of = _numbers(Path(self.numbers)) if wanted else {}
        for line in lines:
            if not WNID.fullmatch(line) and line not in wnid_of:
                raise SourceError(f"{truth}: expected a wnid or a number that {self.numbers} has, got {line!r}")
        return [(file, wnid_of.get(line, line)) for file, line in zip(files, lines, strict=True)]


def _in_folders(home: Path) -> list[tuple[Path, str]]:
    """All images below folders of wnids, with their wnid."""
    images = []
    for folder in images_in(home):
        if not WNID.fullmatch(folder.name):
            raise SourceError(f"{folder}: expected a folder named by a wnid, such as n01440764")
        files = images_in(folder)
        if not files:
            raise SourceError(f"{folder}: expected a class folder with images, found it empty")
        images += [(file, folder.name) for file in files]
    return images


def _solution(file: Path) -> dict[str, str]:
    """Kaggle's table: the name of each image without its ending, and its wnid with boxes after it."""
    answers: dict[str, str] = {}
    for image, prediction in read_csv(file, ("ImageId", "PredictionString"))[1]:
        wnid = prediction.split(" ")[0]
        if not WNID.fullmatch(wnid):
            raise SourceError(f"{file}: {image}: expected a wnid, got {wnid!r}")
        if answers.setdefault(image, wnid) != wnid:
            raise SourceError(f"{file}: {image}: expected one wnid, got {answers[image]} and {wnid}")
    return answers


def _numbers(file: Path) -> dict[str, str]:
    """The wnid of each number, from lines that begin with both, in either order."""
    wnid_of: dict[str, str] = {}
    for line in filter(str.strip, read_text(file).splitlines()):
        wnid, number = sorted(line.split()[:2], reverse=True) if len(line.split()) > 1 else (line, "")
        if not (WNID.fullmatch(wnid) and number.isdecimal()) or wnid_of.setdefault(number, wnid) != wnid:
            raise SourceError(f"{file}: expected lines of a number and its wnid, each number once, got {line[:40]!r}")
    return wnid_of


def _names(file: Path, wnids: Sequence[str]) -> dict[str, str]:
    """What each class is called; where two would have one name (there are two cranes), the wnid is added to it."""
    if not file.is_file():
        return {wnid: wnid for wnid in wnids}
    lines = (line.partition(" ") for line in read_text(file).splitlines())
    first = {wnid: names.partition(",")[0].strip() for wnid, _, names in lines}
    missing = next((wnid for wnid in wnids if not first.get(wnid)), None)
    if missing:
        raise SourceError(f"{file}: expected the names of every class, found none of {missing}")
    often = Counter(first[wnid] for wnid in wnids)
    return {wnid: first[wnid] if often[first[wnid]] == 1 else f"{first[wnid]} ({wnid})" for wnid in wnids}
