"""What a stage's code really imports and reads, worked out from its source: `python -m tests.imports` prints it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGES = ("ingest", "pretrain", "embed", "graph", "select", "label", "train", "evaluate", "report")


def imported(file: Path) -> set[Path]:
    """The files of this repository that one file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ("pipeline", "stages"):
                path = ROOT / name.replace(".", "/")
                found |= {p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()}
    return found


def closure(file: Path) -> set[str]:
    """The file, all that it imports, directly or not, and the templates beside it; methods and their tables aside.

    What the methods import counts. A table says no more than the methods' files do: tests/test_graph.py.
    """
    seen, todo = set(), {file}
    while todo:
        here = todo.pop()
        seen.add(here)
        todo |= imported(here) - seen
    modules = {path for path in seen if imported(path) or path.name != "__init__.py"}
    templates = {page for path in modules for kind in ("html", "css", "js") for page in path.parent.glob(f"*.{kind}")}
    files = {str(path.relative_to(ROOT)) for path in modules | templates}
    return {name for name in files if "/methods/" not in name}


if __name__ == "__main__":
    for stage in STAGES:
        print(stage, *sorted(closure(ROOT / "stages" / f"{stage}.py")), sep="\n      - ")
