"""Pictures for docs/guide/tutorial.md: `python -m tests.tutorial_pictures FOLDER` writes 400 scans of digits."""

import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from tests.digits_tree import digit_images

COUNT = 400
ANSWERS = load_digits().target


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(digit_images()[:COUNT]):
        Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
