"""Pictures to tiles, as the family does it: dynamic grid, Pillow bicubic, thumbnail last."""

import numpy as np
from PIL import Image

TILE = 112
PATCH = 14
SIDE = TILE // PATCH
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def choose_grid(width, height, max_tiles):
    """Columns and rows of the grid whose aspect ratio is nearest; the larger one if there is room."""
    ratio, best, best_distance = width / height, (1, 1), float("inf")
    grids = [(i, j) for i in range(1, max_tiles + 1) for j in range(1, max_tiles + 1) if i * j <= max_tiles]
    for i, j in sorted(grids, key=lambda g: g[0] * g[1]):
        distance = abs(ratio - i / j)
        if distance < best_distance:
            best, best_distance = (i, j), distance
        elif distance == best_distance and width * height > 0.5 * TILE * TILE * i * j:
            best = (i, j)
    return best


def tile_boxes(columns, rows):
    """Where each tile lies in the picture, in fractions; the thumbnail last."""
    boxes = [
        (c / columns, r / rows, (c + 1) / columns, (r + 1) / rows)
        for r in range(rows)
        for c in range(columns)
    ]
    return boxes + [(0.0, 0.0, 1.0, 1.0)] if columns * rows > 1 else boxes


def cut(image, max_tiles):
    """uint8 tiles [T, 112, 112, 3] and their boxes."""
    columns, rows = choose_grid(*image.size, max_tiles)
    whole = np.asarray(image.resize((TILE * columns, TILE * rows), Image.BICUBIC))
    tiles = whole.reshape(rows, TILE, columns, TILE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, TILE, TILE, 3)
    if columns * rows > 1:
        tiles = np.concatenate([tiles, np.asarray(image.resize((TILE, TILE), Image.BICUBIC))[None]])
    return tiles, tile_boxes(columns, rows)


def patch_labels(marks, boxes):
    """For every patch: part (0 nothing, 1 inside, 2 the middle of something), shape, colour, character."""
    labels = np.zeros((len(boxes), SIDE, SIDE, 4), np.int64)
    centres = (np.arange(SIDE) + 0.5) / SIDE
    for tile, (tx0, ty0, tx1, ty1) in enumerate(boxes):
        xs, ys = tx0 + centres * (tx1 - tx0), ty0 + centres * (ty1 - ty0)
        for mark in marks:
            x0, y0, x1, y1 = mark.box
            shrink = 0.0 if mark.character else 0.1
            mx, my = shrink * (x1 - x0), shrink * (y1 - y0)
            row = np.nonzero((ys >= y0 + my) & (ys <= y1 - my))[0]
            column = np.nonzero((xs >= x0 + mx) & (xs <= x1 - mx))[0]
            value = (1, mark.shape, mark.colour, mark.character)
            if len(row) and len(column):
                labels[tile, row[0] : row[-1] + 1, column[0] : column[-1] + 1] = value
            cx = int(((x0 + x1) / 2 - tx0) / (tx1 - tx0) * SIDE // 1)
            cy = int(((y0 + y1) / 2 - ty0) / (ty1 - ty0) * SIDE // 1)
            if 0 <= cx < SIDE and 0 <= cy < SIDE:
                labels[tile, cy, cx] = (2, *value[1:])
    return labels.reshape(len(boxes), SIDE * SIDE, 4)
