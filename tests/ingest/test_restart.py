"""Shards in several threads at once, and after a kill: the same bytes, and no finished shard written twice."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.pack import FEW
from pipeline.ingest.source import key_of
from tests.imports import ROOT
from tests.ingest.outcome import FOLDER, IMAGES, OUT, bytes_below, index, manifest, paths

pytestmark = pytest.mark.slow

SHARDS = Path("data/shards")
TRAIN = sorted((f"train/{n}.png" for n in range(40)), key=key_of)
TEST = sorted((f"test/{n}.png" for n in range(8)), key=key_of)
BAD = {TRAIN[0]: b"", TRAIN[39]: b"text", TEST[3]: b""}
SETS = (FOLDER, "ingest.shard_images=8", "ingest.max_side=64", "ingest.mode=rgb", "ingest.max_bad=3")


@pytest.fixture(scope="module")
def slow():
    """Bytes of a few images, small files that take some time to decode."""
    made = []
    for number in range(1, 7):
        file = BytesIO()
        ramp = np.add.outer(np.arange(1000), np.arange(1000)) * number % 256
        Image.fromarray(ramp.astype(np.uint8)).save(file, "PNG")
        made.append(file.getvalue())
    return made


@pytest.fixture
def _photographs(fill, slow):
    """Forty train images, five shards, and one of eight for the test; three cannot be read."""
    fill(IMAGES, {name: slow[at % len(slow)] for at, name in enumerate((*TRAIN, *TEST))} | BAD)


def start(*sets):
    """The command as a process of its own, with one thread. It heeds SIGINT, which a shell's background jobs ignore."""
    words = [word for item in (*SETS, *sets) for word in ("--set", item)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SLURM_CPUS_PER_TASK": "1"}
    command = [sys.executable, "-m", "stages.ingest", "--params", str(ROOT / "params.yaml"), *words]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=heed)


def finish(process, code=0):
    lines = process.communicate()[1].splitlines()
    assert process.returncode == code
    return lines


def in_the_midst(process, finished):
    """Waits until so many shards are finished and another one is being written; the folder of all these."""
    while process.poll() is None:
        for folder in SHARDS.glob(".folder-*.part"):
            if len(list(folder.glob("*.tar.json"))) >= finished and list(folder.glob(".*.tar.part")):
                return folder
        time.sleep(0.002)
    raise AssertionError(process.communicate())


def interrupted(kind, finished):
    """The finished tars of a run that a signal ended in the midst of another, with their times."""
    process = start()
    folder = in_the_midst(process, finished)
    process.send_signal(kind)
    process.communicate()
    assert process.returncode != 0
    tars = sorted(folder.glob("*.tar"))
    assert finished <= len(tars) < 6
    return {tar: tar.stat().st_mtime_ns for tar in tars}


@pytest.fixture
def whole(_photographs, ingest):
    """What a run makes that nobody interrupts; it is put aside."""
    ingest(*SETS)
    found = bytes_below(OUT, SHARDS)
    for path in found:
        Path(path).unlink()
    home().rmdir()
    return found


def home():
    """The folder of shards, the only one: no work is left beside it."""
    (folder,) = SHARDS.iterdir()
    return folder


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_only_unfinished_shards_are_written_again(whole, kind):
    times = interrupted(kind, 2)
    assert list(OUT.iterdir()) == []
    said = finish(start())
    assert f"ingest: {len(times)} of 6 shards were there, from a run that was interrupted" in said
    assert bytes_below(OUT, SHARDS) == whole
    assert {tar: (home() / tar.name).stat().st_mtime_ns for tar in times} == times
    log = json.loads(Path("data/logs/ingest.json").read_text())
    new = [tar for tar in home().iterdir() if tar.name not in {tar.name for tar in times}]
    assert (log["images"], log["bytes"]) == (48 - 8 * len(times), sum(tar.stat().st_size for tar in new))


