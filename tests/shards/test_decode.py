import threading
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.shards.decode import BadImage, Facts, decode, fit_within, normalise, probe
from pipeline.shards.kinds import FORMATS, why_unread
from tests.shards.samples import GREY, RGB, RNG, SMOOTH, data, palette, with_alpha


def luma(rgb):
    return np.rint(rgb.astype(float) @ [0.299, 0.587, 0.114])


def test_grey_and_rgb_become_one_another():
    assert np.array_equal(decode(data(GREY), 1)[0], GREY)
    assert np.array_equal(decode(data(GREY), 3), np.stack([GREY] * 3))
    assert np.array_equal(decode(data(RGB), 3), RGB.transpose(2, 0, 1))
    assert np.abs(decode(data(RGB), 1)[0] - luma(RGB)).max() <= 1


def test_bit_maps_are_black_and_white_and_palettes_are_looked_up():
    bits = GREY > 127
    assert np.array_equal(decode(data(Image.fromarray(bits)), 1)[0], bits * 255)
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    assert np.array_equal(decode(data(palette(3, *table.ravel())), 3), table[GREY % 3].transpose(2, 0, 1))


def test_cmyk_is_converted():
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[..., 1] = 255  # all magenta
    magenta = decode(data(Image.fromarray(ink, "CMYK"), "TIFF"), 3)
    assert magenta[:, 0, 0].tolist() == [255, 0, 255]
    assert probe(data(Image.fromarray(ink, "CMYK"), "JPEG"), whole=True) == Facts(False, (4, 4))


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_alpha_lies_over_white(alpha):
    seen = decode(data(with_alpha(alpha)), 3).transpose(1, 2, 0).astype(float)
    assert np.abs(seen - (RGB * (alpha / 255) + 255 * (1 - alpha / 255))).max() <= 1


def test_transparency_of_grey_and_of_palettes_lies_over_white():
    clear = Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)]), "LA")
    assert (decode(data(clear), 1) == 255).all()
    image = data(palette(2, 0, 0, 0, 9, 9, 9), transparency=bytes([0, 255]))
    assert np.array_equal(decode(image, 1)[0], np.where(GREY % 2, 9, 255))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 77])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(SMOOTH)
    plain = data(image, kind)
    turned = data(image, kind, exif=exif)
    upright = Image.open(BytesIO(plain)).convert("L")
    upright.info.clear()
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright))
    assert np.array_equal(decode(turned, 1)[0], expected)
    assert probe(turned, whole=False).size == expected.shape
    kept, extension, _ = normalise(turned, 1, 100)
    close = np.abs(decode(kept, 1)[0].astype(int) - expected)
    assert close.shape == expected.shape
    assert close.max() <= (3 if extension == "jpg" else 0)
    assert not Image.open(BytesIO(kept)).getexif() or orientation in (1, 77)


def test_size_is_covered_and_the_rest_cut_off():
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255  # the middle square
    assert (decode(data(wide), 1, (20, 20)) == 255).all()
    assert (decode(data(wide.T.copy()), 1, (20, 20)) == 255).all()
    assert decode(data(wide), 3, (7, 5)).shape == (3, 7, 5)
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    assert np.ptp(decode(data(board.astype(np.uint8)), 1, (8, 8))) <= 2  # antialiased: all grey


def test_a_large_jpeg_looks_the_same_decoded_small():
    big = Image.fromarray(SMOOTH).resize((800, 480), Image.Resampling.BICUBIC)
    small = decode(data(big, "JPEG", quality=95), 1, (24, 40))[0]
    assert np.abs(small.astype(int) - SMOOTH).max() <= 8


@pytest.mark.parametrize(
    ("image", "kind", "channels", "extension"),
    [(GREY, "PNG", 1, "png"), (RGB, "PNG", 3, "png"), (SMOOTH, "JPEG", 1, "jpg"), (RGB, "WEBP", 3, "webp")],
)
def test_a_sound_image_is_kept_byte_for_byte(image, kind, channels, extension):
    raw = data(image, kind)
    assert normalise(raw, channels, max(image.shape)) == (raw, extension, image.shape[:2])


