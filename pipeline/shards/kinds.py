"""The kinds of images that are read, and those that a person may take for such."""

import re
from contextlib import suppress

from PIL import features

FORMATS = {  # each with the extensions that name it, where there is nothing but a name to go by
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "JPEG2000": ("jp2", "j2k", "jpx"),
}
if features.check("avif"):  # as in the wheels of Pillow from 11.3 on
    FORMATS["AVIF"] = ("avif",)
with suppress(ImportError):  # the extra heic: photos of an iPhone
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    FORMATS["HEIF"] = ("heic", "heif", "hif")
OTHER_KINDS = {  # by their first bytes: kinds that people take for images that any program reads
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(hei|hev|mif|msf)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "SVG": rb"\s*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "PDF": rb"%PDF-",
    "a camera's raw file": rb"FUJIFILM|.{4}ftypcrx",
}
DECODED_AS = {"AVIF": "AVIF", "HEIC": "HEIF"}  # those that are read where a decoder is installed


def why_unread(data: bytes) -> str:
    """The reason why a file that no decoder takes is left out, with its kind and what to do, if that is known."""
    kind = next((kind for kind, start in OTHER_KINDS.items() if re.match(start, data, re.DOTALL)), "")
    if DECODED_AS.get(kind) in FORMATS:
        return f"the image is truncated or spoilt: {kind}"
    what = ": HEIC, install the extra heic (pip install pillow-heif) or convert it" if kind == "HEIC" else ""
    what = what or (f": {kind}, convert it" if kind else "")
    return f"the file is no image of a kind that is read ({', '.join(FORMATS)}){what}"
