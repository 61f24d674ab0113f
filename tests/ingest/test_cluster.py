"""Ingest on a Ray cluster of this machine: two worker nodes, one of which is killed, give the bytes of one process."""

import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.base.params import Params
from pipeline.ingest.sources import source_of
from pipeline.ingest.sources.remote_tars import RemoteTars
from tests.imports import ROOT
from tests.ingest.outcome import FOLDER, IMAGES, OUT, bytes_below, manifest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SHARDS = Path("data/shards")
SETS = (FOLDER, "ingest.shard_images=8", "ingest.max_side=64", "ingest.mode=rgb", "ingest.max_bad=3")
STORE = 80_000_000  # bytes: the least that Ray takes is 75 MB


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}, initialize_head=True
    )
    yield made
    made.shutdown()


@pytest.fixture
def _photographs(fill):
    """64 images that take some time to decode, of which two cannot be read."""
    files = {}
    for number in range(64):
        file = BytesIO()
        ramp = np.add.outer(np.arange(1200), np.arange(1200)) * (number + 1) % 256
        Image.fromarray(ramp.astype(np.uint8)).save(file, "PNG")
        files[f"{number}.png"] = file.getvalue()
    fill(IMAGES, files | {"5.png": b"", "40.png": b"text"})


@pytest.mark.usefixtures("_photographs")
def test_a_node_that_is_killed_changes_no_byte(cluster, ingest):
    ingest(*SETS)
    whole = bytes_below(OUT, SHARDS)
    for path in whole:
        Path(path).unlink()
    next(SHARDS.iterdir()).rmdir()
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    words = [word for item in (*SETS, f"machine.ray={cluster.address}") for word in ("--set", item)]
    command = [sys.executable, "-m", "stages.ingest", "--params", str(ROOT / "params.yaml"), *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while len([*SHARDS.glob(".folder-*.part/*.tar")]) < 2 or not [*SHARDS.glob(".folder-*.part/.task-*/.*.part")]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    cluster.remove_node(nodes[0], allow_graceful=False)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert bytes_below(OUT, SHARDS) == whole
    assert len(manifest().bad) == 2


def test_tars_are_read_there_as_here(cluster, ingest, refusal, tar, monkeypatch):
    for number in range(4):
        tar(f"{number}.tar", [f"{number}-{n}.png" for n in range(5)] + [(f"{number}-0.cls", b"3")])
    ingest("ingest.source=shards")
    here = bytes_below(OUT)
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ingest("ingest.source=shards", f"machine.ray={cluster.address}")
    assert bytes_below(OUT) == here
    spoilt = tar("4.tar", ["a.png"])
    spoilt.write_bytes(spoilt.read_bytes()[:600])
    told = [refusal("ingest.source=shards", f"machine.ray={ray}") for ray in ("", cluster.address)]
    assert told[0] == told[1]
    assert told[0].startswith("data/images/4.tar: a.png: expected ")


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_is_not_there_is_said_in_one_line(refusal, fill):
    fill(IMAGES, [f"{n}.png" for n in range(5)])
    for address, why in (("127.0.0.1:1", "[Errno 111] Connection refused"), ("here", "invalid literal for int()")):
        said = refusal(FOLDER, f"machine.ray={address}")
        expected = f"expected a Ray cluster (host:port, or auto for the one that runs here), got {address!r}: {why}"
        assert said.startswith(f"machine.ray: {expected}")


def test_without_the_extra_its_name_is_said(refusal, fill, monkeypatch):
    fill(IMAGES, [f"{n}.png" for n in range(5)])
    monkeypatch.setitem(sys.modules, "ray", None)
    assert (
        refusal(FOLDER, "machine.ray=auto")
        == "machine.ray: expected the extra ray, found none: pip install -e '.[ray]'"
    )


def test_tars_behind_urls_say_that_the_cluster_is_not_used(caplog):
    sets = ("ingest.source=shards", "ingest.shards.path=https://host/train-000000.tar", "machine.ray=host:6379")
    assert isinstance(source_of(Params.read(ROOT / "params.yaml", sets)), RemoteTars)
    assert caplog.messages == ["ingest: machine.ray is not used, as tars behind URLs come through this machine's cache"]
