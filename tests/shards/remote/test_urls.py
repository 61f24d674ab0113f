"""Which URLs a shard may have, and what is said of the others."""

import sys

import pytest

from pipeline.shards.remote.cache import Cache
from tests.refusals import refusal_of
from tests.shards.remote.test_cache import fetched, shard_of
from tests.shards.server import reading


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("pipe:curl https://host/a.tar", "got pipe:"),
        ("file:///etc/passwd", "got file:"),
        ("ftp://host/a.tar", "got ftp:"),
        ("simplecache::https://host/a.tar", "got simplecache:"),
        ("https://host/a.tar::file:///etc/passwd", "got https:"),
        ("http:a.tar", "got http:"),
        ("HTTP://host/a.tar", "got HTTP:"),
        ("local://a", "got local:"),
        ("github://a:b@/c", "got github:"),
    ],
)
def test_no_other_url_is_taken(path, says):
    expected = f"{path}: expected a path or a URL that begins with https://, http://, s3://, gs://, {says}"
    assert refusal_of(shard_of, path) == expected


def test_a_url_without_digest_or_with_a_password_is_refused():
    says = "https://host/a.tar: expected the sha256 of a remote shard, got '../../x'"
    assert refusal_of(lambda: shard_of("https://host/a.tar", sha256="../../x")) == says
    says = "https://...@host/a.tar: expected a URL without a user's name, got one"
    assert refusal_of(shard_of, "https://me:secret@host/a.tar") == says
    assert not shard_of("data/shards/a.tar", sha256="").remote


@pytest.mark.parametrize(("kind", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed, where it is
    says = refusal_of(fetched, Cache(reading(tmp_path)), shard_of(f"{kind}://bucket/a.tar"))
    mend = f"pip install 'few-label-pipeline[{kind}]'"
    assert says == f"{kind}://bucket/a.tar: expected the package {package}, found none: {mend}"
