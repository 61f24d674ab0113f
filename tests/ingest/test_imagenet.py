from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels
from tests.ingest.outcome import OUT, classes, index, paths

IMAGENET = "ingest.source=imagenet"
HOME = Path("data/raw/imagenet")
WNIDS = ("n01440764", "n02012849", "n03126707")
TRAIN = [f"train/{wnid}/{wnid}_{n}.JPEG" for wnid in WNIDS for n in range(4)]
VAL = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 7)]
TRUTH = [WNIDS[n % 3] for n in (2, 0, 1, 1, 0, 2)]
MAPPING = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn99999999 nothing\n"
NAMES = dict(zip(WNIDS, ("tench", "crane (n02012849)", "crane (n03126707)"), strict=True))
EXPECTED = {f"val/{name}": wnid for name, wnid in zip(VAL, TRUTH, strict=True)}
ROWS = [f"{Path(name).stem},{wnid} 85 1 499 272 \n" for name, wnid in zip(VAL, TRUTH, strict=True)]
SOLUTION = "ImageId,PredictionString\n" + "".join(reversed(ROWS))


@pytest.fixture(scope="module")
def photographs(picture):
    return [picture(n, "JPEG") for n in range(18)]


@pytest.fixture
def flat(fill, photographs):
    """A flat val/; a function of a folder."""
    names = [*TRAIN, *(f"val/{name}" for name in VAL)]
    return lambda home=HOME: fill(home, dict(zip(names, photographs, strict=True)))


def answers(split):
    """The answers of a split by the names of files."""
    rows, path = Labels.read(OUT / "answers.csv").rows, paths()
    return {path[key]: rows[key][0] for key in index(split).key}


def test_folders_of_wnids(ingest, fill, photographs):
    val = [f"val/{wnid}/{name}" for name, wnid in zip(VAL, TRUTH, strict=True)]
    fill(HOME, dict(zip([*TRAIN, *val], photographs, strict=True)))
    ingest(IMAGENET)
    assert answers("train") == {name: name.split("/")[1] for name in TRAIN}
    assert answers("test") == dict(zip(val, TRUTH, strict=True))
    assert classes() == {"label": list(WNIDS)}


def test_kaggles_archive_and_a_hierarchy_of_its_names(ingest, flat):
    flat(HOME / "ILSVRC/Data/CLS-LOC")
    (HOME / "LOC_val_solution.csv").write_text(SOLUTION)
    (HOME / "LOC_synset_mapping.txt").write_text(MAPPING)
    ingest(IMAGENET)
    assert answers("test") == {path: NAMES[wnid] for path, wnid in EXPECTED.items()}
    assert classes() == {"label": list(NAMES.values())}
    Path("tree.csv").write_text("label,coarse\ntench,animal\ncrane (n02012849),animal\ncrane (n03126707),machine\n")
    ingest(IMAGENET, "ingest.hierarchy=tree.csv")
    assert classes()["coarse"] == ["animal", "machine"]


TEXT, NUMBERS = "ingest.imagenet.truth=truth.txt", "ingest.imagenet.numbers=numbers.txt"


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
    ingest(IMAGENET, TEXT, *((NUMBERS,) if numbers else ()))
    assert answers("test") == EXPECTED


TABLE, SYNSETS, LINES = f"{HOME}/LOC_val_solution.csv", f"{HOME}/LOC_synset_mapping.txt", "numbers.txt: expected lines"
EACH_ONCE = "of a number and its wnid, each number once"


@pytest.mark.parametrize(
    ("files", "sets", "says"),
    [
        ({}, (), f"{TABLE}: expected a file, found none"),
        ({TABLE: SOLUTION.replace("00000003", "00000009")}, (),
         f"{TABLE}: expected a row for every image, found none for ILSVRC2012_val_00000003.JPEG"),
        ({TABLE: SOLUTION.replace("n03126707 85", "crane 85")}, (),
         f"{TABLE}: ILSVRC2012_val_00000006: expected a wnid, got 'crane'"),
        ({TABLE: SOLUTION + "ILSVRC2012_val_00000006,n01440764 1 2 3 4\n"}, (),
         f"{TABLE}: ILSVRC2012_val_00000006: expected one wnid, got n03126707 and n01440764"),
        ({TABLE: SOLUTION.replace("n01440764", "n01440765")}, (),
         f"{HOME}/val/ILSVRC2012_val_00000002.JPEG: expected a class of those in {HOME}/train, got n01440765"),
        ({"truth.txt": "n01440764\n"}, (TEXT,), "truth.txt: expected a line for each of 6 images, got 1"),
        ({"truth.txt": "1\n" * 6}, (TEXT,),
         "truth.txt: expected wnids, or numbers and their wnids in ingest.imagenet.numbers"),
        ({"truth.txt": "1\n" * 5 + "4\n", "numbers.txt": "1 n01440764"}, (TEXT, NUMBERS),
         "truth.txt: expected a wnid or a number that numbers.txt has, got '4'"),
        ({"truth.txt": "1\n" * 6, "numbers.txt": "1 n01440764\n1 n02012849"}, (TEXT, NUMBERS),
         f"{LINES} {EACH_ONCE}, got '1 n02012849'"),
        ({"truth.txt": "1\n" * 6, "numbers.txt": "one n01440764"}, (TEXT, NUMBERS),
         f"{LINES} {EACH_ONCE}, got 'one n01440764'"),
        ({TABLE: SOLUTION, SYNSETS: MAPPING[:30]}, (),
         f"{SYNSETS}: expected the names of every class, found none of n02012849"),
        ({f"{HOME}/train/fish/0.JPEG": ""}, (),
         f"{HOME}/train/fish: expected a folder named by a wnid, such as n01440764"),
        ({f"{HOME}/val/n01440764/0.JPEG": ""}, (),
         f"{HOME}/val: expected images or folders of wnids, got both: ILSVRC2012_val_00000001.JPEG"),
    ],
)  # fmt: skip
def test_refusals(refusal, flat, fill, files, sets, says):
    flat()
    fill(Path(), {name: text.encode() for name, text in files.items()})
    assert refusal(IMAGENET, *sets) == says


def test_no_images(refusal):
    assert refusal(IMAGENET) == f"{HOME}/train: expected a folder, found none"
