"""The kinds of images that are read, and those that a person may take for such."""

import re

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
OTHER_KINDS = {  # by their first bytes: kinds that people take for images that any program reads
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(hei|hev|mif|msf)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "SVG": rb"\s*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "PDF": rb"%PDF-",
    "a camera's raw file": rb"FUJIFILM|.{4}ftypcrx",
}


def why_unread(data: bytes) -> str:
    """The reason why a file of no known kind is left out, with its kind and what to do, if that is known."""
    kind = next((kind for kind, start in OTHER_KINDS.items() if re.match(start, data, re.DOTALL)), "")
    return f"the file is no image of a kind that is read ({', '.join(FORMATS)})" + (
        f": {kind}, convert it" if kind else ""
    )
