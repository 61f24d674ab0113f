"""COCO's JSON: images, categories, and annotations between them. What else an annotation has, a box say, is not read.

An annotation with a score is a model's, and no answer; so is one whose attribute `confirmed` is false.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import SourceError
from pipeline.base.files import write_json
from pipeline.exchange.answers import Answer, Asked, Format, Read, unconfirmed
from pipeline.exchange.json_file import field, load, want

FILE = "annotations/labels_default.json"  # where Datumaro looks for labels of whole images


def place(asked: Asked) -> str:
    return f"images/default/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Writes `labels_default.json`, with the guesses as annotations."""
    number = {name: at for at, name in enumerate(classes, 1)}
    images = [
        {"id": at, "file_name": one.file, "height": one.size[0], "width": one.size[1]}
        for at, one in enumerate(asked, 1)
    ]
    guessed = [(at, one) for at, one in enumerate(asked, 1) if one.guess]
    annotations = [
        {"id": at, "image_id": image, "category_id": number[one.guess], "score": one.confidence}
        for at, (image, one) in enumerate(guessed, 1)
    ]
    categories = [{"id": at, "name": name, "supercategory": ""} for name, at in number.items()]
    write_json(folder / FILE, {"images": images, "annotations": annotations, "categories": categories})


def read(path: Path) -> Read:
    """Reads the JSON, or the folder of an export of ours."""
    file = path / FILE if path.is_dir() else path
    tree = want(load(file), dict, str(file))
    images, categories = _named(tree, "images", "file_name", file), _named(tree, "categories", "name", file)
    result = Read()
    classes: dict[str, list[str]] = {}
    for at, annotation in enumerate(field(tree, "annotations", list, str(file)), 1):
        where = f"{file}: annotation {at}"
        one = want(annotation, dict, where)
        image = images.get(field(one, "image_id", int, where))
        category = categories.get(field(one, "category_id", int, where))
        if image is None or category is None:
            raise SourceError(f"{where}: expected an image and a category of the file, got others")
        if unconfirmed(one):
            result.guesses += 1
        elif category not in classes.setdefault(image, []):
            classes[image].append(category)
    result.answers += [Answer([image], names) for image, names in classes.items()]
    return result


def _named(tree: dict[str, Any], what: str, name: str, file: Path) -> dict[int, str]:
    """The names of images or of categories, by id."""
    named: dict[int, str] = {}
    for at, item in enumerate(field(tree, what, list, str(file)), 1):
        where = f"{file}: {what} {at}"
        one = want(item, dict, where)
        text = field(one, name, str, where)
        if named.setdefault(field(one, "id", int, where), text) != text:
            raise SourceError(f"{where}: expected an id of its own, got that of {named[one['id']]}")
    return named


FORMAT = Format(place, write, read)
