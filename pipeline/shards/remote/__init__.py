"""Shards behind URLs: fetched whole into a bounded cache. Nothing else knows URLs."""
