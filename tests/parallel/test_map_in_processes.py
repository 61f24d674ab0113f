"""The map in processes: whose results come back to whom, and what is left when one or the parent ends."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from operator import mul
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.parallel.processes import Processes
from pipeline.parallel.threads import map_in_order
from tests.imports import ROOT


def test_threads_that_share_processes_get_their_own_results():
    with Processes(partial(mul, 3), 2) as processes:
        chunks = [list(range(start, start + 5)) for start in range(0, 500, 5)]
        found = map_in_order(processes.map, chunks, chunk=1, threads=4)
        assert list(found) == [[3 * n for n in chunk] for chunk in chunks]


@pytest.mark.parametrize(
    ("work", "thing", "why"),
    [
        (os._exit, 9, "failed with code 9"),
        (int, "no number", "failed with code 1"),
        (signal.raise_signal, signal.SIGSEGV, "failed with code -11"),
        (signal.raise_signal, signal.SIGKILL, "was killed; is there memory enough?"),
    ],
)
def test_a_process_that_ended_is_said_in_one_line(work, thing, why):
    with Processes(work, 1) as processes:
        for _ in range(2):
            with pytest.raises(PipelineError, match=r"^process \d+: ") as told:
                processes.map([thing])
            assert str(told.value).partition(": ")[2] == f"expected its results, but it {why}"


def test_no_process_outlives_a_killed_parent():
    program = """
import os
from pipeline.parallel.processes import Processes
with Processes(os.getpgid, 2) as processes:
    print(*[process.pid for process, _ in processes._all], processes.map([0]), flush=True)
    input()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], env=env, text=True, **pipes) as parent:
        pids = parent.stdout.readline().split()[:2]
        assert all(map(runs, pids))
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(map(runs, pids)):
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False
