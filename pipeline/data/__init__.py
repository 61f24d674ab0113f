"""From shards of image bytes to tensors of pixels and batches of views; no label is within reach of anything here."""
