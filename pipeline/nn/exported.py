"""A trained classifier as one file that runs without this code: ONNX, or a program of torch.export."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pipeline.base import rng
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.files import whole_file
from pipeline.nn.classifier import Classifier

log = logging.getLogger(__name__)

KINDS = (".onnx", ".pt2")
CHECKED = 7  # images that are classified by both
LARGEST_ERROR = 1e-4  # of a probability


class Probabilities(nn.Module):
    """What the file computes: the probability of each class, for uint8 images of the size that was trained on."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, "b k"]:
        return self.model(images)["label"].float().softmax(dim=1)


def export(model: Classifier, file: Path) -> float:
    """Writes the model as the end of the file's name says, with its classes; gives the largest error of a probability.

    The file is read back and given images of any number at once. Raises ParamsError for a name of another kind or
    where onnxscript or onnxruntime is missing, and ArtifactError, leaving no file, where the two do not agree.
    """
    if file.suffix not in KINDS:
        raise ParamsError(f"{file}: expected a name that ends in {' or '.join(KINDS)}, got {file.suffix or 'no end'}")
    net = Probabilities(model.cpu().eval()).eval()
    shape = (model.channels, *model.size)
    pixels = rng.stream(0, "export").integers(0, 256, (CHECKED, *shape), dtype=np.uint8)
    images = torch.from_numpy(pixels)
    log.info("export: tracing the network (1 of 3), which may take half a minute")
    with _quiet(), torch.no_grad():
        program = torch.export.export(net, (images[:2],), dynamic_shapes={"images": {0: Dim.DYNAMIC}})
        wanted = net(images).numpy()
    about = {"classes": json.dumps(model.classes, ensure_ascii=False), "size": json.dumps(shape)}
    write, run = (_write_onnx, _run_onnx) if file.suffix == ".onnx" else (_write_program, _run_program)
    with _quiet(), whole_file(file) as part:
        # Both libraries look at the end of the name.
        named = part.with_name(part.name + file.suffix)
        try:
            log.info("export: writing %s (2 of 3)", file)
            write(program, named, about)
            log.info("export: comparing it with the model on %d images (3 of 3)", CHECKED)
            error = float(np.abs(run(named, pixels) - wanted).max())
            if not error <= LARGEST_ERROR:
                raise ArtifactError(
                    f"{file}: expected the model's probabilities within {LARGEST_ERROR}, got {error:.2g}"
                )
            named.replace(part)
        finally:
            named.unlink(missing_ok=True)
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries tell of their own work, which is checked here."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def _write_program(program: ExportedProgram, file: Path, about: dict[str, str]) -> None:
    torch.export.save(program, file, extra_files=about)


def _run_program(file: Path, images: UInt8[ndarray, "b c h w"]) -> Float32[ndarray, "b k"]:
    with torch.no_grad():
        return torch.export.load(file).module()(torch.from_numpy(images)).numpy()


def _write_onnx(program: ExportedProgram, file: Path, about: dict[str, str]) -> None:
    try:
        written = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    except ModuleNotFoundError as error:
        raise _missing(file, error) from error
    assert written is not None
    written.model.metadata_props.update(about)
    written.save(file, external_data=False)


def _run_onnx(file: Path, images: UInt8[ndarray, "b c h w"]) -> Float32[ndarray, "b k"]:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise _missing(file, error) from error
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


def _missing(file: Path, error: ModuleNotFoundError) -> ParamsError:
    return ParamsError(f"{file.suffix}: expected the extra onnx, found no {error.name}: pip install -e '.[onnx]'")
