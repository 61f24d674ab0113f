"""What a stage's code really imports and reads, worked out from its source; `python -m tests.graph` prints the deps."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A folder that holds one kind of method: dvc.yaml names the folder, so that adding a method re-runs its stage.
KINDS = ("pipeline/sources", "pipeline/selfsup", "pipeline/select", "pipeline/semisup")


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
    """The file, all that it imports, directly or not, and their templates; no `__init__` that is only a docstring."""
    seen, todo = set(), {file}
    while todo:
        here = todo.pop()
        seen.add(here)
        todo |= imported(here) - seen
    modules = {path for path in seen if imported(path) or path.name != "__init__.py"}
    templates = {page for path in modules for page in (path.with_suffix(".html"), path.with_suffix(".css"))}
    files = {str(path.relative_to(ROOT)) for path in modules | templates if path.is_file()}
    kinds = {kind for kind in KINDS if any(name.startswith(f"{kind}/") for name in files)}
    return {name for name in files if not any(name.startswith(f"{kind}/") for kind in kinds)} | kinds


if __name__ == "__main__":
    for stage in ("ingest", "pretrain", "embed", "select", "label", "train", "evaluate", "report"):
        path = ROOT / "stages" / f"{stage}.py"
        print(stage, *sorted(closure(path)) if path.exists() else "-", sep="\n      - ")
