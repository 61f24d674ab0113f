"""Stages as several real processes: what comes out, and what is left when some of them are killed or asked to stop."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.curve import read_rows
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.shards import Manifest
from pipeline.base.files import sha256
from pipeline.parallel import dist
from tests.imports import ROOT

pytestmark = pytest.mark.slow

ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SETS = ("ingest.shard_images=400", "pretrain.method=simclr", "pretrain.batch_size=16", "pretrain.steps=60")
OUT = Path("data/pretrain/backbone.safetensors")


def words(stage, *options, processes=1, restarts=0):
    """The command line of a stage."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launch = [*launch, f"--max-restarts={restarts}"] if processes > 1 else []
    return [sys.executable, *launch, "-m", f"stages.{stage}", *(w for s in SETS for w in ("--set", s)), *options]


def call(folder, *args, env=ENV, **kwargs):
    result = subprocess.run(words(*args, **kwargs), cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Digits in four shards to train and one to test, a backbone, and its embeddings by one process."""
    folder = tmp_path_factory.mktemp("processes")
    shutil.copy(ROOT / "params.yaml", folder)
    call(folder, "ingest")
    call(folder, "pretrain", "--set", "pretrain.steps=2")
    call(folder, "embed")
    return folder


@pytest.fixture
def run(home, tmp_path):
    """A copy that may be changed; its shards are the same."""
    shutil.copytree(home, tmp_path / "run")
    return tmp_path / "run"


def vectors(run):
    return [sha256(file) for file in sorted((run / "data/embed").rglob("*")) if file.is_file()]


@pytest.mark.parametrize("processes", [2, 3])
def test_embed_gives_the_same_bytes_for_any_number_of_processes(processes, home, run):
    """Neither number divides both splits' shards; three processes are more than the test split has."""
    manifest = Manifest.read(run / "data/ingest/manifest.json")
    assert [len(manifest.splits[split]) for split in ("train", "test")] == [4, 1]
    shutil.rmtree(run / "data/embed")
    call(run, "embed", processes=processes)
    assert len(vectors(home)) == 6
    assert vectors(run) == vectors(home)


def test_embed_goes_on_with_another_number_of_processes(home, run):
    shutil.rmtree(run / "data/embed")
    shards = [run / shard.path for shard in Manifest.read(run / "data/ingest/manifest.json").splits["train"]]
    shards[3].rename(run / "away")
    result = subprocess.run(words("embed", processes=2), cwd=run, env=ENV, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert f"{shards[3].name}: expected the shard of" in result.stderr
    assert "expected all others, lost one" in result.stderr
    assert not (run / "data/embed").exists()
    (done,) = (run / "data/scratch").glob("embed-*")
    assert [file.name for file in sorted(done.glob("train-*.npy"))] == [f"train-{i:06d}.npy" for i in range(3)]
    # Shards that are done are not read again.
    (run / "away").rename(shards[3])
    shards[0].write_bytes(b"")
    call(run, "embed")
    assert vectors(run) == vectors(home)


def test_pretraining_has_the_curve_of_one_process(run):
    """Two and three processes to float32's rounding; one to that of torch's batch norm, which rounds in other places.

    In float64 all have the same weights: tests/test_dist.py.
    """
    sets = ("pretrain.batch_size=24", "pretrain.steps=5", "pretrain.optim.learning_rate=0.01")
    curves = []
    for processes in (1, 2, 3):
        call(run, "pretrain", *(word for item in sets for word in ("--set", item)), processes=processes)
        curves.append(read_rows(run / "data/pretrain/curve.csv")["loss"])
    np.testing.assert_allclose(curves[2], curves[1], rtol=2e-6)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3)


def started(run, *args, **kwargs):
    """The process of a training that has saved at least once."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*words(*args, **kwargs), "--save-seconds", "0"], cwd=run, env=ENV, **pipes)
    end = time.monotonic() + 60
    while not list((run / "data/scratch").glob("pretrain-*/state.safetensors")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def workers(process):
    """The processes that torchrun started, in the order of ranks."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    rank = {}
    for child in map(int, children):
        env = dict(pair.split("=", 1) for pair in Path(f"/proc/{child}/environ").read_text().split("\0") if pair)
        rank[int(env["RANK"])] = child
    return [rank[i] for i in sorted(rank)]


@pytest.fixture(scope="module")
def whole(home, tmp_path_factory):
    """The digest of the backbone that runs end with that nobody disturbs, by the number of processes."""
    found = {}
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp("whole") / "run"
        shutil.copytree(home, folder)
        call(folder, "pretrain", processes=processes)
        found[processes] = sha256(folder / OUT)
    return found


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_training_that_is_asked_to_stop_saves_first(by_hand, run, whole):
    process = started(run, "pretrain")
    process.send_signal(signal.SIGINT if by_hand else signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    name = "SIGINT" if by_hand else "SIGTERM"
    assert f" of 60: ended by {name}, saved; the same command continues" in line
    (state,) = (run / "data/scratch").glob("pretrain-*/state.safetensors")
    step = int(line.removeprefix("Error: step ").split()[0])
    assert f'"step":"{step}"'.encode() in state.read_bytes()
    assert f"continues after step {step} of 60" in call(run, "pretrain").stderr
    assert sha256(run / OUT) == whole[1]


def test_all_processes_stop_where_one_is_asked_to(run, whole):
    process = started(run, "pretrain", processes=2)
    os.kill(workers(process)[1], signal.SIGUSR1)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    lines = {line for line in said.splitlines() if line.startswith("Error: ")}
    assert len(lines) == 1, lines
    assert "ended by SIGUSR1, saved" in next(iter(lines))
    step = int(lines.pop().removeprefix("Error: step ").split()[0])
    assert f"continues after step {step} of 60" in call(run, "pretrain", processes=2).stderr
    assert sha256(run / OUT) == whole[2]


def test_a_process_that_is_killed_ends_the_others_with_a_line(run, whole):
    process = started(run, "pretrain", processes=2)
    os.kill(workers(process)[1], signal.SIGKILL)
    killed = time.monotonic()
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert time.monotonic() - killed < 30
    assert "Error: process 0 of 2: expected all others, lost one" in said or "ended by SIGTERM, saved" in said
    assert re.search("continues after step [1-9]", call(run, "pretrain", processes=2).stderr)
    assert sha256(run / OUT) == whole[2]


def test_torchrun_starts_processes_that_died_again(run, whole):
    process = started(run, "pretrain", processes=2, restarts=1)
    for pid in workers(process):
        os.kill(pid, signal.SIGKILL)
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 0, said
    assert re.search("continues after step [1-9]", said)
    assert sha256(run / OUT) == whole[2]


def test_srun_starts_the_same_processes(home, run):
    """What srun tells its tasks, on two nodes of one task each; they are on this machine."""
    shutil.rmtree(run / "data/embed")
    common = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_STEP_NODELIST": "127.0.0.[1,2]",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_CPUS_PER_TASK": "1",
    }
    tasks = []
    for i in range(2):
        env = {**ENV, **common, "SLURM_PROCID": str(i), "SLURM_NODEID": str(i), "SLURM_LOCALID": "0"}
        tasks.append(subprocess.Popen(words("embed"), cwd=run, env=env, stderr=subprocess.PIPE, text=True))
    said = [task.communicate(timeout=60)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert '"processes": 2' in (run / "data/logs/embed.json").read_text()
    assert vectors(run) == vectors(home)


def test_processes_that_do_not_find_each_other_are_one_line(run):
    env = {**ENV, "WORLD_SIZE": "2"}
    result = subprocess.run(words("embed"), cwd=run, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "Error: several processes: expected them to find each other, got: " in result.stderr
    assert "Traceback" not in result.stderr


def test_srun_without_a_step_of_several_tasks_is_one_process():
    assert dist.slurm({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == {}
    assert dist.slurm({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}) == {}


def test_srun_tells_who_is_where():
    env = {
        "SLURM_STEP_NUM_TASKS": "20",
        "SLURM_STEP_TASKS_PER_NODE": "8(x2),4",
        "SLURM_STEP_NODELIST": "gpu[007-008,012]",
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_ID": "3",
        "SLURM_PROCID": "17",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "2",
    }
    assert dist.slurm(env) == {
        "RANK": "17",
        "WORLD_SIZE": "20",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu007",
        "MASTER_PORT": str(20000 + (4242 * 16 + 3) % 10000),
    }
    assert dist.slurm({**env, "SLURM_STEP_NODELIST": "a1,b2", "MASTER_PORT": "5"})["MASTER_ADDR"] == "a1"
    assert dist.slurm({**env, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"})["MASTER_PORT"] == "5"


def test_vectors_are_of_every_image(home):
    table = Embeddings.read(home / "data/embed/train")
    assert len(table.keys) == Manifest.read(home / "data/ingest/manifest.json").count("train")
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), 1, rtol=1e-5)
