"""Image bytes of any kind to pixels, and to the bytes that shards hold.

Pillow decodes, a closed list of formats: some that it also knows (EPS) would start a program. It is the only decoder,
so pixels do not depend on what else is installed. Its warnings are ignored: an image is read, or it is a `BadImage`.
"""

import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.base.errors import SourceError
from pipeline.shards.bits import colours_of_16_bits, is_deep_png, scaled
from pipeline.shards.kinds import FORMATS, why_unread

KEPT = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}  # formats that go into a shard as they are
LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")  # formats of photographs: a PNG of one would be many times larger
MODES = {1: "L", 3: "RGB"}
GREY_MODES = ("1", "L", "LA", "La", "I", "F")  # and the family I;16
# Pillow's own limit: 256 MB as RGB; more in a small file is a decompression bomb. A JPEG, which is decoded at a part of
# its size, may have twice as many, where Pillow refuses it by itself: a phone's have 108 million.
MAX_PIXELS = 89_478_485
SCALED = ("PPM", "JPEG2000")  # Pillow spreads their values over 16 bits, as these files say how many they have
Box = tuple[float, float, float, float]  # left, top, right and bottom in pixels
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on spoilt files of one format or another.
SPOILT = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)


class BadImage(SourceError):
    """One image cannot be read; the text is the reason, without a path."""


@dataclass(frozen=True)
class Facts:
    """Whether an image's mode is a grey one, and its (height, width) once it stands upright."""

    grey: bool
    size: tuple[int, int]


def read_file(file: Path) -> bytes:
    """A file's bytes. Raises BadImage for one that cannot be read or is none: a pipe would be waited on for ever."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise BadImage("it is neither a file nor a folder")
        with file.open("rb", buffering=0) as raw:
            return raw.readall()
    except OSError as error:
        if file.is_symlink() and not file.exists():
            raise BadImage(f"it is a link to {file.readlink()}, which is not there") from error
        raise BadImage(f"the file cannot be read: {error.strerror}") from error


def probe(data: bytes, *, whole: bool) -> Facts:
    """An image's facts from its header; `whole` also decodes it to the end, so that a truncated one is found."""
    with _opened(data) as image:
        palette = (image.getpalette() or []) if image.mode in ("P", "PA") else None
        grey = image.mode.startswith("I;16") or image.mode in GREY_MODES
        if palette is not None:
            grey = palette[0::3] == palette[1::3] == palette[2::3]
        size = _upright_size(image)
        if whole:
            _load_quickly(image)
        return Facts(grey, size)


def decode(data: bytes, channels: int, size: tuple[int, int] | None = None) -> UInt8[ndarray, "c h w"]:
    """Pixels of an image of any mode, upright, with 1 or 3 channels.

    Alpha is laid over white; 16 bits, or as many of them as the values fill, are scaled to 8. With `size` (height,
    width) the image is made to cover it, antialiased, and what stands out on both sides is cut off. Raises BadImage.
    """
    with _opened(data) as image:
        if size is not None:
            image.draft(None, (2 * max(size), 2 * max(size)))  # a large JPEG is decoded at a fraction of its size
        image = _plain(data, image, channels)
        if size is not None and image.size != (size[1], size[0]):
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(_planes(image))


