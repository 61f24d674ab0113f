import json
from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels, Sources
from pipeline.artifacts.shards import Index

IMAGENET = "ingest.source=imagenet"
OUT, HOME = Path("data/ingest"), Path("data/raw/imagenet")
WNIDS = ("n01440764", "n02012849", "n03126707")
TRAIN = [f"train/{wnid}/{wnid}_{n}.JPEG" for wnid in WNIDS for n in range(4)]
VAL = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 7)]
TRUTH = [WNIDS[n % 3] for n in (2, 0, 1, 1, 0, 2)]
MAPPING = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn99999999 nothing\n"


@pytest.fixture
def flat(fill, picture):
    """A flat val/; a function of a folder."""

    def make(home=HOME):
        names = [*TRAIN, *(f"val/{name}" for name in VAL)]
        fill(home, {name: picture(n, "JPEG") for n, name in enumerate(names)})

    return make


def answers(split):
    """The answers of a split by the names of files."""
    index, paths = Index.read(OUT / "index.parquet", split), Sources.read(OUT / "sources.csv").path
    rows = Labels.read(OUT / "answers.csv").rows
    return {paths[key]: rows[key][0] for key in index.key}


def solution():
    rows = [f"{Path(name).stem},{wnid} 85 1 499 272 \n" for name, wnid in zip(VAL, TRUTH, strict=True)]
    return "ImageId,PredictionString\n" + "".join(reversed(rows))


EXPECTED = {f"val/{name}": wnid for name, wnid in zip(VAL, TRUTH, strict=True)}


def test_folders_of_wnids(ingest, fill, picture):
    names = [*TRAIN, *(f"val/{wnid}/{name}" for name, wnid in zip(VAL, TRUTH, strict=True))]
    fill(HOME, {name: picture(n, "JPEG") for n, name in enumerate(names)})
    assert ingest(IMAGENET).exit_code == 0
    assert answers("train") == {name: name.split("/")[1] for name in TRAIN}
    assert answers("test") == {f"val/{wnid}/{name}": wnid for name, wnid in zip(VAL, TRUTH, strict=True)}
    assert json.loads((OUT / "classes.json").read_text()) == {"label": list(WNIDS)}


def test_kaggles_archive(ingest, flat):
    flat(HOME / "ILSVRC/Data/CLS-LOC")
    (HOME / "LOC_val_solution.csv").write_text(solution())
    (HOME / "LOC_synset_mapping.txt").write_text(MAPPING)
    assert ingest(IMAGENET).exit_code == 0
    names = dict(zip(WNIDS, ("tench", "crane (n02012849)", "crane (n03126707)"), strict=True))
    assert answers("test") == {path: names[wnid] for path, wnid in EXPECTED.items()}
    assert json.loads((OUT / "classes.json").read_text()) == {"label": list(names.values())}


@pytest.mark.parametrize(
    ("truth", "numbers"),
    [
        (TRUTH, None),
        ([WNIDS.index(wnid) + 1 for wnid in TRUTH], "1 n01440764\n2 n02012849 crane\n3 n03126707\n"),
        ([WNIDS.index(wnid) + 7 for wnid in TRUTH], "n03126707 9 crane\nn01440764 7\n\nn02012849 8\n"),
    ],
)
def test_a_text_in_the_order_of_the_names(ingest, flat, truth, numbers):
    flat()
    Path("truth.txt").write_text("".join(f"{line}\n" for line in truth))
    Path("numbers.txt").write_text(numbers or "")
    sets = ("ingest.imagenet.truth=truth.txt", *(("ingest.imagenet.numbers=numbers.txt",) if numbers else ()))
    assert ingest(IMAGENET, *sets).exit_code == 0
    assert answers("test") == EXPECTED


def test_a_hierarchy_of_its_names(ingest, flat):
    flat()
    (HOME / "LOC_val_solution.csv").write_text(solution())
    (HOME / "LOC_synset_mapping.txt").write_text(MAPPING)
    Path("tree.csv").write_text("label,coarse\ntench,animal\ncrane (n02012849),animal\ncrane (n03126707),machine\n")
    assert ingest(IMAGENET, "ingest.hierarchy=tree.csv").exit_code == 0
    assert json.loads((OUT / "classes.json").read_text())["coarse"] == ["animal", "machine"]


TEXT, NUMBERS = "ingest.imagenet.truth=truth.txt", "ingest.imagenet.numbers=numbers.txt"
TABLE = f"{HOME}/LOC_val_solution.csv"


@pytest.mark.parametrize(
    ("files", "sets", "says"),
    [
        ({}, (), f"{TABLE}: expected a file, found none"),
        (
            {TABLE: solution().replace("00000003", "00000009")}, (),
            f"{TABLE}: expected a row for every image, found none for ILSVRC2012_val_00000003.JPEG",
        ),
        (
            {TABLE: solution().replace("n03126707 85", "crane 85")}, (),
            f"{TABLE}: ILSVRC2012_val_00000006: expected a wnid, got 'crane'",
        ),
        (
            {TABLE: solution() + "ILSVRC2012_val_00000006,n01440764 1 2 3 4\n"}, (),
            f"{TABLE}: ILSVRC2012_val_00000006: expected one wnid, got n03126707 and n01440764",
        ),
        (
            {TABLE: solution().replace("n01440764", "n01440765")}, (),
            f"{HOME}/val/ILSVRC2012_val_00000002.JPEG: expected a class of those in {HOME}/train, got n01440765",
        ),
        ({"truth.txt": "n01440764\n"}, (TEXT,), "truth.txt: expected a line for each of 6 images, got 1"),
        (
            {"truth.txt": "1\n" * 6}, (TEXT,),
            "truth.txt: expected wnids, or numbers and their wnids in ingest.imagenet.numbers",
        ),
        (
            {"truth.txt": "1\n" * 5 + "4\n", "numbers.txt": "1 n01440764"}, (TEXT, NUMBERS),
            "truth.txt: expected a wnid or a number that numbers.txt has, got '4'",
        ),
        (
            {"truth.txt": "1\n" * 6, "numbers.txt": "1 n01440764\n1 n02012849"}, (TEXT, NUMBERS),
            "numbers.txt: expected lines of a number and its wnid, each number once, got '1 n02012849'",
        ),
        (
            {"truth.txt": "1\n" * 6, "numbers.txt": "one n01440764"}, (TEXT, NUMBERS),
            "numbers.txt: expected lines of a number and its wnid, each number once, got 'one n01440764'",
        ),
        (
            {TABLE: solution(), f"{HOME}/LOC_synset_mapping.txt": MAPPING[:30]}, (),
            f"{HOME}/LOC_synset_mapping.txt: expected the names of every class, found none of n02012849",
        ),
        (
            {f"{HOME}/train/fish/0.JPEG": ""}, (),
            f"{HOME}/train/fish: expected a folder named by a wnid, such as n01440764",
        ),
        (
            {f"{HOME}/val/n01440764/0.JPEG": ""}, (),
            f"{HOME}/val: expected images or folders of wnids, got both: ILSVRC2012_val_00000001.JPEG",
        ),
    ],
)  # fmt: skip
def test_refusals(ingest, flat, files, sets, says):
    flat()
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    result = ingest(IMAGENET, *sets)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {says}"
    assert not OUT.exists()


def test_no_images(ingest):
    result = ingest(IMAGENET)
    assert result.stderr.splitlines()[-1] == f"Error: {HOME}/train: expected a folder, found none"
