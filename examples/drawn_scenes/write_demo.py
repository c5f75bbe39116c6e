"""Draws the demonstration pictures: composed by hand, drawn by the code that draws the scenes.

python write_demo.py --folder demo
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw

from scenes import Thing, draw_sign, draw_thing
from write_scenes import save_png

SKY, GRASS, WALL, SAND, PAPER = (
    (222, 236, 250),
    (222, 244, 220),
    (248, 238, 224),
    (250, 242, 218),
    (250, 250, 246),
)

# name: size, colour above and below the horizon, where the horizon is, sign and its region,
# objects as (shape, colour, middle x, middle y, extent); positions are fractions of the picture
PICTURES = {
    "cafe": (
        (448, 448),
        WALL,
        SAND,
        0.8,
        ("CAFE", (0.14, 0.02, 0.9, 0.46)),
        [("heart", "red", 0.3, 0.7, 0.26), ("heart", "red", 0.68, 0.72, 0.28)],
    ),
    "balloons": (
        (672, 336),
        SKY,
        GRASS,
        0.82,
        None,
        [
            ("circle", "red", 0.12, 0.3, 0.36),
            ("circle", "red", 0.38, 0.58, 0.34),
            ("circle", "red", 0.62, 0.24, 0.36),
            ("star", "yellow", 0.86, 0.3, 0.3),
            ("star", "yellow", 0.84, 0.74, 0.34),
        ],
    ),
    "hill": (
        (448, 448),
        SKY,
        GRASS,
        0.6,
        None,
        [("triangle", "green", 0.26, 0.74, 0.32), ("circle", "orange", 0.75, 0.24, 0.3)],
    ),
    "house_number": ((448, 448), WALL, WALL, 1.0, ("2741", (0.1, 0.1, 0.9, 0.8)), []),
    "shelf_one": (
        (448, 448),
        PAPER,
        SAND,
        0.7,
        None,
        [
            ("square", "blue", 0.26, 0.3, 0.3),
            ("square", "blue", 0.74, 0.28, 0.28),
            ("diamond", "purple", 0.5, 0.76, 0.3),
        ],
    ),
    "shelf_two": ((448, 448), PAPER, SAND, 0.7, None, [("square", "green", 0.52, 0.5, 0.36)]),
}


def draw_demo(name):
    size, above, below, horizon, sign, things = PICTURES[name]
    rng, (width, height) = random.Random(name), size
    image = Image.new("RGB", size, above)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, int(horizon * height), width, height), fill=below)
    for shape, colour, x, y, extent in things:
        half = extent * min(size) / 2
        box = (x * width - half, y * height - half, x * width + half, y * height + half)
        draw_thing(rng, draw, size, Thing(shape, colour), box)
    if sign:
        text, (x0, y0, x1, y1) = sign
        draw_sign(rng, draw, size, text, (x0 * width, y0 * height, x1 * width, y1 * height))
    return image


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        save_png(draw_demo(name), args.folder / f"{name}.png")


if __name__ == "__main__":
    main()
