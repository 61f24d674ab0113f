"""Any model of timm, where timm is installed (the extra `timm`); it is imported only where one is asked for."""

import importlib
from types import ModuleType
from typing import Any

from torch import nn

from pipeline.base.errors import ParamsError, first_line
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.architecture import Architecture

MODEL = "pretrain.backbones.timm.model"


class TimmModel(Architecture):
    """A model by timm's name; a tag after a dot (`resnet18.a1_in1k`) says which weights, where weights are wanted."""

    model: str

    def build(self, channels: int) -> tuple[nn.Module, int]:
        try:
            net = create(self.model, channels, pretrained=False)
        except (AssertionError, RuntimeError) as error:  # a tag that is not there, channels that it cannot have
            raise ParamsError(
                f"{MODEL}: expected a model for {channels} channels, got {self.model!r}: {first_line(error)}"
            ) from error
        return net, net.head_hidden_size  # num_features is less where timm keeps a layer behind the pooling

    def stages(self, body: Any) -> dict[str, int]:
        """As timm's `feature_info` has them. It names those of transformers too, whose outputs are no such maps."""
        stages = [(stage["module"], stage["num_chs"]) for stage in getattr(body, "feature_info", [])]
        return dict(stages[:-1] if stages and stages[-1][1] == body.head_hidden_size else stages)


def create(model: str, channels: int, *, pretrained: bool) -> Any:
    """A model of timm without its classification layer, for images of any size where it can be: not all of them can.

    Raises ParamsError where timm or the model is missing, and what timm raises where weights are.
    """
    timm = _timm()
    if not timm.is_model(model.partition(".")[0]):  # so that no name makes timm ask a hub or read a folder
        raise ParamsError(f"{MODEL}: expected a name from timm.list_models() of timm {timm.__version__}, got {model!r}")
    wanted = {"pretrained": pretrained, "num_classes": 0, "in_chans": channels}
    try:
        return timm.create_model(model, dynamic_img_size=True, **wanted)
    except TypeError:  # convolutional networks have no such option and no need of it
        return timm.create_model(model, **wanted)


def _timm() -> ModuleType:
    torchvision()  # timm imports it, and beside a CPU-only torch it must be mended first
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ParamsError(
            "pretrain.backbone: expected timm to be installed (pip install 'few-label-pipeline[timm]'), "
            f"got: {first_line(error)}"
        ) from error
