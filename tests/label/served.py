"""The server of the label page as a real process, and what is asked of it over the network."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

from tests.imports import ROOT
from tests.label.small_set import (
    FROM_FILE,
)

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the usual one keeps the first proxies it sees
SAID = {"how": "key", "seconds": 1.25}


@contextmanager
def served(*arguments, limit=None):
    """The server's address, and its process. With `limit` no file that it writes may be longer, as on a full disk."""
    command = [sys.executable, "-m", "stages.label", "--serve", *FROM_FILE, *arguments]

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limited if limit else None,
    )
    try:
        yield re.search(r"http://\S+/", process.stdout.readline())[0], process
    finally:
        process.kill()
        process.communicate()


def ask(url, data=None, **headers):
    """Status and content of an answer; `data` is posted as JSON, bytes as they are."""
    body = data if isinstance(data, bytes | None) else json.dumps(data).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **names})
    try:
        with DIRECT.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def say(url, *rows, code=200):
    """Posts changes; gives the answer."""
    status, answer = ask(f"{url}labels", {"rows": list(rows)})
    assert status == code, answer
    return json.loads(answer)
