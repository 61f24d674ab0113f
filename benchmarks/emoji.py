"""Colour pictures with classes: the emoji of an npm package on random backgrounds, a folder for each kind.

Needs npm and its registry. Google's edition has some 1,900 pictures in nine kinds; `--edition twitter` draws the same
emoji in another hand. Each picture is turned a little and pasted on two colours that run into each other, so the
background says nothing about the kind.

    python -m benchmarks.emoji runs/emoji-images
"""

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.base import rng

SIDE = 160  # pixels of a picture
LEFT_OUT = "Component"  # skin tones and hair, five pictures


def unpacked(edition: str, folder: Path) -> Path:
    """The unpacked npm package of an edition (google, twitter, apple, facebook), below `folder`."""
    name = f"emoji-datasource-{edition}"
    subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob(f"{name}-*.tgz")
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)  # tarfile's filters came with Python 3.11.4
    return folder / "package"


def emoji(package: Path, edition: str) -> Iterator[tuple[str, Path]]:
    """Kind and file of each emoji that the edition draws."""
    for one in json.loads((package / "emoji.json").read_text(encoding="utf-8")):
        if one["category"] != LEFT_OUT and one[f"has_img_{edition}"]:
            yield one["category"], package / "img" / edition / "64" / one["image"]


def picture(file: Path, chance: np.random.Generator) -> Image.Image:
    """The emoji, 90 to 140 pixels wide, turned by up to 20 degrees, on a gradient between two random pale colours."""
    first, second = chance.uniform(90, 255, (2, 3))
    angle = chance.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) - 0.5
    along = np.clip(x * math.cos(angle) + y * math.sin(angle) + 0.5, 0, 1)[..., None]
    ground = first * (1 - along) + second * along + chance.normal(0, 6, (SIDE, SIDE, 3))
    out = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    side = int(chance.integers(90, 141))
    with Image.open(file) as opened:
        drawn = opened.convert("RGBA").resize((side, side), Image.Resampling.BICUBIC)
    drawn = drawn.rotate(float(chance.uniform(-20, 20)), Image.Resampling.BICUBIC)
    left, top = chance.integers(0, SIDE - side + 1, 2).tolist()
    out.paste(drawn, (left, top), drawn)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write, which must not exist")
    parser.add_argument("--edition", default="google", choices=("google", "twitter", "apple", "facebook"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        for i, (kind, file) in enumerate(emoji(unpacked(options.edition, Path(folder)), options.edition)):
            place = options.out / kind.lower().replace(" & ", "-").replace(" ", "-")
            place.mkdir(exist_ok=True)
            picture(file, rng.stream(options.seed, "emoji", i)).save(place / file.name)
    print(f"{sum(1 for _ in options.out.rglob('*.png'))} pictures in {len(list(options.out.iterdir()))} kinds")


if __name__ == "__main__":
    main()