def test_a_finished_shard_that_was_spoilt_or_is_stale_is_written_again(whole):
    first, second, third, *more = times = interrupted(signal.SIGKILL, 4)
    first.write_bytes(first.read_bytes()[:-512])
    data = bytearray(second.read_bytes())
    data[1000] ^= 1
    second.write_bytes(data)
    os.utime(IMAGES / TRAIN[17], (1, 1))  # as if it were another image
    said = finish(start())
    assert f"ingest: {len(more)} of 6 shards were there, from a run that was interrupted" in said
    for tar in (first, second):
        assert f"ingest: {tar} is not as an earlier run left it, and is written again" in said
    assert bytes_below(OUT, SHARDS) == whole
    assert {tar for tar in times if (home() / tar.name).stat().st_mtime_ns != times[tar]} == {first, second, third}


@pytest.mark.usefixtures("_photographs")
def test_after_a_kill_bad_images_count_still_and_other_params_start_afresh():
    interrupted(signal.SIGKILL, 2)
    said = finish(start("ingest.shard_images=40", "ingest.max_side=32"))
    assert not any("were there" in line for line in said)
    assert len(list(home().iterdir())) == 2
    assert [shard.count for shard in manifest().splits["train"]] == [38]
    before = bytes_below(OUT, SHARDS)
    interrupted(signal.SIGKILL, 1)
    says = finish(start("ingest.max_bad=2"), code=1)[-1]
    assert says.startswith(f"Error: {TRAIN[0]}: expected an image, but the file has zero bytes; 3 such images so far")
    assert bytes_below(OUT, SHARDS) == before


@pytest.mark.usefixtures("_photographs")
def test_a_second_ingest_into_the_same_place_is_refused(ingest):
    process = start()
    in_the_midst(process, 1)
    assert ingest(*SETS, code=1).stderr.splitlines()[-1] == (
        "Error: data/scratch/ingest.lock: expected no other ingest to run here, found one that holds the lock"
    )
    finish(process)
    assert manifest().count("train") == 38


@pytest.mark.usefixtures("_photographs")
@pytest.mark.parametrize("shard_images", [8, 100])
def test_the_number_of_threads_changes_no_byte(ingest, monkeypatch, shard_images):
    found = []
    for cores in ("1", "2", "11"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cores)
        ingest(*SETS, f"ingest.shard_images={shard_images}")
        found.append(bytes_below(OUT, SHARDS))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 6 + (6 if shard_images == 8 else 2)


def test_images_that_are_many_are_done_in_processes_and_change_no_byte(ingest, fill, picture, monkeypatch):
    fill(IMAGES, {f"{n}.png": picture(n % 50, channels=4 if n % 7 == 0 else 3) + bytes([n % 256]) for n in range(FEW)})
    fill(IMAGES, {"3.png": b"", "1000.png": b"text"})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    ingest(FOLDER)
    one = bytes_below(OUT, SHARDS)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    before = children()
    ingest(FOLDER)
    assert bytes_below(OUT, SHARDS) == one
    assert (manifest().count("train"), manifest().size) == (FEW - 2, (8, 8))
    assert children() > before  # they have been waited for, so their time is counted


def children():
    """Seconds of processor time of all processes that this one has started and that have ended."""
    return os.times().children_user


def shards():
    """The images of each shard, by the names of both, in the order of their keys."""
    found, path, rows = {}, paths(), index()
    for key, shard in zip(rows.key, rows.shard, strict=True):
        found.setdefault(Path(shard).name, []).append(path[key])
    return found


def test_a_bad_image_moves_no_other_and_a_shard_of_bad_images_is_not_there(ingest, fill):
    fill(IMAGES, [*TRAIN, *TEST])
    ingest(*SETS)
    sound = shards()
    assert [sound[f"train-{k:06d}.tar"] for k in range(5)] == [TRAIN[8 * k : 8 * k + 8] for k in range(5)]
    fill(IMAGES, {TRAIN[10]: b""})
    ingest(*SETS)
    assert shards() == {name: [path for path in paths if path != TRAIN[10]] for name, paths in sound.items()}
    fill(IMAGES, dict.fromkeys(TRAIN[8:16], b""))
    ingest(*SETS, "ingest.max_bad=8")
    del sound["train-000001.tar"]
    assert shards() == sound
    assert sorted(tar.name for tar in Path(index().shard[0]).parent.iterdir()) == sorted(sound)
