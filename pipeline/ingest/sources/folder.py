"""A folder of images: a folder for each class, or a flat one with `answers.csv` (path,label), or no answers at all."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from pipeline.artifacts.labels import level_names
from pipeline.base.errors import SourceError
from pipeline.base.files import read_csv
from pipeline.ingest.classes import refuse_two_parents
from pipeline.ingest.files import entries, files_below
from pipeline.ingest.source import Item, Listing, Source
from pipeline.ingest.split import split_word, splits_from_words

ANSWERS = "answers.csv"


class Folder(Source):
    """The folder `path`; its sub-folders train and test (or val) are splits; one that is alone is none.

    Folders of classes may be nested: the last one names the class and those above it its coarser levels. Hidden files
    are passed over, and every other file counts as an image.
    """

    path: str

    def listing(self) -> Listing:
        """Images by the names of files and folders; a file's content is not looked at."""
        root = Path(self.path)
        tops = [path for path in entries(root) if path.name != ANSWERS]
        words = {str(top): split_word(top.name) if top.is_dir() else None for top in tops}
        splits = splits_from_words(words, "sub-folders")
        parts = [top for top in tops if words[str(top)]] or [root]
        levels: tuple[str, ...] = ()
        items: list[Item] = []
        for part in parts:
            split = splits.get(str(part))
            if split == "unused":
                continue
            files = [file for file in files_below(part) if file.name != ANSWERS]
            part_levels, answers = _answers(root, part, files)
            if levels and part_levels and levels != part_levels:
                raise SourceError(f"{part}: expected the levels {','.join(levels)}, got {','.join(part_levels)}")
            levels = levels or part_levels
            items += [Item(file.relative_to(root).as_posix(), split, answers.get(file), file) for file in files]
        if not items:
            raise SourceError(f"{root}: expected images, found none")
        _check_tree(root, (item.answer for item in items if item.answer))
        return Listing(levels or ("label",), items)


def _answers(root: Path, part: Path, files: list[Path]) -> tuple[tuple[str, ...], Mapping[Path, tuple[str, ...]]]:
    """Level names and the answers of the files below `part`, from its or the root's table or from its folders."""
    for home in dict.fromkeys((part, root)):
        if (home / ANSWERS).is_file():
            return _table(home, files, whole=home == part)
    flat = [path for path in entries(part) if not path.is_dir()]
    classes = [path for path in entries(part) if path.is_dir()]
    if not classes:
        return (), {}
    if flat:
        raise SourceError(f"{part}: expected images or class folders, got both: {flat[0].name} and {classes[0].name}")
    _refuse_empty(part)
    depths = [(len(folder.relative_to(part).parts), folder) for folder, _ in groupby(files, lambda file: file.parent)]
    (depth, first), (deepest, last) = min(depths), max(depths)
    if depth != deepest:
        raise SourceError(f"{part}: expected class folders of one depth, got {first} and {last}")
    return level_names(depth), {file: file.relative_to(part).parts[-2::-1] for file in files}


def _refuse_empty(folder: Path) -> None:
    inside = entries(folder)
    if not inside:
        raise SourceError(f"{folder}: expected a class folder with images, found it empty")
    for path in inside:
        if path.is_dir():
            _refuse_empty(path)


def _table(home: Path, files: list[Path], *, whole: bool) -> tuple[tuple[str, ...], Mapping[Path, tuple[str, ...]]]:
    """`answers.csv`: a row for each image of which the class is known; a file without a row has no answer."""
    file = home / ANSWERS
    header, rows = read_csv(file, ("path", "label"))
    listed = set(files)
    answers: dict[Path, tuple[str, ...]] = {}
    for cell, *texts in rows:
        path, names = cell if home / cell in listed else cell.strip(), [text.strip() for text in texts]
        image = home / path
        if image not in listed:
            if whole or not image.is_file():
                raise SourceError(f"{file}: {path}: expected an image of that path, found none")
            continue  # an image of another split
        if answers.setdefault(image, tuple(names)) != tuple(names):
            raise SourceError(f"{file}: {path}: expected one label, got {answers[image][0]!r} and {names[0]!r}")
    return tuple(header[1:]), {image: names for image, names in answers.items() if names[0]}


def _check_tree(root: Path, answers: Iterable[tuple[str, ...]]) -> None:
    """A class belongs to one class of the level above it, where it names one."""
    parent: dict[tuple[int, str], str] = {}
    for answer in sorted(set(answers)):
        refuse_two_parents(answer, parent, str(root))
