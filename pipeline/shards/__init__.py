"""Reading images from shards: decoding, order, random access. No label is within reach of anything here."""
