"""Pillow and torchvision from a file's bytes to tiles, as the model cards' load_image does it: the peer of
`bench_preprocess --image FILE`.

    python preprocess.py FILE [--max-tiles N] [--threads N] [--seconds S]
    python preprocess.py FILE --draw        # writes a soft picture of 4000 x 3000 with some noise there first

Prints a line of JSON a step, as bench_preprocess --json does: `decode` alone, and `file_values`, all of it.
"""

import argparse
import io
import json
import statistics
import time
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms

TILE_PX = 448
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def draw(path: Path) -> None:
    """4000 x 3000 pixels; about 3.7 MB."""
    rng = np.random.Generator(np.random.PCG64(1))
    few = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    soft = np.asarray(few.resize((4000, 3000), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, "JPEG", quality=90)


def grid_of(width: int, height: int, max_tiles: int) -> tuple[int, int]:
    """The grid whose shape is nearest to the picture's; of two that are as near, the later one where the picture has
    more than half of its pixels."""
    grids = [(i, j) for i in range(1, max_tiles + 1) for j in range(1, max_tiles + 1) if i * j <= max_tiles]
    best, nearest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - columns / rows)
        larger = distance == nearest and width * height > 0.5 * TILE_PX**2 * columns * rows
        if distance < nearest or larger:
            best, nearest = (columns, rows), distance
    return best


def values_of(image: Image.Image, max_tiles: int) -> torch.Tensor:
    columns, rows = grid_of(*image.size, max_tiles)
    whole = image.resize((columns * TILE_PX, rows * TILE_PX))
    corners = [(column * TILE_PX, row * TILE_PX) for row in range(rows) for column in range(columns)]
    tiles = [whole.crop((x, y, x + TILE_PX, y + TILE_PX)) for x, y in corners]
    if len(tiles) > 1:
        tiles.append(image.resize((TILE_PX, TILE_PX)))
    size = (TILE_PX, TILE_PX)
    steps = transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),  # already that large
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return torch.stack([steps(tile) for tile in tiles]).to(torch.bfloat16)


def measure(body, seconds: float) -> list[float]:
    body()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        body()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--max-tiles", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    if arguments.draw:
        draw(arguments.file)
    torch.set_num_threads(arguments.threads)
    data = arguments.file.read_bytes()

    def decode() -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("RGB")

    steps = {"decode": decode, "file_values": lambda: values_of(decode(), arguments.max_tiles)}
    versions = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, PyTorch {torch.__version__}"
    for name, body in steps.items():
        ms = measure(body, arguments.seconds)
        entry = {"name": f"preprocess_{name}_{arguments.threads}", "median": round(statistics.median(ms), 3)}
        print(json.dumps(entry | {"min": round(min(ms), 3), "unit": "ms", "peer": versions}), flush=True)


if __name__ == "__main__":
    main()
