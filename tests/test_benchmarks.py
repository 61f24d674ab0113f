"""The benchmarks, which no other test runs, still find what they measure."""

import subprocess
import sys
from pathlib import Path


def test_all_benchmarks_import():
    names = sorted(f"benchmarks.{file.stem}" for file in Path("benchmarks").glob("*.py"))
    assert len(names) > 10
    subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], check=True)
