"""A set behind a URL gives what the same set gives on this machine, whatever goes wrong on the way."""

import threading
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artifacts.shards import Index
from pipeline.base.errors import ParamsError
from pipeline.pretrain.streamed import sample
from pipeline.shards.decode import encode
from pipeline.shards.order import ShardOrder
from pipeline.shards.pictures import pictures
from pipeline.shards.reader import Reader, load, read_shard
from pipeline.shards.remote.download import Stopped
from pipeline.train.pixels import for_all_images
from pipeline.train.streamed import training_images
from tests.refusals import refusal_of
from tests.shards.server import reading, until
from tests.shards.tar_set import made as made_set

PIXELS = np.random.default_rng(0).integers(0, 256, (160, 1, 6, 6), dtype=np.uint8)
KEYS = [f"{number:020x}" for number in range(160)]
TEST = range(0, 160, 10)
CPU = torch.device("cpu")


@pytest.fixture
def local(tmp_path):
    """Nine train shards, the last with fewer images, and a test shard, with their manifest and index."""
    (tmp_path / "tars").mkdir()
    images = [(KEYS[i], "test" if i in TEST else "train", encode(PIXELS[i]), "png") for i in range(160)]
    return made_set(images, tmp_path / "tars", 17, (6, 6), 1)


@pytest.fixture
def remote(local, server):
    return moved(*local, server)


def moved(manifest, index, server):
    """The same behind a URL."""

    def url_of(path):
        return server.url(f"/{Path(path).name}")

    for path in {shard.path for shards in manifest.splits.values() for shard in shards}:
        server.files[f"/{Path(path).name}"] = Path(path).read_bytes()
    splits = {
        split: [replace(shard, path=url_of(shard.path)) for shard in own] for split, own in manifest.splits.items()
    }
    there = Index(index.key, index.split, [url_of(path) for path in index.shard], index.offset, index.size)
    return replace(manifest, splits=splits), there


def test_keys_and_pixels_are_those_of_the_local_set(local, remote, server, tmp_path):
    near, own = load(*local, "train", ""), reading(tmp_path / "cache")
    for name in ("/train-000003.tar", "/train-000008.tar", "/test-000000.tar"):
        server.troubles[name] = ["cut", "flip", 503]
    found = load(*remote, "train", "", reading(tmp_path / "cache", retries=3))
    assert found.keys == near.keys
    assert torch.equal(found.pixels, near.pixels)
    for one, other in zip(local[0].splits["train"], remote[0].splits["train"], strict=True):
        near, found = read_shard(*local, "train", one), read_shard(*remote, "train", other, own)
        assert found.keys == near.keys
        assert torch.equal(found.pixels, near.pixels)
    assert len(server.asked) == 9 + 2 * 3  # each once, and once more for each trouble: the second time from the cache
    shown = pictures(*remote, near.keys[:4] + load(*local, "train", "").keys[:4], 6, own)
    assert shown == pictures(*local, list(shown), 6)
    assert list(shown) == sorted(shown)


def test_without_a_cache_a_url_is_refused(remote):
    says = f"{remote[0].splits['train'][0].path}: expected a shard of this machine, got a URL"
    assert refusal_of(load, *remote, "train", "") == says
    assert refusal_of(Reader, *remote, "train") == says


def test_what_does_not_come_is_named_at_its_image_and_no_other(remote, server, tmp_path):
    server.always["/train-000002.tar"] = 500
    with closing(Reader(*remote, "train", reading(tmp_path, retries=1))) as reader:
        order = reader.order(2, 0, "x")
        assert isinstance(order, ShardOrder)
        shard = remote[0].splits["train"][2]
        expected = f"{shard.path}: expected {shard.bytes} bytes of sha256 {shard.sha256[:12]}..., "
        reader.fetch(range(9))  # in the background nothing is raised
        for number in order.batch(0, 144).tolist():
            if number // 17 == 2:
                assert refusal_of(reader.read, number, len) == expected + "got status 500 (2 attempts)"
            else:
                assert reader.read(number, len) > 0


def test_training_on_few_labels_fetches_each_shard_once_an_epoch(server, tmp_path):
    """The cache holds three of nine shards: two windows of one, and a little. Keys of a shard lie anywhere."""
    order = np.random.default_rng(1).permutation(160)
    images = [(KEYS[i], "test" if i in TEST else "train", encode(PIXELS[i]), "png") for i in order]
    (tmp_path / "tars").mkdir()
    remote = moved(*made_set(images, tmp_path / "tars", 17, (6, 6), 1), server)
    largest = max(shard.bytes for shard in remote[0].splits["train"])
    cache = reading(tmp_path, cache_mb=3.5 * largest / 1e6)
    truth = torch.from_numpy(PIXELS[[i for i in range(160) if i not in TEST]])
    with training_images(*remote, torch.arange(0), 0, 1, CPU, cache) as images:
        order = images.order(0, "train", "unlabelled")
        rows = [torch.from_numpy(order.batch(step, 12)) for step in range(24)]
        for own, found in zip(rows, images.stream(rows), strict=True):
            assert torch.equal(found, truth[own])
        assert torch.cat(rows[:12]).sort().values.tolist() == list(range(144))
        assert torch.cat(rows[12:]).sort().values.tolist() == list(range(144))
        assert len(server.asked) <= 2 * 9
        server.asked.clear()
        table = for_all_images(images, 500, 36, lambda pixels: pixels.flatten(1).float())
        assert torch.equal(table, truth.flatten(1).float())
        assert len(server.asked) <= 9