@pytest.mark.parametrize(
    ("raw", "channels", "extension"),
    [
        (data(RGB, "BMP"), 3, "png"),
        (data(RGB), 1, "png"),
        (data(GREY), 3, "png"),
        (data(with_alpha(90)), 3, "png"),
        (data(with_alpha(90), "WEBP", lossless=True), 3, "png"),
        (data(GREY.astype(np.uint16) * 257), 1, "png"),
        (data(Image.fromarray(np.dstack([RGB, GREY]), "CMYK"), "JPEG"), 3, "jpg"),
        (data(RGB, "GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1])]), 3, "png"),
    ],
)
def test_any_other_image_is_written_anew(raw, channels, extension):
    new, got, size = normalise(raw, channels, 100)
    assert got == extension
    assert new != raw
    assert np.abs(decode(new, channels).astype(int) - decode(raw, channels)).max() <= (16 if got == "jpg" else 0)
    assert normalise(raw, channels, 100) == (new, got, size)
    assert normalise(new, channels, 100) == (new, got, probe(new, whole=False).size)


def test_the_first_frame_of_a_moving_image_is_kept():
    raw = data(GREY, save_all=True, append_images=[Image.fromarray(GREY[::-1].copy())])
    new, _, _ = normalise(raw, 1, 100)
    assert new != raw
    assert np.array_equal(decode(new, 1)[0], GREY)


def test_max_side_bounds_the_longer_side():
    new, extension, _ = normalise(data(np.repeat(SMOOTH, 10, 1), "JPEG"), 1, 50)
    assert (extension, probe(new, whole=True)) == ("jpg", Facts(True, (3, 50)))
    jpeg = Image.open(BytesIO(new))
    assert jpeg.quantization == Image.open(BytesIO(data(GREY, "JPEG", quality=95))).quantization
    assert fit_within((24, 40), 20) == (12, 20)
    assert fit_within((24, 40), 40) == (24, 40)
    assert fit_within((1, 4000), 20) == (1, 20)


def test_colour_jpegs_are_not_subsampled():
    new, _, _ = normalise(data(np.repeat(RGB, 20, 1), "JPEG", subsampling=2), 3, 50)
    assert [part[1:3] for part in Image.open(BytesIO(new)).layer] == [(1, 1)] * 3


def test_probe_tells_grey_from_colour_by_the_mode():
    kinds = [GREY, palette(2, 0, 0, 0, 9, 9, 9), RGB, palette(2, 0, 0, 0, 9, 9, 8), with_alpha(1)]
    assert [probe(data(kind), whole=False).grey for kind in kinds] == [True, True, False, False, False]


BOMB = "the image has more than 89478485 pixels: a decompression bomb?"
NO_IMAGE = "the file is no image of a kind that is read (JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000, AVIF, HEIF)"


def test_a_jpeg_may_be_as_large_as_those_of_a_phone():
    assert probe(data(Image.new("L", (12000, 9000)), "JPEG"), whole=False) == Facts(True, (9000, 12000))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b'<?xml version="1.0"?>\n<svg ', "SVG"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_kind_that_is_not_read_is_named(start, kind):
    with pytest.raises(BadImage, match=f"{kind}, convert it$"):
        probe(start + bytes(40), whole=False)


def test_what_an_extra_would_read_is_said(monkeypatch):
    heic, avif = b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypavif"
    for start, kind in ((heic, "HEIC"), (avif, "AVIF")):
        with pytest.raises(BadImage, match=f"the image is truncated or spoilt: {kind}$"):
            probe(start, whole=False)
    monkeypatch.delitem(FORMATS, "HEIF")
    monkeypatch.delitem(FORMATS, "AVIF")
    assert why_unread(heic).endswith("install the extra heic (pip install pillow-heif) or convert it")
    assert why_unread(avif).endswith(": AVIF, convert it")


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_photographs_of_phones_become_upright_jpegs(kind):
    colours = np.zeros((40, 60, 3), np.uint8)
    colours[:20, :30] = 200, 40, 30
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise: the coloured corner goes to the upper right
    raw = data(colours, kind, quality=95, exif=turned.tobytes())
    assert probe(raw, whole=True) == Facts(False, (60, 40))
    kept, end, _ = normalise(raw, 3, 512)
    assert end == "jpg"
    assert len(kept) < colours.nbytes / 2
    for pixels in (decode(raw, 3), decode(kept, 3)):
        assert pixels.shape == (3, 60, 40)
        assert np.abs(pixels[:, 10, 30] - np.array([200, 40, 30.0])).max() < 12
        assert pixels[:, 10, 8].max() < 12
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(BadImage, match="the image is truncated or spoilt"):
            probe(raw[: int(len(raw) * share)], whole=True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the file has zero bytes"),
        (b"label,path\n", NO_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
        (data(Image.new("1", (9500, 9500))), BOMB),
        (data(Image.new("1", (13500, 13500))), BOMB),
        (data(SMOOTH, "JPEG")[:-30], "the image is truncated or spoilt: image file is truncated"),
    ],
    ids=["empty", "text", "eps", "bomb", "big bomb", "truncated"],
)
def test_bad_bytes_have_a_reason(raw, reason):
    for read in (lambda: decode(raw, 1), lambda: normalise(raw, 1, 512), lambda: probe(raw, whole=True)):
        with pytest.raises(BadImage) as error:
            read()
        assert str(error.value).partition(" (5 ")[0] == reason  # what follows is Pillow's own count


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("progressive", [False, True])
def test_an_image_cut_anywhere_is_bad(kind, progressive):
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    raw = data(noise, kind, **({"progressive": progressive} if kind == "JPEG" else {}))
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        with pytest.raises(BadImage, match="the image is truncated or spoilt"):
            probe(raw[: int(len(raw) * share)], whole=True)
        with pytest.raises(BadImage):
            normalise(raw[: int(len(raw) * share)], 3, 512)


def test_spoilt_metadata_neither_warns_nor_spoils_the_image():
    raw = data(SMOOTH, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert decode(raw, 1).shape == (1, 24, 40)
    assert seen == []


def test_the_filters_of_warnings_are_as_before_after_threads():
    before = list(warnings.filters)
    raw = data(SMOOTH)
    threads = [threading.Thread(target=lambda: [decode(raw, 1) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
