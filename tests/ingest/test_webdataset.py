"""The format is webdataset's: who has its loader needs nothing of this package."""

import gc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from pipeline.artifacts.labels import Sources
from pipeline.artifacts.shards import Index, Manifest

OUT = Path("data/ingest")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the package leaves tars to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_new_shards(ingest, fill, picture):
    fill(Path("data/images"), [f"{n:02d}.png" for n in range(20)])
    assert ingest("ingest.source=folder", "ingest.shard_images=5").exit_code == 0
    manifest, index = Manifest.read(OUT / "manifest.json"), Index.read(OUT / "index.parquet")
    paths = Sources.read(OUT / "sources.csv").path
    for split in ("train", "test"):
        tars = [shard.path for shard in manifest.splits[split]]
        samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("rgb8"))
        assert [sample["__key__"] for sample in samples] == index.keys_of(index.rows(split))
        for sample in samples:
            number = int(paths[sample["__key__"]].removesuffix(".png"))
            assert np.array_equal(sample["png"], np.asarray(Image.open(BytesIO(picture(number)))))
    gc.collect()
