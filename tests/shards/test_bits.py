"""Values of more than 8 bits, and floats: by which range they are scaled."""

import struct
import zlib

import numpy as np
import pytest

from pipeline.shards.decode import BadImage, decode, normalise, probe
from tests.shards.samples import data


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_sixteen_bits_are_scaled_not_clipped(kind, dtype):
    values = np.array([[0, 128, 129, 256, 257], [32896, 65279, 65406, 65407, 65535]], dtype)
    expected = np.rint(values / 257)
    assert np.array_equal(decode(data(values, kind), 1)[0], expected)
    assert probe(data(values, kind), whole=False).grey


def sixteen_bits(values, kind):
    """A file of 16 bits a value: Pillow writes grey ones, of the others those that it reads are put together here."""
    if values.ndim == 2:
        return data(values, kind)
    height, width, channels = values.shape
    if kind == "TIFF":
        pixels = values.astype("<u2").tobytes()
        depth = 8 + 2 + 12 * 7 + 4
        tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, depth), (262, 3, 1, 2),
                (273, 4, 1, depth + 2 * channels), (277, 3, 1, channels), (279, 4, 1, len(pixels))]  # fmt: skip
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        bits = struct.pack(f"<{channels}H", *[16] * channels)
        return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bits + pixels
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(("kind", "shape"), [("PNG", ()), ("TIFF", ()), ("PNG", (3,)), ("PNG", (4,)), ("TIFF", (3,))])
def test_values_of_fewer_bits_than_the_file_has_are_scaled_by_their_own_range(kind, shape, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7, *shape)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    if shape == (4,):
        values[..., 3] = 65535  # opaque
    raw = sixteen_bits(values, kind)
    expected = np.rint(values * (255 / (2**bits - 1)))
    planes = expected[..., :3].transpose(2, 0, 1) if shape else expected[None]
    assert np.abs(decode(raw, 3 if shape else 1).astype(int) - planes).max() <= 1
    kept, ending, _ = normalise(raw, 3 if shape else 1, 100)
    assert (ending, np.array_equal(decode(kept, 3 if shape else 1), decode(raw, 3 if shape else 1))) == ("png", True)


def test_a_format_that_says_how_many_bits_it_has_is_believed():
    raw = b"P5 3 1 4095\n" + np.array([0, 256, 512], ">u2").tobytes()
    assert decode(raw, 1).ravel().tolist() == [0, 16, 32]


def test_floats_run_to_one_or_to_255():
    unit = np.array([[0, 0.5, 1]], np.float32)
    assert decode(data(unit, "TIFF"), 1).ravel().tolist() == [0, 128, 255]
    assert decode(data(unit * 200, "TIFF"), 1).ravel().tolist() == [0, 100, 200]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 300]], np.float32), "its floats run from 0 to 300, expected 0 to 1 or 0 to 255"),
        (np.array([[np.nan, 1]], np.float32), "its floats run from nan to nan, expected 0 to 1 or 0 to 255"),
        (np.array([[-1, 70000]], np.int32), "its integers run from -1 to 70000, expected 0 to 65535"),
    ],
)
def test_values_without_a_known_range_are_refused(values, reason):
    with pytest.raises(BadImage) as error:
        decode(data(values, "TIFF"), 1)
    assert str(error.value) == reason
