"""Which images an audit is of: they measure the result, are never picked and never trained on."""

import hashlib
from collections.abc import Collection, Iterable


def audit_keys(keys: Iterable[str], taken: Collection[str], count: int) -> list[str]:
    """`count` of the images that are not `taken`, those with a label: the first in an order as good as random.

    The order depends on each key alone, so what is picked changes nothing, and of the images that come later only their
    share.
    """
    if not count:
        return []
    return sorted({*keys} - {*taken}, key=lambda key: hashlib.blake2b(f"audit {key}".encode()).digest())[:count]
