"""Memory that is freed is used again, in a process of its own: what other tests have allocated breaks the heap up."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from pipeline.parallel.heap import keep_freed_memory

def use():
    torch.ones(2**24).relu()  # two tensors of 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

use()
{}
before = [use() for _ in range(20)][-1]  # an aligned tensor needs a hole larger than itself
print((use() - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is told to keep what is freed")
@pytest.mark.parametrize(("call", "least", "most"), [("", 2**27, 2**28), ("keep_freed_memory()", 0, 2**20)])
def test_large_tensors_bring_no_fresh_pages(call, least, most):
    done = subprocess.run([sys.executable, "-c", FAULTS.format(call)], capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
