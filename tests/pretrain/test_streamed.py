"""Views from shards: what a plain loop makes, the same whatever was asked before, and those of the resident feed."""

import math
import shutil
import time
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.ingest.run import IngestParams, ingest
from pipeline.ingest.sources.folder import Folder
from pipeline.nn.backbones import SmallResNet, fresh
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.streamed import sample
from pipeline.shards import files as shard_files
from pipeline.shards.order import Order
from pipeline.shards.reader import load
from pipeline.views.chance import Chance
from pipeline.views.kinds import LocalCrops
from tests.method_values import CONTRASTIVE, NO_LOCAL
from tests.refusals import refusal_of
from tests.shards.watch import open_files, workers

PLAIN = CONTRASTIVE.model_copy(
    update={"jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": 0.0, "crop_min": 0.2}
)  # crops and flips alone
LOCAL = LocalCrops(count=2, side=0.5, crop_min=0.05, crop_max=0.3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Manifest and index of thirty parts of two photographs, JPEGs of many sizes, networks see them as 64 x 64."""
    home = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(0)
    for number in range(30):
        picture = load_sample_images().images[number % 2]
        h, w = chance.integers(66, 128, 2)  # never twice the size of a view: no JPEG is decoded at half its size
        top, left = chance.integers(0, 427 - h), chance.integers(0, 640 - w)
        file = home / "images" / ("train" if number < 24 else "test") / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[top : top + h, left : left + w]).save(file, quality=90)
    params = IngestParams(
        source="folder", shards_dir=str(home / "shards"), shard_images=10, mode="auto", size=64, max_side=512,
        max_bad=0, test_fraction=0.2, attributes="", hierarchy="",
    )  # fmt: skip
    manifest = ingest(params, Folder(path=str(home / "images")), 0, home / "ingest").manifest
    return manifest, Index.read(home / "ingest/index.parquet", "train")


@pytest.fixture
def digits(digits_run, tmp_path):
    """Manifest and index of real scans, 8 x 8, in a shard that a test may spoil."""
    manifest = Manifest.read(digits_run / "ingest/manifest.json")
    index = Index.read(digits_run / "ingest/index.parquet", "train")
    (shard,) = manifest.splits["train"]
    path = str(shutil.copy(shard.path, tmp_path / "train.tar"))
    moved = replace(manifest, splits={"train": [replace(shard, path=path)]})
    return moved, replace(index, shard=[path] * len(index.key))


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("first", "second", "local", "rows"))


def test_a_batch_is_what_a_plain_loop_makes(photos, streamed):
    """Crops and flips from the draws of the resident feed, on the picture as Pillow decodes it, in loops."""
    index = photos[1]
    keys = [i for i, split in enumerate(index.split) if split == "train"]
    feed = streamed(photos, (PLAIN, PLAIN), LOCAL)
    for step in (0, 3):
        views = feed(step)
        chance = Chance(rng.number(0, "pretrain", "views", step))
        parts = [(PLAIN, 64, views.first), (PLAIN, 64, views.second)]
        parts += [(LOCAL.view(PLAIN), 32, local) for local in views.local]
        for view, side, found in parts:
            area, log_ratio, across, down, flip = chance.uniform(8, *[(0, 1)] * 5).T.tolist()
            view.photometric(torch.zeros(8, 3, 2, 2), chance)  # takes its draws from the stream
            for b, row in enumerate(Order(24, 0, "pretrain", "order").batch(step, 8)):
                at = keys[row]
                with Path(index.shard[at]).open("rb") as file:
                    file.seek(index.offset[at])
                    image = Image.open(BytesIO(file.read(index.size[at])))
                pixels = (view.crop_min + (view.crop_max - view.crop_min) * area[b]) * image.width * image.height
                ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * log_ratio[b])
                w, h = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
                w, h = min(w, image.width), min(h, image.height)
                if ratio < w / h > 1:  # a panorama: the crop's height is its own, and its width goes by it
                    w = h * max(1, ratio)
                if ratio > w / h < 1:
                    h = w / min(1, ratio)
                left, top = across[b] * (image.width - w), down[b] * (image.height - h)
                crop = image.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + w, top + h))
                if flip[b] < 0.5:
                    crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                got = (found[b] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                assert np.abs(got.astype(int) - np.asarray(crop)).max() <= 1, (step, b)


@pytest.mark.parametrize(
    ("local", "update"), [(NO_LOCAL, {}), (LOCAL, {}), (LOCAL, {"flip_down": 0.5, "turn_prob": 0.5})]
)
def test_square_pictures_of_their_size_give_the_views_of_the_resident_feed(digits, streamed, local, update):
    views = (CONTRASTIVE.model_copy(update=update),) * 2
    resident = Feed(load(*digits, "train", "").pixels, views, local, 8, seed=5)
    streamed = streamed(digits, views, local=local, seed=5)
    for step in (0, 1, 120):
        one, other = streamed(step), resident(step)
        assert torch.equal(one.rows, other.rows)
        assert (one.local.shape, one.local.dtype) == (other.local.shape, other.local.dtype)
        for name in ("first", "second"):
            found, expected = getattr(one, name), getattr(other, name)
            # One in 255 by rounding, twice where brightness and contrast are turned up.
            torch.testing.assert_close(found, expected, atol=2.5 / 255, rtol=0)
            assert (found.flip(0) - expected).abs().mean() > 0.1


def test_a_method_of_one_view_gets_the_first_alone(digits, streamed):
    one, both = (streamed(digits, [CONTRASTIVE] * count, LOCAL)(3) for count in (1, 2))
    resident = Feed(load(*digits, "train", "").pixels, [CONTRASTIVE], LOCAL, 8, seed=0)(3)
    assert torch.equal(one.first, both.first)
    assert not torch.equal(both.first, both.second)
    assert one.second is one.first
    assert resident.second is resident.first
    torch.testing.assert_close(one.first, resident.first, atol=2.5 / 255, rtol=0)
    assert one.local.shape == resident.local.shape == (2, 8, 1, 4, 4)


def test_a_step_is_the_same_whatever_was_asked_before(photos, streamed):
    walked = streamed(photos, local=LOCAL, batch_size=2)
    batches = [walked(step) for step in range(5)]
    for step in (4, 2, 2, 3, 0):
        assert same(walked(step), batches[step])
    for step in (4, 1):
        assert same(streamed(photos, local=LOCAL, batch_size=2, threads=1)(step), batches[step])
    assert not same(batches[0], batches[3])
    assert not same(streamed(photos, local=LOCAL, batch_size=2, seed=1)(0), batches[0])


def test_two_ranks_have_the_batch_of_one(photos, streamed, monkeypatch):
    whole = streamed(photos, local=LOCAL)(1)
    monkeypatch.setattr(dist, "world", lambda: 2)
    halves = []
    for rank in range(2):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        halves.append(streamed(photos, local=LOCAL)(1))
    assert len(halves[0].rows) == 4
    for name, axis in (("first", 0), ("second", 0), ("local", 1), ("rows", 0)):
        joined = torch.cat([getattr(half, name) for half in halves], axis)
        torch.testing.assert_close(joined, getattr(whole, name), atol=1e-6, rtol=0)
    says = "pretrain.batch_size: expected a multiple of the 2 processes, got 9"
    assert refusal_of(lambda: streamed(photos, batch_size=9), kind=ParamsError) == says


def test_threads_and_files_end_with_the_feed(digits, streamed):
    path = Path(digits[0].splits["train"][0].path).resolve()
    with closing(streamed(digits, batch_size=64, threads=3)) as feed:
        feed(0)
        assert 1 <= len(workers()) <= 3
        assert len(open_files(path)) == 1
    assert workers() == []
    assert open_files(path) == []
    feed.close()  # once more does no harm


def test_few_shards_are_kept_open(photos, streamed, monkeypatch):
    paths = {shard.path for shard in photos[0].splits["train"]}
    assert len(paths) == 3
    before = streamed(photos)
    expected = before(0)
    before.close()
    monkeypatch.setattr(shard_files, "KEPT_OPEN", 1)
    feed = streamed(photos, threads=4)
    assert same(feed(0), expected)
    end = time.monotonic() + 20
    while sum(len(open_files(Path(path).resolve())) for path in paths) != 1:  # threads hold what they read from
        assert time.monotonic() < end


def test_a_spoilt_image_is_refused_at_its_step_and_not_before(digits, streamed):
    manifest, index = digits
    path = Path(manifest.splits["train"][0].path)
    row = Order(400, 0, "pretrain", "order").batch(2, 8)[5]
    data = bytearray(path.read_bytes())
    start, size = index.offset[row], index.size[row]
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    feed = streamed(digits)
    feed(0)
    feed(1)
    for _ in range(2):
        assert refusal_of(feed, 2).startswith(f"{path}: expected the image {index.key[row]}, got: the file is no")
    feed(3)


def test_a_shard_that_goes_after_the_start_is_refused(digits, streamed):
    (shard,) = digits[0].splits["train"]
    feed = streamed(digits, threads=1)
    Path(shard.path).unlink()
    assert refusal_of(feed, 0).startswith(f"{shard.path}: expected the shard of {shard.bytes} bytes that was ingested")


def test_a_sample_is_chosen_at_random_and_fits_a_backbone(photos, digits):
    pixels = load(*photos, "train", "").pixels
    some = sample(*photos, "train", 7, 0, None, 1)
    assert some.shape == (7, 3, 64, 64)
    rows = [int((pixels == image).flatten(1).all(1).nonzero()) for image in some]
    assert rows == sorted(set(rows))
    assert rows != list(range(7))
    assert torch.equal(some, sample(*photos, "train", 7, 0, None, 1))
    assert not torch.equal(some, sample(*photos, "train", 7, 1, None, 1))
    assert torch.equal(sample(*photos, "train", 100, 0, None, 1), pixels)
    net = fresh("small_resnet", SmallResNet(width=16, stem_stride=1), sample(*digits, "train", 50, 0, None, 1))
    assert net(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).shape == (1, 64)
