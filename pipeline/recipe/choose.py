"""The rule: which params fit these images on this machine. docs/guide/images.md has the figures behind it."""

from typing import NamedTuple

from pipeline.recipe.look import Pictures

SMALL, USUAL, LARGE = 96, 160, 224  # pixels on a side of what the network sees; the time goes with the area
AT_MOST = 20_000  # images that are embedded at the usual size without a GPU: some ten minutes on two cores


class Choice(NamedTuple):
    """A value of params.yaml, and why it is this one."""

    key: str
    value: str | int
    why: str


def choose(pictures: Pictures, *, gpu: bool) -> list[Choice]:
    """What goes beyond presets/photos/packaged.yaml, which has the backbone and how it is trained on."""
    if pictures.grey:
        mode = Choice("ingest.mode", "grey", "no image has colours")
    else:
        mode = Choice("ingest.mode", "rgb", "there are colours")
    if gpu and pictures.side >= LARGE:
        size = Choice("ingest.size", LARGE, "there is a GPU, and the images are that large")
    elif pictures.side < SMALL:
        size = Choice("ingest.size", SMALL, "the images are smaller still")
    elif not gpu and pictures.count > AT_MOST:
        size = Choice("ingest.size", SMALL, f"there is no GPU, and there are more than {AT_MOST:,} images")
    else:
        size = Choice("ingest.size", USUAL, "smaller ones cost points of accuracy, larger ones gain little")
    return [mode, size]
