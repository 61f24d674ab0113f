"""Images that are decoded for each batch: the pixels of those in memory, and so the same training to the byte."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
import torch

from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError
from pipeline.fit import fit
from pipeline.parallel import dist
from pipeline.shards.reader import Reader, load
from pipeline.train.pixels import Resident, for_all_images, images_by_step
from pipeline.train.streamed import Streamed, training_images
from tests.digits import learner
from tests.method_values import OPTIM
from tests.shards.watch import open_files, workers
from tests.train.helpers import CPU

ROWS = [
    torch.tensor(rows, dtype=torch.long)
    for rows in ([3, 1, 3], [399], list(range(50, 80)), [], [0, 7], [7, 0], [5] * 9)
]


@pytest.fixture
def data(digits_run, tmp_path):
    """Manifest and index of 400 real scans in a shard that a test may spoil."""
    manifest = Manifest.read(digits_run / "ingest/manifest.json")
    index = Index.read(digits_run / "ingest/index.parquet", "train")
    (shard,) = manifest.splits["train"]
    path = str(shutil.copy(shard.path, tmp_path / "train.tar"))
    splits = {"train": [Shard(path, shard.bytes, shard.sha256, shard.count)]}
    moved = Index(index.key, index.split, [path] * len(index.key), index.offset, index.size)
    return Manifest("digits", 1, (8, 8), splits, []), moved


@pytest.fixture
def made(data):
    """Makes images that are decoded, and are closed at the end."""
    found = []

    def make(kept=(), threads=2):
        rows = torch.tensor(kept, dtype=torch.long)
        found.append(Streamed(*data, "train", rows, window=1, device=CPU.device, threads=threads))
        return found[-1]

    yield make
    for images in found:
        images.close()


@pytest.fixture
def read(monkeypatch):
    """The numbers of the images that are read one by one."""
    numbers, plain = [], Reader.read
    monkeypatch.setattr(Reader, "read", lambda self, n, decoded: (numbers.append(n), plain(self, n, decoded))[1])
    return numbers


@pytest.mark.parametrize("kept", [(), (3, 60, 399)])
@pytest.mark.parametrize("threads", [1, 5])
def test_the_pixels_are_those_of_load(data, made, kept, threads):
    pixels, images = load(*data, "train", "").pixels, made(kept, threads)
    assert len(images) == len(Resident(pixels)) == 400
    for rows, one, other in zip(ROWS, images.stream(ROWS), Resident(pixels).stream(ROWS), strict=True):
        assert torch.equal(one, pixels[rows])
        assert torch.equal(other, pixels[rows])


def test_kept_images_are_read_once(made, read):
    images = made(range(10, 40))
    assert sorted(read) == list(range(10, 40))
    for _ in images.stream([torch.arange(12, 30), torch.arange(38, 43)]):
        pass
    assert sorted(read) == list(range(10, 43))


def test_steps_are_the_same_whatever_was_asked_before(data, made):
    pixels = load(*data, "train", "").pixels

    def plan(step):
        return torch.arange(9) * (step + 1), f"step {step}"

    for images in (made(), Resident(pixels)):
        steps = images_by_step(images, plan)
        for step in (0, 1, 2, 7, 3, 3, 4, 0):
            rows, rest, found = steps(step)
            assert rest == f"step {step}"
            assert torch.equal(rows, plan(step)[0])
            assert torch.equal(found, pixels[rows])


def test_threads_and_files_end_with_the_images(data):
    path = Path(data[0].splits["train"][0].path).resolve()
    with closing(Streamed(*data, "train", torch.arange(9), window=1, device=CPU.device, threads=3)) as images:
        stream = images.stream([torch.arange(99)] * 9)
        next(stream)
        assert 1 <= len(workers()) <= 3
        assert len(open_files(path)) == 1
    assert workers() == []
    assert open_files(path) == []
    images.close()  # once more does no harm


def test_a_spoilt_image_is_named_in_its_batch_or_at_the_start(data, made):
    manifest, index = data
    path = Path(manifest.splits["train"][0].path)
    spoilt = bytearray(path.read_bytes())
    start = int(index.offset[70])
    spoilt[start : start + 20] = b"x" * 20
    path.write_bytes(spoilt)
    says = f"^{path}: expected the image {index.key[70]}, got: "
    steps = images_by_step(made(), lambda step: (torch.arange(20) + 20 * step, None))
    steps(2)
    with pytest.raises(ArtifactError, match=says):
        steps(3)
    steps(4)
    with pytest.raises(ArtifactError, match=says):
        Streamed(*data, "train", torch.arange(100), window=1, device=CPU.device, threads=2)
    assert len(workers()) <= 2  # of the images above


def test_for_all_images_is_each_image_once(data, made, monkeypatch):
    pixels = load(*data, "train", "").pixels

    def work(part):
        assert len(part) <= 30
        return part.flatten(1)[:, 20:30] / 7

    whole = pixels.flatten(1)[:, 20:30] / 7
    for images in (made(), Resident(pixels)):
        assert torch.equal(for_all_images(images, 30, 10, work), whole)
    monkeypatch.setattr(dist, "world", lambda: 3)
    monkeypatch.setattr(dist, "total", lambda x: x)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        parts.append(for_all_images(made(), 30, 10, work))
    assert all(0 < (part != 0).any(dim=1).sum() < 200 for part in parts)
    assert torch.equal(sum(parts), whole)


def test_labelled_images_stay_where_they_fit(data, read):
    some, many = torch.arange(50), torch.arange(300)
    for resident_mb, labelled, kept in [(1, some, None), (0.01, some, 50), (0.01, many, 0), (0, some, 0)]:
        with training_images(*data, labelled, resident_mb, 1, CPU.device) as images:
            assert isinstance(images, Resident if kept is None else Streamed)
            assert len(read) == (kept or 0)
            read.clear()


@pytest.mark.parametrize("name", ["fixmatch", "paws"])
@pytest.mark.parametrize("stop_at", [None, 3])
def test_trained_bytes_are_those_of_images_in_memory(name, stop_at, data, made, tmp_path):
    def run(images, state, stop_at=None):
        method, _ = learner(name)
        feed = method.feed(images)

        def batch_at(step):
            if step == stop_at:
                raise KeyboardInterrupt
            return feed(step)

        state.mkdir(exist_ok=True)
        rows = fit(method, batch_at, OPTIM, num_steps=6, seed=0, device=CPU, state=state, save_seconds=0)
        return {**method.state_dict(), "losses": torch.tensor([row["loss"] for row in rows])}

    one = run(Resident(load(*data, "train", "").pixels), tmp_path / "resident")
    if stop_at is not None:
        with pytest.raises(KeyboardInterrupt):
            run(made(range(9)), tmp_path / "decoded", stop_at)
    other = run(made(range(9)), tmp_path / "decoded")
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert torch.equal(other[key], tensor), key
