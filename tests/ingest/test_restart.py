"""Shards by several workers at once, and after a kill: the same bytes, and no finished shard written twice."""

import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.labels import Sources
from pipeline.artifacts.shards import Index, Manifest
from pipeline.ingest.names import key_of
from tests.graph import ROOT

OUT, SHARDS, IMAGES = Path("data/ingest"), Path("data/shards"), Path("data/images")
TRAIN = sorted((f"train/{n}.png" for n in range(40)), key=key_of)
TEST = sorted((f"test/{n}.png" for n in range(8)), key=key_of)
BAD = {TRAIN[0]: b"", TRAIN[39]: b"text", TEST[3]: b""}
SETS = ("ingest.source=folder", "ingest.shard_images=8", "ingest.max_side=64", "ingest.mode=rgb", "ingest.max_bad=3")


@pytest.fixture(scope="module")
def slow():
    """Bytes of a few images, small files that take some time to decode."""
    made = []
    for number in range(1, 7):
        file = BytesIO()
        Image.fromarray((np.add.outer(np.arange(1000), np.arange(1000)) * number % 256).astype(np.uint8)).save(
            file, "PNG"
        )
        made.append(file.getvalue())
    return made


@pytest.fixture
def _photographs(fill, slow):
    """Forty train images, five shards, and one of eight for the test; three cannot be read."""
    fill(IMAGES, {name: slow[at % len(slow)] for at, name in enumerate((*TRAIN, *TEST))} | BAD)


