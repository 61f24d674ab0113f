from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.shards.decode import encode
from pipeline.shards.reader import Reader, load, read_shard
from tests.refusals import refusal_of
from tests.shards.tar_set import made as tar_set

PIXELS = np.random.default_rng(0).integers(0, 256, (150, 1, 5, 7), dtype=np.uint8)
KEYS = [f"{number:020x}" for number in range(150)]
TEST = range(0, 150, 10)


@pytest.fixture
def made(tmp_path):
    """Two train shards and a test shard of 150 images, with their manifest and index."""
    images = [(KEYS[i], "test" if i in TEST else "train", encode(PIXELS[i]), "png") for i in range(150)]
    return tar_set(images, tmp_path, 80, (5, 7), 1)


def test_a_split_is_loaded_whole_in_the_order_of_its_keys(made):
    train = load(*made, "train", "")
    own = [i for i in range(150) if i not in TEST]
    assert train.keys == [KEYS[i] for i in own]
    assert np.array_equal(train.pixels.numpy(), PIXELS[own])
    assert load(*made, "test", "").keys == [KEYS[i] for i in TEST]


def test_the_shards_of_a_split_join_to_the_whole(made):
    manifest, index = made
    parts = [read_shard(manifest, index, "train", shard) for shard in manifest.splits["train"]]
    assert [len(part.keys) for part in parts] == [80, 55]
    assert np.array_equal(np.concatenate([part.pixels for part in parts]), load(*made, "train", "").pixels)


def test_images_come_in_the_mode_and_size_of_the_manifest(made):
    manifest, index = made
    wide = replace(manifest, channels=3, size=(4, 4))
    assert load(wide, index, "test", "").pixels.shape == (15, 3, 4, 4)


MEND = "`dvc repro -f ingest` makes it anew"
WHOLE_OR_ONE_BY_ONE = pytest.mark.parametrize("read", [partial(load, label=""), Reader])


@WHOLE_OR_ONE_BY_ONE
def test_a_changed_shard_and_a_missing_one_are_named(made, read):
    shard = made[0].splits["train"][0]
    expected = f"{shard.path}: expected the shard of {shard.bytes} bytes that was ingested, found"
    data = bytearray(Path(shard.path).read_bytes())
    Path(shard.path).write_bytes(data[:-100])
    assert refusal_of(read, *made, "train") == f"{expected} one of {shard.bytes - 100} bytes; {MEND}"
    if read is not Reader:  # which looks at sizes alone
        data[700] ^= 1
        Path(shard.path).write_bytes(data)
        assert refusal_of(read, *made, "train") == f"{expected} other bytes; {MEND}"
    read(*made, "test")
    Path(shard.path).unlink()
    assert refusal_of(read, *made, "train") == f"{expected} none; {MEND}"


@WHOLE_OR_ONE_BY_ONE
def test_an_index_of_other_shards_is_refused(made, read):
    manifest, index = made
    (shard,) = manifest.splits["test"]
    more = replace(manifest, splits={"test": [replace(shard, count=16)]})
    assert refusal_of(read, more, index, "test") == f"{shard.path}: expected 16 images in index.parquet, got 15"
    none, says = replace(manifest, splits={"test": []}), f"expected the manifest's shards, got {shard.path}"
    assert refusal_of(read, none, index, "test") == f"index.parquet: {says}"


def test_an_offset_beside_an_image_is_refused(made):
    manifest, index = made
    moved = replace(index, offset=index.offset + 1)
    says = f"{manifest.splits['test'][0].path}: expected the image {KEYS[0]}, got: the file is no image"
    assert refusal_of(load, manifest, moved, "test", "").startswith(says)
