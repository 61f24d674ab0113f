"""torchvision, also beside a CPU-only torch."""

import functools
import importlib
import sys
from types import ModuleType
from typing import Any


@functools.cache
def torchvision() -> ModuleType:
    """The module torchvision with its `datasets` and `models`; its C++ operators and decoders may be missing.

    torchvision's wheel on the index is a CUDA build. Beside a CPU build of torch its operators do not load, and its
    import then fails where it registers their shapes. Declaring the two operators is enough for all that is used here.
    """
    try:
        return _load()
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_operators()
    return _load()


def _load() -> ModuleType:
    for name in ("torchvision.datasets", "torchvision.models"):
        importlib.import_module(name)
    return sys.modules["torchvision"]


@functools.cache  # the operators exist as long as the library object does
def _declare_operators() -> Any:
    # Here, not above: torch takes a second to import, and most sources do without it.
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