def test_a_cache_that_does_not_hold_two_windows_is_refused(remote, tmp_path):
    sizes = sorted((shard.bytes for shard in remote[0].splits["train"]), reverse=True)
    least = -(-sum(sizes[:6]) // 10_000) / 100
    with closing(Reader(*remote, "train", reading(tmp_path, cache_mb=least - 0.02))) as reader:
        says = refusal_of(reader.order, 3, 0, "x", kind=ParamsError)
        assert says == (
            f"machine.reading.cache_mb: expected at least {least:g}, twice 3 shards (window_shards), "
            f"got {least - 0.02:g}"
        )
    with closing(Reader(*remote, "train", reading(tmp_path, cache_mb=least))) as reader:
        assert len(reader.order(3, 0, "x").batch(0, 10)) == 10


def same(one, other):
    return torch.equal(one.first, other.first) and torch.equal(one.second, other.second)


def test_any_step_is_the_same_whatever_was_asked_before_and_went_wrong(remote, server, streamed, tmp_path):
    small = sum(sorted(shard.bytes for shard in remote[0].splits["train"])[-4:]) / 1e6 + 0.001
    walked = streamed(remote, reading=reading(tmp_path / "a", cache_mb=small), window=2, batch_size=24)
    batches = [walked(step) for step in range(13)]  # two epochs, in a cache that holds less than half of the set
    rows = torch.cat([batch.rows for batch in batches[:12]]).reshape(2, 144)
    assert all(sorted(epoch) == list(range(144)) for epoch in rows.tolist())
    for number in range(9):
        server.troubles[f"/train-{number:06d}.tar"] = [("cut", 500, "flip")[number % 3]]
    resumed = streamed(remote, reading=reading(tmp_path / "b", cache_mb=small), window=2, batch_size=24)
    for step in (9, 12, 2):
        assert torch.equal(resumed(step).rows, batches[step].rows)
        assert same(resumed(step), batches[step])


def test_the_next_window_comes_while_one_is_read(remote, server, streamed, tmp_path):
    manifest, index = remote
    feed, rows = streamed(remote, reading=reading(tmp_path), window=2, batch_size=2), index.rows("train")
    numbers = [np.searchsorted(rows, index.rows("train", shard.path)) for shard in manifest.splits["train"]]
    feed(0)
    soon = [f"/train-{number:06d}.tar" for number in ShardOrder(numbers, 2, 0, "pretrain", "order").shards(0, 2)]
    assert len(soon) == 4
    until(lambda: {path for path, _ in server.asked} == set(soon))
    time.sleep(0.1)
    assert sorted(path for path, _ in server.asked) == sorted(soon)  # each once, and no more


@pytest.mark.parametrize("stage", ["pretrain", "train"])
def test_closing_ends_what_is_on_its_way(remote, server, streamed, tmp_path, stage):
    server.always = dict.fromkeys(server.files, 500)
    cache, ended = reading(tmp_path, wait_s=30.0), []
    with ExitStack() as stack:
        if stage == "pretrain":
            feed = streamed(remote, reading=cache, window=2)
            stack.callback(feed.close)
            get = partial(feed, 0)
        else:
            images = stack.enter_context(training_images(*remote, torch.arange(0), 0, 1, CPU, cache))
            get = partial(next, images.stream([torch.arange(8)]))

        def call():
            with pytest.raises((Stopped, RuntimeError, CancelledError)) as error:
                get()
            ended.append(error.type)

        calling = threading.Thread(target=call)
        calling.start()
        until(lambda: server.asked)
        started = time.monotonic()
    calling.join(5)
    assert len(ended) == 1
    assert time.monotonic() - started < 2
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(("prefetch", "shards"))] == []


def test_a_sample_comes_from_few_shards(remote, local, server, tmp_path):
    some = sample(*remote, "train", 20, 0, reading(tmp_path), 2)
    pixels = load(*local, "train", "").pixels
    rows = [int((pixels == image).flatten(1).all(1).nonzero()) for image in some]
    assert rows == sorted(set(rows))
    assert len(server.asked) == 2
    assert torch.equal(some, sample(*remote, "train", 20, 0, reading(tmp_path), 2))
    assert torch.equal(sample(*remote, "train", 500, 0, reading(tmp_path), 2), pixels)