def crop_and_resize(
    data: bytes, channels: int, boxes: Callable[[float, float], Sequence[Box]], sizes: Sequence[tuple[int, int]]
) -> list[UInt8[ndarray, "c _ _"]]:
    """Parts of an image of any mode, upright, with 1 or 3 channels, each resized to its (height, width), antialiased.

    `boxes` gives the parts, one for each of `sizes`, in an image of a width and height. Bilinear, from the image's own
    pixels: a JPEG is decoded at a half, quarter or eighth of its size only where each part keeps, on each side, at
    least as many pixels as it is resized to. Raises BadImage.
    """
    with _opened(data) as image:
        height, width = _upright_size(image)
        whole = boxes(width, height)
        shrink = min(min((x1 - x0) / w, (y1 - y0) / h) for (x0, y0, x1, y1), (h, w) in zip(whole, sizes, strict=True))
        scale = next(scale for scale in (8, 4, 2, 1) if scale <= max(1, shrink))
        if scale > 1 and image.draft(None, (image.width // scale, image.height // scale)) is not None:
            whole = boxes(width / scale, height / scale)
        image = _plain(data, image, channels)
        resized = (
            image.resize((w, h), Image.Resampling.BILINEAR, box) for box, (h, w) in zip(whole, sizes, strict=True)
        )
        return [_planes(part) for part in resized]


def normalise(data: bytes, channels: int, max_side: int) -> tuple[bytes, str, tuple[int, int]]:
    """The bytes that a shard holds, their file extension, and (height, width).

    A sound JPEG, PNG or WebP that stands upright, has the mode and is no larger than `max_side` is kept byte for byte.
    Any other is written anew: a `LOSSY` one as JPEG (quality 95, no subsampling), the rest as PNG. Raises BadImage.
    """
    with _opened(data) as image:
        kind = image.format or ""
        size = _upright_size(image)
        small = fit_within(size, max_side)
        plain = (
            image.mode == MODES[channels]
            and not is_deep_png(data, image)
            and not image.has_transparency_data
            and _orientation(image) == 1
        )
        if plain and small == size and kind in KEPT and (kind == "MPO" or getattr(image, "n_frames", 1) == 1):
            _load_quickly(image)
            return data, KEPT[kind], size
        if small != size:
            image.draft(None, (2 * max_side, 2 * max_side))
        image = _plain(data, image, channels)
        if small != size:
            image = image.resize(small[::-1], Image.Resampling.BICUBIC)
        if kind in LOSSY:
            return _bytes(image, "JPEG", quality=95, subsampling=0), "jpg", small
        return _bytes(image, "PNG"), "png", small


def fit_within(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The (height, width) scaled down, if need be, so that its longer side is `max_side`."""
    scale = min(1, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encode(pixels: UInt8[ndarray, "c h w"]) -> bytes:
    """PNG bytes of an array with 1 or 3 channels."""
    return _bytes(Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)), "PNG")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    if not data:
        raise BadImage("the file has zero bytes")
    with quiet():
        try:
            with Image.open(BytesIO(data), formats=tuple(FORMATS)) as image:
                if image.width * image.height > MAX_PIXELS and image.format not in ("JPEG", "MPO"):
                    raise Image.DecompressionBombError
                yield image
        except UnidentifiedImageError:
            raise BadImage(why_unread(data)) from None
        except Image.DecompressionBombError:
            raise BadImage(f"the image has more than {MAX_PIXELS} pixels: a decompression bomb?") from None
        except SPOILT as error:
            raise BadImage(
                f"the image is truncated or spoilt: {' '.join(str(error).split()) or type(error).__name__}"
            ) from error


def _load_quickly(image: Image.Image) -> None:
    """Decodes to the end of the data; of a JPEG at an eighth of its size, which reads all the same bytes."""
    image.draft(None, (1, 1))
    image.load()


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except SPOILT:  # metadata that cannot be read does not spoil the pixels
        return 1
    return value if value in UPRIGHT else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    # Pillow itself turns a TIFF, and has its size right from the start.
    sideways = image.format != "TIFF" and _orientation(image) >= 5
    return image.size if sideways else image.size[::-1]


def _plain(data: bytes, image: Image.Image, channels: int) -> Image.Image:
    """The image upright, in mode L or RGB."""
    colours = colours_of_16_bits(data, image)
    image.load()  # a TIFF is turned here, and then forgets its orientation
    turn = UPRIGHT.get(_orientation(image))
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image), spread=image.format in SCALED))
    elif colours is not None:
        parts = (colours[..., :3], colours[..., 3:])  # what is opaque may have all 16 bits where colours have 12
        image = Image.fromarray(np.dstack([_eight_bits(part, spread=False) for part in parts if part.size]))
    if turn is not None:
        image = image.transpose(turn)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def _eight_bits(values: ndarray, *, spread: bool) -> UInt8[ndarray, "h w *c"]:
    """Floats run from 0 to 1 or, where one is larger, to 255, integers as `bits.scaled` says; nothing is clipped."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 255):  # NaN too
            raise BadImage(f"its floats run from {low:g} to {high:g}, expected 0 to 1 or 0 to 255")
        return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise BadImage(f"its integers run from {low} to {high}, expected 0 to 65535")
    return scaled(values, spread=spread)


def _planes(image: Image.Image) -> UInt8[ndarray, "c h w"]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _bytes(image: Image.Image, kind: str, **options: int) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


_quiet_lock = threading.Lock()
_quiet_users: list[warnings.catch_warnings] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Ignores Pillow's warnings in the block. Threads share it, as the filters of `warnings` belong to the process.

    Whoever reads images in background threads holds it meanwhile, so that no thread changes these filters.
    """
    with _quiet_lock:
        _quiet_users.append(warnings.catch_warnings())
        if len(_quiet_users) == 1:
            _quiet_users[0].__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _quiet_lock:
            if len(_quiet_users) == 1:
                _quiet_users[0].__exit__(None, None, None)
            _quiet_users.pop()
