import numpy as np
import pytest

from pipeline.artifacts.embeddings import Embeddings
from pipeline.graph.run import nearest_others
from tests.clouds import SEARCH


@pytest.fixture
def many_picks(run):
    """The address of a page with 2,000 picks: of 72 pixels, whose noise no format makes small."""
    from dataclasses import replace

    from pipeline.artifacts.labels import Classes, Labels, Sources
    from pipeline.shards.decode import encode
    from tests.label_page.digits_page import make, pick
    from tests.shards.tar_set import made

    chance = np.random.default_rng(0)
    tile = chance.integers(0, 256, (3, 9, 9), np.uint8).repeat(8, 1).repeat(8, 2)
    kinds = [encode(np.roll(tile, 8 * i, 2) // 2 + chance.integers(0, 127, tile.shape, np.uint8)) for i in range(20)]
    keys = [f"{i:06d}" for i in range(2000)]
    (run / "big").mkdir()
    images = [(key, "train", kinds[i % 20], "png") for i, key in enumerate(keys)]
    manifest, index = made(images, run / "big", len(keys), (64, 64), 3)
    replace(manifest, source="folder").write(run / "ingest/manifest.json")
    index.write(run / "ingest/index.parquet")
    Sources({key: f"{key}.png" for key in keys}).write(run / "ingest/sources.csv")
    Labels(["label"], {}).write(run / "ingest/answers.csv")
    Classes({"label": [f"kind {i}" for i in range(10)]}).write(run / "ingest/classes.json")
    x = chance.normal(size=(2000, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    Embeddings(keys, x).write(run / "embed/train")
    nearest_others(x, 10, SEARCH)[0].write(run / "graph")
    pick(keys)
    return make()
