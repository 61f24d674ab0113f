"""Bilinear crops of an image's cells, one pixel at a time."""

import math


def sample(plane, y, x):
    """The value at (y, x) in pixels, whose centres are at .5, of a plane given as rows."""
    y, x = y - 0.5, x - 0.5
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if weight > 1e-9:
                total += weight * plane[row][column]
    return total


def piece(plane, grid, cell, across, down, share, size):
    """The crop of one cell, size (height, width) in pixels."""
    height, width = len(plane) / grid, len(plane[0]) / grid
    top = (cell // grid) * height + down * height * (1 - share)
    left = (cell % grid) * width + across * width * (1 - share)
    steps = height * share / size[0], width * share / size[1]
    return [
        [sample(plane, top + (i + 0.5) * steps[0], left + (j + 0.5) * steps[1]) for j in range(size[1])]
        for i in range(size[0])
    ]
