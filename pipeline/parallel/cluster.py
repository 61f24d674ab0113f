"""A map on the nodes of a Ray cluster, for what would take one machine hours. All nodes see the same files.

Ray is the extra `ray`, and is imported where an address is given (docs/decisions/0014-ray-for-ingest.md).
"""

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pipeline.base.errors import ParamsError, PipelineError, first_line

T = TypeVar("T")
R = TypeVar("R")

RETRIES = 4  # of a task whose worker or node died
CONNECT_SECONDS = 10


def map_on_cluster(address: str, work: Callable[[T], R], things: Iterable[T]) -> Generator[R, None, None]:
    """`map` in tasks of one core each; results in the order of the things, two a core begun before they are asked for.

    `address` is host:port, or `auto` for the cluster that runs here. A task whose worker or node died is begun again
    elsewhere, and one that was given up may still run, so `work` must bear to be done twice, even at once. It runs in
    the caller's working folder. Raises ParamsError where there is no cluster, the error that `work` raises, and
    PipelineError where a task's workers keep dying.
    """
    ray = _connected(address)
    there = ray.remote(num_cpus=1, max_retries=RETRIES)(_there)
    source, cwd = iter(things), str(Path.cwd())
    ahead: deque[Any] = deque()
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if not cores:
            raise ParamsError(f"machine.ray: expected a cluster with cores at {address}, got none: start its workers")
        for thing in islice(source, 2 * cores):
            ahead.append(there.remote(work, thing, cwd))
        while ahead:
            yield ray.get(ahead.popleft())
            for thing in islice(source, 1):
                ahead.append(there.remote(work, thing, cwd))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise PipelineError(f"Ray at {address}: expected a task's result, got: {first_line(error)}") from error
    finally:
        for task in ahead:
            ray.cancel(task, force=True)
        if ahead:  # none may write after its folder is gone
            ray.wait([*ahead], num_returns=len(ahead))
        ray.shutdown()


def _there(work: Callable[[T], R], thing: T, cwd: str) -> R:
    os.chdir(cwd)
    return work(thing)


def _connected(address: str) -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ParamsError("machine.ray: expected the extra ray, found none: pip install -e '.[ray]'") from error
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        here = {"env_vars": {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}}
        ray.init(address, runtime_env=here, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        why = f"expected a Ray cluster (host:port, or auto for the one that runs here), got {address!r}"
        raise ParamsError(f"machine.ray: {why}: {first_line(error)}") from error
    return ray
