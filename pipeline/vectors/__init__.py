"""What vectors tell of each other: distances, nearest neighbours, k-means, on a CPU or a GPU; no labels."""
