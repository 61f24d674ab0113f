from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stages.ingest import main

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")


@pytest.fixture
def picture():
    """A function of a number: the bytes of a small image that is unlike that of any other number."""

    def make(number, kind="PNG", size=(8, 8), channels=3):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, channels), dtype=np.uint8)
        file = BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture
def fill(picture):
    """Writes pictures to paths below a folder: a list of names, or a mapping from names to bytes."""

    def write(folder, names):
        named = names if isinstance(names, dict) else {name: picture(number) for number, name in enumerate(names)}
        for name, data in named.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    return write


@pytest.fixture
def ingest():
    """Runs the command with `dotted.key=value` laid over the repository's params; its result."""

    def run(*sets):
        return CliRunner().invoke(main, ["--params", str(PARAMS), *(word for item in sets for word in ("--set", item))])

    return run


@pytest.fixture
def refusal(ingest):
    """Runs the command, which must fail in one line and leave nothing behind but its lock; the line."""

    def run(*sets):
        result = ingest(*sets)
        assert result.exit_code == 1
        assert {str(path) for path in Path().rglob("*") if path.is_file()} <= {"data/scratch/ingest.lock"}
        line = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert result.stderr.splitlines()[-1:] == line
        return line[0].removeprefix("Error: ")

    return run
