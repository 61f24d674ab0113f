import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stages.ingest import main
from tests.imports import ROOT
from tests.ingest.outcome import IMAGES, bytes_below
from tests.shards.server import serving


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own, and without a network: nothing listens there."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
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

    return write


@pytest.fixture
def tar(picture):
    """Writes a tar of (name, bytes) members below data/images; a name alone gets a picture."""

    def write(name, members, form=tarfile.PAX_FORMAT):
        file = IMAGES / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w", format=form) as out:
            for number, member in enumerate(members):
                path, data = (member, picture(number)) if isinstance(member, str) else member
                info = tarfile.TarInfo(path)
                info.size = len(data)
                out.addfile(info, BytesIO(data))
        return file

    return write


@pytest.fixture
def ingest():
    """Runs the command with `dotted.key=value` laid over the repository's params; it must end well."""

    def run(*sets, code=0):
        words = [word for item in sets for word in ("--set", item)]
        result = CliRunner().invoke(main, ["--params", str(ROOT / "params.yaml"), *words])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def refusal(ingest):
    """Runs the command, which must fail in one line and change no file but its lock and the cache; the line."""

    def run(*sets):
        before, folder = bytes_below("."), Path("data/ingest").exists()
        result = ingest(*sets, code=1)
        after = bytes_below(".")
        changed = {path for path in before.keys() | after if before.get(path) != after.get(path)}
        assert {path for path in changed if not path.startswith("data/cache/")} <= {"data/scratch/ingest.lock"}
        assert Path("data/ingest").exists() == folder
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert result.stderr.splitlines()[-1:] == lines
        return lines[0].removeprefix("Error: ")

    return run
