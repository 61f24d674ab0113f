"""HOG in loops, of one image: pooled grey, central differences, two nearest orientations, cells, blocks of 2 x 2."""

import math


def pooled(plane, rows, columns):
    """Means of the areas that the plane is cut into; where they do not divide it, an area takes what it touches."""
    out = []
    for i in range(rows):
        top, bottom = i * len(plane) // rows, -(-(i + 1) * len(plane) // rows)
        line = []
        for j in range(columns):
            left, right = j * len(plane[0]) // columns, -(-(j + 1) * len(plane[0]) // columns)
            values = [plane[y][x] for y in range(top, bottom) for x in range(left, right)]
            line.append(sum(values) / len(values))
        out.append(line)
    return out


def hog(image):
    """`image[channel][y][x]` in [0, 1] to the list of its numbers: cell by cell of a block, block by block within."""
    height, width = len(image[0]), len(image[0][0])
    grey = [[sum(plane[y][x] for plane in image) / len(image) for x in range(width)] for y in range(height)]
    height, width = min(32, height), min(32, width)
    grey = pooled(grey, height, width)
    votes = [[[0.0] * width for _ in range(height)] for _ in range(9)]
    for y in range(height):
        for x in range(width):
            down = grey[y + 1][x] - grey[y - 1][x] if 0 < y < height - 1 else 0.0
            right = grey[y][x + 1] - grey[y][x - 1] if 0 < x < width - 1 else 0.0
            turn = math.degrees(math.atan2(down, right)) % 180 / 20
            low = math.floor(turn)
            votes[low % 9][y][x] += math.hypot(down, right) * (1 - (turn - low))
            votes[(low + 1) % 9][y][x] += math.hypot(down, right) * (turn - low)
    rows, columns = min(4, height), min(4, width)
    cells = [pooled(plane, rows, columns) for plane in votes]
    blocks = []
    for y in range(max(1, rows - 1)):
        for x in range(max(1, columns - 1)):
            inside = [(i, j) for i in range(y, min(y + 2, rows)) for j in range(x, min(x + 2, columns))]
            block = [cells[o][i][j] for o in range(9) for i, j in inside]
            length = math.sqrt(sum(value * value for value in block)) + 1e-4
            blocks.append([value / length for value in block])
    return [block[place] for place in range(len(blocks[0])) for block in blocks]
