"""Shards behind a URL: the same bytes whatever goes wrong on the way, or one line, and never half of them."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.shards.remote.cache import Cache
from tests.imports import ROOT
from tests.refusals import refusal_of
from tests.shards.server import reading, until

DATA = np.random.default_rng(0).bytes(300_000)


def shard_of(url, data=DATA, **changes):
    values = {"path": url, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "count": 1}
    return Shard(**{**values, **changes})


@pytest.fixture
def shard(server):
    server.files["/a.tar"] = DATA
    return shard_of(server.url("/a.tar"))


def fetched(cache, shard, digest=False):
    handle = cache.open(shard, threading.Event(), digest=digest)
    try:
        return os.pread(handle, shard.bytes + 1, 0)
    finally:
        os.close(handle)


def left(folder):
    """What is in the cache, but for locks."""
    return sorted(file.name for file in Path(folder).iterdir() if file.suffix != ".lock")


def test_a_shard_is_fetched_once_and_found_again(server, shard, tmp_path):
    for _ in range(2):
        assert fetched(Cache(reading(tmp_path)), shard) == DATA
    assert server.asked == [("/a.tar", None)]
    assert left(tmp_path) == [f"{shard.sha256}.tar"]


@pytest.mark.parametrize(
    ("troubles", "from_where"),  # 1: only what is still to come is asked for
    [
        (["stall"], [0, 1]),
        (["cut"], [0, 1]),
        (["cut", "stall"], [0, 1, 1]),
        (["cut", "whole"], [0, 1]),
        (["cut", 500], [0, 1, 1]),
        (["cut", 416], [0, 1, 0]),
        (["short"], [0, 0]),
        (["flip"], [0, 0]),
        (["cut", "flip"], [0, 1, 0]),
        ([500], [0, 0]),
        ([429, 503], [0, 0, 0]),
        (["mute"], [0]),
    ],
)
def test_what_goes_wrong_for_a_while_is_made_good(server, shard, tmp_path, troubles, from_where):
    server.troubles["/a.tar"] = troubles
    assert fetched(Cache(reading(tmp_path)), shard) == DATA
    assert [ranged is not None for _, ranged in server.asked] == from_where
    assert left(tmp_path) == [f"{shard.sha256}.tar"]


@pytest.mark.parametrize(
    ("trouble", "came", "attempts"),
    [
        ("stall", "nothing before the time-out (machine.reading.timeout_s)", 3),
        ("cut", None, 3),
        ("short", "299900 bytes", 3),
        ("flip", "other bytes (sha256 ", 3),
        (500, "status 500", 3),
        (403, "status 403", 1),
        (404, "none", 1),
        ("file:///etc/passwd", None, 3),
        ("ftp://127.0.0.1/a.tar", None, 3),
    ],
)
def test_what_goes_wrong_every_time_is_one_line(server, shard, tmp_path, trouble, came, attempts):
    server.always["/a.tar"] = trouble
    says = refusal_of(fetched, Cache(reading(tmp_path, timeout_s=0.1)), shard)
    assert says.startswith(f"{shard.path}: expected 300000 bytes of sha256 {shard.sha256[:12]}..., got {came or ''}")
    assert says.endswith(f" ({attempts} attempts)") == (attempts > 1)
    assert len(server.asked) == attempts
    assert left(tmp_path) == []


def test_no_server_is_one_line_and_waits_grow(server, shard, tmp_path):
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.tar"
        says = refusal_of(fetched, Cache(reading(tmp_path)), shard_of(url))
    assert says.startswith(f"{url}: expected 300000 bytes")
    assert says.endswith("(3 attempts)")
    server.always["/a.tar"] = 500
    started = time.monotonic()
    refusal_of(fetched, Cache(reading(tmp_path, wait_s=0.1, retries=3)), shard)
    assert 0.7 <= time.monotonic() - started < 2


@pytest.mark.usefixtures("shard")
def test_a_redirect_to_another_url_is_followed(server, tmp_path):
    server.files["/b.tar"] = b""
    server.always["/b.tar"] = server.url("/a.tar")
    assert fetched(Cache(reading(tmp_path)), shard_of(server.url("/b.tar"))) == DATA


def test_a_server_that_has_more_than_the_manifest_says(server, tmp_path):
    server.files["/a.tar"] = DATA
    short = shard_of(server.url("/a.tar"), DATA[:1000])
    assert refusal_of(fetched, Cache(reading(tmp_path)), short).endswith("got 300000 bytes (3 attempts)")
    server.always["/a.tar"] = "mute"  # and does not say so
    assert refusal_of(fetched, Cache(reading(tmp_path)), short).endswith("got more than 1000 bytes (3 attempts)")


def test_a_file_of_the_cache_that_has_changed_is_fetched_anew(server, shard, tmp_path):
    cache, file = Cache(reading(tmp_path)), tmp_path / f"{shard.sha256}.tar"
    fetched(cache, shard)
    file.write_bytes(DATA[:-1])
    assert fetched(cache, shard) == DATA
    file.write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
    assert fetched(cache, shard) != DATA  # its size alone is looked at
    assert fetched(cache, shard, digest=True) == DATA
    assert len(server.asked) == 3


def many(server, count):
    shards = []
    for i in range(count):
        data = bytes([i]) + DATA
        server.files[f"/{i}.tar"] = data
        shards.append(shard_of(server.url(f"/{i}.tar"), data))
    return shards


def test_those_not_used_for_longest_leave(server, tmp_path):
    cache, shards = Cache(reading(tmp_path, cache_mb=1.0)), many(server, 5)
    for i in (0, 1, 2, 0, 3, 0, 4):
        assert fetched(cache, shards[i])[0] == i
        time.sleep(0.01)
    assert left(tmp_path) == sorted(f"{shards[i].sha256}.tar" for i in (0, 3, 4))
    assert len(server.asked) == 5


def test_what_has_left_can_be_read_until_it_is_closed(server, tmp_path):
    cache, shards = Cache(reading(tmp_path, cache_mb=0.4)), many(server, 2)
    handle = cache.open(shards[0], threading.Event(), digest=False)
    fetched(cache, shards[1])
    assert left(tmp_path) == [f"{shards[1].sha256}.tar"]
    assert os.pread(handle, 10, 0) == b"\0" + DATA[:9]
    os.close(handle)


def test_a_shard_larger_than_the_cache_and_a_folder_that_is_a_file_are_one_line(shard, tmp_path):
    says = refusal_of(fetched, Cache(reading(tmp_path, cache_mb=0.25)), shard, kind=ParamsError)
    assert says == f"machine.reading.cache_mb: expected at least 0.3, the size of {shard.path}, got 0.25"
    assert left(tmp_path) == []
    (tmp_path / "file").write_text("")
    says = refusal_of(fetched, Cache(reading(tmp_path / "file")), shard)
    assert says == f"{tmp_path}/file: expected to write shards to it (machine.reading.cache_dir), got: File exists"


def in_threads(*calls):
    """Runs these at once; what they gave, or less where one hangs."""
    results = []
    threads = [threading.Thread(target=lambda call=call: results.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_threads_that_want_one_shard_fetch_it_once(server, shard, tmp_path):
    server.always["/a.tar"] = "slow"
    assert in_threads(*[lambda: fetched(Cache(reading(tmp_path)), shard)] * 6) == [DATA] * 6
    assert len(server.asked) == 1


def test_a_bounded_cache_serves_many_threads(server, tmp_path):
    """More is wanted at a time than fits: some wait for others, none for ever."""
    shards = many(server, 6)

    def work(i):
        return [fetched(Cache(reading(tmp_path, cache_mb=0.65)), shards[(i + j) % 6])[0] for j in range(6)]

    found = in_threads(*(partial(work, i) for i in range(6)))
    assert sorted(first for own in found for first in own) == sorted(list(range(6)) * 6)
    assert len(left(tmp_path)) <= 2


def test_a_retry_needs_no_room_again(server, tmp_path):
    """While it waits for the server another shard waits for its room: neither may wait for the other."""
    shards = many(server, 2)
    server.troubles["/0.tar"] = ["stall"]
    cache = reading(tmp_path, cache_mb=1.5 * shards[0].bytes / 1e6, timeout_s=0.5)

    def second():
        until(lambda: server.asked)
        return fetched(Cache(cache), shards[1])[0]

    assert sorted(in_threads(lambda: fetched(Cache(cache), shards[0])[0], second)) == [0, 1]


def test_files_of_others_stay(server, tmp_path):
    others = ["only-copy.tar", "film.part", "x.lock"]
    for other in others:
        (tmp_path / other).write_bytes(bytes(10**6))
    shards = many(server, 3)
    for shard in shards:
        fetched(Cache(reading(tmp_path, cache_mb=1.5 * shard.bytes / 1e6)), shard)
    assert all((tmp_path / other).stat().st_size == 10**6 for other in others)


def test_nothing_is_written_by_way_of_a_link(server, tmp_path):
    (shard,) = many(server, 1)
    (tmp_path / "mine").write_bytes(b"precious")
    for kind in ("part", "tar"):
        link = tmp_path / "cache" / f"{shard.sha256}.{kind}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path / "mine")
        with pytest.raises((ArtifactError, OSError)):
            fetched(Cache(reading(tmp_path / "cache")), shard)
        link.unlink(missing_ok=True)
        assert (tmp_path / "mine").read_bytes() == b"precious"


FETCH = """
import os, sys, threading
from pipeline.artifacts.shards import Shard
from pipeline.shards.remote.cache import Cache
from pipeline.base.machine import Reading
cache = Cache(Reading(cache_dir=sys.argv[1], cache_mb=1.0, retries=2, wait_s=0.01, timeout_s=10))
shard = Shard(sys.argv[2], int(sys.argv[3]), sys.argv[4], 1)
print(len(os.pread(cache.open(shard, threading.Event(), digest=False), 10**6, 0)))
"""


def process(folder, shard):
    command = [sys.executable, "-c", FETCH, str(folder), shard.path, str(shard.bytes), shard.sha256]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_nothing_half_written_and_a_live_one_is_waited_for(server, shard, tmp_path):
    server.troubles["/a.tar"] = ["stall", "slow"]
    killed = process(tmp_path, shard)
    until(lambda: [part for part in tmp_path.glob("*.part") if part.stat().st_size == shard.bytes])  # it has begun
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert left(tmp_path) == [f"{shard.sha256}.part"]
    other = shard_of(server.url("/b.tar"), DATA[1:])
    server.files["/b.tar"] = DATA[1:]
    assert fetched(Cache(reading(tmp_path, cache_mb=0.3)), other) == DATA[1:]  # the dead one's part takes no room
    assert left(tmp_path) == [f"{other.sha256}.tar"]
    live = process(tmp_path, shard)
    until(lambda: list(tmp_path.glob("*.part")))
    assert fetched(Cache(reading(tmp_path)), shard) == DATA
    assert live.communicate()[0] == "300000\n"
    assert [path for path, _ in server.asked].count("/a.tar") == 2  # the killed one, and the live one, which was first


def test_what_is_there_now_is_added_by_its_digest(server, shard, tmp_path):
    cache = Cache(reading(tmp_path))
    server.troubles["/a.tar"] = ["cut"]
    handle, size, digest = cache.add(shard.path, threading.Event())
    os.close(handle)
    assert (size, digest) == (300_000, shard.sha256)
    assert fetched(cache, shard) == DATA
    assert len(server.asked) == 2
    server.always["/a.tar"] = "mute"
    says = refusal_of(cache.add, shard.path, threading.Event())
    assert says == f"{shard.path}: expected a tar, got an answer that does not say its size"
