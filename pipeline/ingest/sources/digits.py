"""scikit-learn's digits: 1,797 real scans of 8 x 8 grey pixels, inside its wheel (Alpaydin and Kaynak, UCI 1998)."""

import numpy as np

from pipeline.ingest.source import Item, Listing, Source


class Digits(Source):
    """The digits, ten classes, and coarser even and odd; no test split of their own."""

    def listing(self) -> Listing:
        """Grey values 0..16 are scaled to 0..255."""
        from sklearn.datasets import load_digits  # takes a second, which no other source need wait

        images, digits = load_digits(return_X_y=True)
        pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        parity = ("even", "odd")
        items = [
            Item(f"{row:04d}", None, (str(digit), parity[digit % 2]), image)
            for row, (image, digit) in enumerate(zip(pixels, digits, strict=True))
        ]
        return Listing(("label", "coarse"), items, {"label": [str(digit) for digit in range(10)], "coarse": parity})
