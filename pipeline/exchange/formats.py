"""The formats by name, and which one a file has."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.base.errors import SourceError
from pipeline.exchange import coco, cvat, fiftyone, folders, label_studio, table
from pipeline.exchange.answers import Format
from pipeline.exchange.json_file import load

FORMATS: Mapping[str, Format] = {
    "label-studio": label_studio.FORMAT,
    "cvat": cvat.FORMAT,
    "fiftyone": fiftyone.FORMAT,
    "coco": coco.FORMAT,
    "csv": table.FORMAT,
    "folders": folders.FORMAT,
}


def recognised(path: Path) -> str:
    """The name of a file's or a folder's format, by its content."""
    if path.is_dir():
        inside = {entry.name for entry in path.iterdir()}
        if {fiftyone.LABELS, "data"} <= inside:
            return "fiftyone"
        files = {cvat.INSIDE: "cvat", label_studio.TASKS: "label-studio", "annotations": "coco", table.FILE: "csv"}
        name = next((name for file, name in files.items() if file in inside), "folders")
        table_of = sorted(file for file in inside if file.lower().endswith((".json", ".xml", ".csv")))
        if name == "folders" and table_of:
            raise SourceError(f"{path}: expected folders of classes, got {table_of[0]} beside them; name that file")
        return name
    if not path.is_file():
        raise SourceError(f"{path}: expected a file or a folder, found none")
    with path.open("rb") as file:
        head = file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] == b"<" or head[:2] == b"PK":
        return "cvat"
    if head[:1] == b"[":
        return "label-studio"
    if head[:1] == b"{":
        tree = load(path)
        for name, wanted in (("coco", {"images", "annotations"}), ("fiftyone", {"labels"})):
            if wanted <= tree.keys():
                return name
        names = ", ".join(FORMATS)
        raise SourceError(f"{path}: expected one of {names}, got JSON with {', '.join(tree)[:60]}; name it by --format")
    return "csv"
