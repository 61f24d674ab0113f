"""Tars behind URLs are indexed as the same tars in a folder are, each fetched once."""

from pathlib import Path

import pytest

from pipeline.base.errors import SourceError
from pipeline.ingest.sources.remote_tars import expanded
from pipeline.shards.reader import load
from tests.ingest.outcome import OUT, index, manifest
from tests.refusals import refusal_of
from tests.shards.server import reading

SHARDS = "ingest.source=shards"
QUICK = [f"machine.reading.{item}" for item in ("cache_dir=data/cache", "wait_s=0.01", "retries=1", "timeout_s=1")]
TABLES = ("sources.csv", "answers.csv", "classes.json", "attributes.parquet")


@pytest.fixture
def tars(server, tar, picture):
    """Writes the same tars to data/images and to the server: five images each with labels; their URLs."""

    def write(*names, spoilt=()):
        for number, name in enumerate(names):
            members = []
            for i in range(5):
                image = b"none" if (name, i) in spoilt else picture(10 * number + i)
                members += [(f"{i:04d}.png", image), (f"{i:04d}.cls", str(i % 2).encode())]
            server.files[f"/set/{name}"] = tar(name, members).read_bytes()
        return [server.url(f"/set/{name}") for name in names]

    return write


def both(ingest, urls, *sets):
    """Manifest and index of the folder, then those of the URLs; all other files are the same."""
    ingest(SHARDS)
    local = manifest(), index()
    files = [(OUT / name).read_bytes() for name in TABLES]
    ingest(SHARDS, f"ingest.shards.path={urls}", *QUICK, *sets)
    assert [(OUT / name).read_bytes() for name in TABLES] == files
    return local, (manifest(), index())


@pytest.mark.parametrize("small", [False, True])
def test_the_same_index_as_that_of_a_folder(server, tars, ingest, small):
    tars("train-000.tar", "train-001.tar", "train-002.tar", "test-000.tar", "test-001.tar")
    urls = [server.url("/set/train-{000..002}.tar"), server.url("/set/test-{000..001}.tar")]
    extra = [f"machine.reading.cache_mb={len(server.files['/set/train-000.tar']) * 1.5 / 1e6}"] if small else []
    server.troubles["/set/train-001.tar"] = ["cut"]
    local, remote = both(ingest, urls, *extra)
    assert list(remote[1].key) == list(local[1].key)
    assert list(remote[1].split) == list(local[1].split)
    assert list(remote[1].shard) == [server.url(f"/set/{Path(path).name}") for path in local[1].shard]
    assert remote[1].offset.tolist() == local[1].offset.tolist()
    for split in ("train", "test"):
        for one, other in zip(local[0].splits[split], remote[0].splits[split], strict=True):
            assert (one.bytes, one.sha256, one.count) == (other.bytes, other.sha256, other.count)
    assert len(server.asked) == 6  # each once, and one once more
    assert len(list(Path("data/cache").glob("*.tar"))) == (1 if small else 5)
    pixels = [load(*data, "train", "", reading("data/cache")).pixels for data in (local, remote)]
    assert bool((pixels[0] == pixels[1]).all())
    assert len(server.asked) == 6 + (3 if small else 0)  # the last one that came was none of these


def test_an_image_that_cannot_be_read_is_listed_and_left_out(tars, ingest):
    urls = tars("train-0.tar", "test-0.tar", spoilt={("train-0.tar", 2)})
    local, remote = both(ingest, urls)
    assert remote[0].bad == local[0].bad
    assert [row["path"] for row in remote[0].bad] == ["train-0.tar/0002"]
    assert remote[0].count("train") == 4


def test_refusals_name_the_url(server, tars, refusal):
    def says(path):
        return refusal(SHARDS, *QUICK, f"ingest.shards.path={path}")

    (url,) = tars("a.tar")
    assert says(f"'{server.url('/set/{0..1}.tar')}'") == f"{server.url('/set/0.tar')}: expected a tar, got none"
    server.files["/set/a.tar"] = server.files["/set/a.tar"][:700]
    cut = says(url)
    assert cut.startswith(f"{url}: ")
    assert "/dev/fd" not in cut
    assert says([url, url]).endswith("expected each tar once, got 2 URLs of 1 tars")
    assert says([url, "pipe:touch ran"]).startswith("pipe:touch ran: expected a path or a URL that begins")
    assert not Path("ran").exists()


def test_ranges_in_braces():
    assert expanded("https://h/a-{08..11}.tar") == [f"https://h/a-{n}.tar" for n in ("08", "09", "10", "11")]
    assert expanded("s3://b/{0..1}/{5..6}") == ["s3://b/0/5", "s3://b/0/6", "s3://b/1/5", "s3://b/1/6"]
    assert expanded("gs://b/a.tar") == ["gs://b/a.tar"]
    braces = "expected braces with a range of numbers, {000..099}, got others: nothing is listed"
    for url, why in (
        ("https://h/{9..1}", "expected a range that rises, of 1,000,000 at most, got 9..1"),
        ("https://h/{0..9999999}", "expected a range that rises, of 1,000,000 at most, got 0..9999999"),
        ("https://h/{a,b}.tar", braces),
        ("https://h/*.tar", braces),
        ("data/a.tar", "expected a URL beside the others, got a path"),
    ):
        assert refusal_of(expanded, url, kind=SourceError) == f"{url}: {why}"
