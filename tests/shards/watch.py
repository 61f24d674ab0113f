"""What tests see of threads and open files."""

import threading
from pathlib import Path


def workers():
    """Threads that read ahead."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def open_files(path):
    return [link for link in Path("/proc/self/fd").iterdir() if link.exists() and str(path) in str(link.resolve())]
