"""A folder of images: a folder for each class, or a table of answers (path,label), or no answers at all."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.class_names import means_no_label
from pipeline.artifacts.labels import level_names
from pipeline.base.errors import SourceError, first_names
from pipeline.ingest.album_names import of_an_album
from pipeline.ingest.answers import Answers, tables_of
from pipeline.ingest.files import Found, look_below
from pipeline.ingest.source import Item, Listing, Source
from pipeline.ingest.split_names import all_splits, said, splits_of_names

log = logging.getLogger(__name__)

Parts = Mapping[Path, Sequence[str]]  # of each image the names of the folders that it lies in, and its own
Answer = tuple[str, ...] | None


class Folder(Source):
    """The folder `path`: its sub-folders that are called by splits are these; one that is alone is none.

    Folders of classes may be nested: the last one names the class and those above it its coarser levels. A table of
    answers takes their place. What lies beside class folders, or in one whose name says so, has no label. Folders that
    are named by dates or by a camera are no classes.
    """

    path: str

    def listing(self) -> Listing:
        """Images by the names of files and folders, and by tables; an image's content is not looked at."""
        return self.listed(look_below(Path(self.path)))

    def listed(self, found: Found) -> Listing:
        """The same of what was found below the folder."""
        root = Path(self.path)
        if not found.images:
            packed = found.others.get("archives")
            raise SourceError(f"{root}: expected images, found none{f'; unpack {packed[0].name}' if packed else ''}")
        parts = found.images
        splits, no_class, where = _splits(root, parts)
        tables = tables_of(root, found.others.get("tables", ()), found.images)
        found.say_passed_over(root, [table.file for table in tables])
        albums = _albums(parts, no_class)
        folders = _class_folders(parts, no_class | {*albums})
        if albums and len({*folders.values()} - {()}) == 1:  # what lies above or below the albums tells no two apart
            folders = dict.fromkeys(folders, ())
        levels, answers = _answers(root, tables, folders, found, [name for names in albums.values() for name in names])
        for table in tables:
            where = where or (f"that of a column of {table.file.name}" if table.splits else "")
            for image, split in table.splits.items():
                if splits.setdefault(image, split) != split:
                    raise SourceError(f"{table.file}: {image}: expected the split of its folder, got {split}")
        items = [Item("/".join(own), splits.get(image), answers[image], image) for image, own in parts.items()]
        return Listing(levels, items, splits_from=where)


def _splits(root: Path, parts: Parts) -> tuple[dict[Path, str], set[int], str]:
    """The split of each image by names; at which depths folders are no classes; and what the names are of.

    The first depth at which there are several names says a split everywhere or nowhere. Folders further down, and
    files, do so where all of them say one.
    """
    shortest, depth = min(map(len, parts.values())), 0
    while depth + 1 < shortest and len({names[depth] for names in parts.values()}) == 1:
        depth += 1
    above = next(iter(parts.values()))[:depth]
    alone = {at for at, name in enumerate(above) if said(name).split}
    tops: dict[str, str] = {}  # the first place of each word; of files, which have none, too
    for own in parts.values():
        tops.setdefault(_folder(own, depth), own[depth])
    words = {Path(root, *above, top).as_posix(): word for word, top in tops.items()}
    by_place = None if alone else splits_of_names(words, "sub-folders", classes=True)
    if by_place is not None:
        by_word = dict(zip(tops, by_place.values(), strict=True))
        splits = {image: by_word[_folder(own, depth)] for image, own in parts.items()}
        return splits, {*range(depth + 1)}, "that of the sub-folders"
    for at in range(depth, shortest):
        by_name = all_splits(_folder(own, at) or Path(own[at]).stem for own in parts.values())
        if by_name:
            splits = {image: by_name[_folder(own, at) or Path(own[at]).stem] for image, own in parts.items()}
            return splits, {*alone, at}, "that of the names"
    return {}, alone, ""


def _folder(parts: Sequence[str], depth: int) -> str:
    """The name of an image's folder at a depth; "" where it is the image itself that lies there."""
    return parts[depth] if len(parts) > depth + 1 else ""


def _albums(parts: Parts, no_class: Iterable[int]) -> dict[int, list[str]]:
    """The depths at which all folders are those of an album, each with their names."""
    found: dict[int, list[str]] = {}
    for at in range(max(map(len, parts.values())) - 1):
        names = {_folder(own, at) for own in parts.values()} - {""}
        classes = sorted(name for name in names if not means_no_label(name))
        if at not in no_class and classes and all(of_an_album(name, found.get(at - 1, ())) for name in classes):
            found[at] = classes
    return found


def _class_folders(parts: Parts, no_class: Iterable[int]) -> dict[Path, tuple[str, ...]]:
    """The class folders of each image, the last one first; none where one of its folders says that it has no label."""
    of_folder = {
        names: ()
        if any(map(means_no_label, names))
        else tuple(name for at, name in enumerate(names) if at not in no_class)[::-1]
        for names in {names[:-1] for names in parts.values()}
    }
    return {image: of_folder[names[:-1]] for image, names in parts.items()}


def _answers(
    root: Path,
    tables: Sequence[Answers],
    folders: Mapping[Path, tuple[str, ...]],
    found: Found,
    albums: Sequence[str],
) -> tuple[Sequence[str], dict[Path, Answer]]:
    """Level names, and the answer of each image: by the nearest table above it, else by its folders."""
    answers: dict[Path, Answer] = {}
    levels: dict[tuple[str, ...], Path] = {}
    for table in sorted(tables, key=lambda table: len(table.home.parts)):
        inside = [image for image in folders if image.is_relative_to(table.home)]
        answers |= {image: table.of.get(image) for image in inside}
        levels.setdefault(tuple(table.levels), table.file)
    by_folder = {image: names for image, names in folders.items() if image not in answers}
    if by_folder and albums:
        log.warning(
            "ingest: no classes are made of folders that are named by dates or by a camera (%s); if they are classes, "
            "put a word to each name (cars 2019), or name the classes in answers.csv",
            first_names(albums, 3),
        )
    in_classes = {image: names for image, names in by_folder.items() if names}
    if in_classes:
        depths = {len(names): image.parent for image, names in reversed(in_classes.items())}  # the first of each
        if len(depths) > 1:
            both = f"{depths[min(depths)]} and {depths[max(depths)]}"
            raise SourceError(
                f"{root}: expected class folders of one depth, got {both}; move them to one, or name the classes in "
                "answers.csv"
            )
        for folder in found.empty:
            if not means_no_label(folder.name):
                raise SourceError(f"{folder}: expected a class folder with images, found it empty")
        levels.setdefault(level_names(max(depths)), root)
    if len(levels) > 1:
        (first, _), (other, where) = list(levels.items())[:2]
        raise SourceError(f"{where}: expected the levels {','.join(first)}, got {','.join(other)}")
    return next(iter(levels), ("label",)), answers | {image: names or None for image, names in by_folder.items()}