def start(*sets):
    """The command as a process of its own, with one worker."""
    words = [word for item in (*SETS, *sets) for word in ("--set", item)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SLURM_CPUS_PER_TASK": "1"}
    command = [sys.executable, "-m", "stages.ingest", "--params", str(ROOT / "params.yaml"), *words]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def finish(process):
    return process.communicate()[1].splitlines(), process.returncode


def outputs():
    """All files that are results, with their bytes."""
    found = [path for top in (OUT, SHARDS) for path in top.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found}


def in_the_midst(process, finished):
    """Waits until so many shards are finished and another one is being written; the folder of all these."""
    while process.poll() is None:
        for folder in SHARDS.glob(".folder-*.part"):
            if len(list(folder.glob("*.tar.json"))) >= finished and list(folder.glob(".*.tar.part")):
                return folder
        time.sleep(0.002)
    raise AssertionError(finish(process))


def interrupted(kind, finished):
    """The finished tars of a run that a signal ended in the midst of another, with their times."""
    process = start()
    folder = in_the_midst(process, finished)
    process.send_signal(kind)
    finish(process)
    assert process.returncode != 0
    tars = sorted(folder.glob("*.tar"))
    assert finished <= len(tars) < 6
    return {tar: tar.stat().st_mtime_ns for tar in tars}


@pytest.fixture
def whole(_photographs, ingest):
    """What a run makes that nobody interrupts; it is put aside."""
    assert ingest(*SETS).exit_code == 0
    found = outputs()
    for path in found:
        Path(path).unlink()
    for home in SHARDS.iterdir():
        home.rmdir()
    return found


def home():
    """The folder of shards, the only one: no work is left beside it."""
    (folder,) = SHARDS.iterdir()
    return folder


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_only_unfinished_shards_are_written_again(whole, kind):
    times = interrupted(kind, 2)
    assert list(OUT.iterdir()) == []
    said, code = finish(start())
    assert code == 0
    assert f"ingest: {len(times)} of 6 shards were there, from a run that was interrupted" in said
    assert outputs() == whole
    assert {tar: (home() / tar.name).stat().st_mtime_ns for tar in times} == times
    log = json.loads(Path("data/logs/ingest.json").read_text())
    own = [tar for tar in home().iterdir() if tar.name not in {tar.name for tar in times}]
    assert (log["images"], log["bytes"]) == (48 - 8 * len(times), sum(tar.stat().st_size for tar in own))


def test_a_finished_shard_that_was_spoilt_or_is_stale_is_written_again(whole):
    first, second, third, *more = times = interrupted(signal.SIGKILL, 4)
    first.write_bytes(first.read_bytes()[:-512])
    data = bytearray(second.read_bytes())
    data[1000] ^= 1
    second.write_bytes(data)
    os.utime(IMAGES / TRAIN[17], (1, 1))  # as if it were another image
    said, code = finish(start())
    assert code == 0
    assert f"ingest: {len(more)} of 6 shards were there, from a run that was interrupted" in said
    for tar in (first, second):
        assert f"ingest: {tar} is not as an earlier run left it, and is written again" in said
    assert outputs() == whole
    again = {tar for tar in times if (home() / tar.name).stat().st_mtime_ns != times[tar]}
    assert again == {first, second, third}


@pytest.mark.usefixtures("_photographs")
def test_bad_images_count_over_a_restart():
    interrupted(signal.SIGKILL, 1)
    said, code = finish(start("ingest.max_bad=2"))
    assert code == 1
    assert said[-1] == (
        f"Error: {TRAIN[0]}: expected an image, but the file has zero bytes; "
        "3 such images so far, and ingest.max_bad allows 2"
    )
    assert outputs() == {}


@pytest.mark.usefixtures("_photographs")
def test_other_params_take_up_nothing_and_leave_nothing():
    tars = interrupted(signal.SIGKILL, 2)
    said, code = finish(start("ingest.shard_images=40", "ingest.max_side=32"))
    assert code == 0
    assert not any("were there" in line for line in said)
    assert len(list(home().iterdir())) == 2 < len(tars) + 2
    assert [shard.count for shard in Manifest.read(OUT / "manifest.json").splits["train"]] == [38]


@pytest.mark.usefixtures("_photographs")
def test_a_second_ingest_into_the_same_place_is_refused(ingest):
    process = start()
    in_the_midst(process, 1)
    second = ingest(*SETS)
    assert second.exit_code == 1
    assert second.stderr.splitlines()[-1] == (
        "Error: data/scratch/ingest.lock: expected no other ingest at work here, found one that holds the lock"
    )
    assert finish(process)[1] == 0
    assert Manifest.read(OUT / "manifest.json").count("train") == 38


@pytest.mark.usefixtures("_photographs")
@pytest.mark.parametrize("shard_images", [8, 100])
def test_the_number_of_workers_changes_no_byte(ingest, monkeypatch, shard_images):
    found = []
    for cores in ("1", "2", "11"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cores)
        assert ingest(*SETS, f"ingest.shard_images={shard_images}").exit_code == 0
        found.append(outputs())
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 6 + (6 if shard_images == 8 else 2)


def test_a_bad_image_moves_no_other(ingest, fill, picture):
    fill(IMAGES, {name: picture(at) for at, name in enumerate((*TRAIN, *TEST))})
    assert ingest(*SETS).exit_code == 0
    sound = shards()
    assert [sound[f"train-{k:06d}.tar"] for k in range(5)] == [TRAIN[8 * k : 8 * k + 8] for k in range(5)]
    fill(IMAGES, {TRAIN[10]: b""})
    assert ingest(*SETS).exit_code == 0
    assert shards() == {name: [path for path in paths if path != TRAIN[10]] for name, paths in sound.items()}


def test_a_shard_of_bad_images_is_not_there(ingest, fill, picture):
    fill(IMAGES, {name: picture(at) for at, name in enumerate((*TRAIN, *TEST))} | dict.fromkeys(TRAIN[8:16], b""))
    assert ingest(*SETS, "ingest.max_bad=8").exit_code == 0
    assert sorted(shards()) == ["test-000000.tar", *(f"train-{k:06d}.tar" for k in (0, 2, 3, 4))]
    assert sorted(tar.name for tar in home().iterdir()) == sorted(shards())


def shards():
    """The images of each shard, by the names of both, in the order of their keys."""
    index, paths = Index.read(OUT / "index.parquet"), Sources.read(OUT / "sources.csv").path
    found = {}
    for key, shard in zip(index.key, index.shard, strict=True):
        found.setdefault(Path(shard).name, []).append(paths[key])
    return found
