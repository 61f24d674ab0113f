"""What `ingest` wrote into data/ingest, by the paths of images in place of their keys."""

from pathlib import Path

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest

OUT, IMAGES = Path("data/ingest"), Path("data/images")
FOLDER = "ingest.source=folder"
FIVE = [f"{n}.png" for n in range(5)]


def manifest():
    return Manifest.read(OUT / "manifest.json")


def shards():
    """Those of both splits."""
    return [shard for own in manifest().splits.values() for shard in own]


def index(split=None):
    return Index.read(OUT / "index.parquet", split)


def paths():
    """{key: path}."""
    return Sources.read(OUT / "sources.csv").path


def answers():
    """{path: answer}."""
    path = paths()
    return {path[key]: tuple(names) for key, names in Labels.read(OUT / "answers.csv").rows.items()}


def splits():
    """{path: split}."""
    path, rows = paths(), index()
    return {path[key]: split for key, split in zip(rows.key, rows.split, strict=True)}


def classes():
    return Classes.read(OUT / "classes.json").names


def spans():
    """{key: (shard, offset, size)}."""
    rows = index()
    return dict(zip(rows.key, zip(rows.shard, rows.offset.tolist(), rows.size.tolist(), strict=True), strict=True))


def bytes_below(*folders):
    """The bytes of all files below these folders, by path."""
    return {str(path): path.read_bytes() for top in folders for path in Path(top).rglob("*") if path.is_file()}
