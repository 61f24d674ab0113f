"""From a source of images to shards, an index and, apart from both, the answers."""
