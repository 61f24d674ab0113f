"""Networks and what moves their weights; no method, no data."""
