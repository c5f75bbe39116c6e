"""Pixels as the reference sees them: awkward pictures, their decoded bytes, tile grids, tiles, and the resampler's rows.

    python make_pixels.py

Writes pixels/*.png, *.jpg, pixels/pixels.json, pixels/pixels.safetensors. Pillow must be 11.3.0: newer ones order the
two passes of a resize differently. Pictures are decoded, cut and resized by the calls of the published demo code.
"""

import io
import json
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import PIL
import safetensors.torch
import torch
from make_png import write_png
from PIL import Image

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pixels"
LARGEST_FILE = 30_000
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MAX_TILES = (1, 6, 12, 24, 40)


# --- the published pipeline -------------------------------------------------------------------------------------------


def tile_grid(width: int, height: int, max_tiles: int, tile_px: int) -> tuple[int, int]:
    """(columns, rows), as find_closest_aspect_ratio in the published demo code chooses them."""
    ratios = {
        (i, j)
        for n in range(1, max_tiles + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if 1 <= i * j <= max_tiles
    }
    best, smallest = (1, 1), float("inf")
    for ratio in sorted(ratios, key=lambda ratio: ratio[0] * ratio[1]):
        difference = abs(width / height - ratio[0] / ratio[1])
        if difference < smallest:
            best, smallest = ratio, difference
        elif difference == smallest and width * height > 0.5 * tile_px * tile_px * ratio[0] * ratio[1]:
            best = ratio
    return best


def cut_tiles(image: Image.Image, max_tiles: int, tile_px: int) -> tuple[tuple[int, int], list[Image.Image]]:
    columns, rows = tile_grid(image.width, image.height, max_tiles, tile_px)
    resized = image.resize((tile_px * columns, tile_px * rows))
    tiles = []
    for n in range(columns * rows):
        x, y = n % columns * tile_px, n // columns * tile_px
        tiles.append(resized.crop((x, y, x + tile_px, y + tile_px)))
    if len(tiles) > 1:
        tiles.append(image.resize((tile_px, tile_px)))
    return (columns, rows), tiles


def normalise(level: torch.Tensor) -> torch.Tensor:
    """float32 [3, levels], by torchvision's ToTensor and Normalize."""
    mean, std = (torch.tensor(values, dtype=torch.float32).view(3, 1) for values in (MEAN, STD))
    return level.to(torch.float32).div(255).expand(3, -1).sub(mean).div(std)


# --- hashes and sources ------------------------------------------------------------------------------------------------


def fnv1a64(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def formula_image(width: int, height: int) -> Image.Image:
    """Byte i of the RGB data is bits 24..31 of (i + 1) * 2654435761 mod 2^32: nothing to store, edges everywhere."""
    i = np.arange(1, width * height * 3 + 1, dtype=np.uint64)
    data = ((i * np.uint64(2654435761)) >> np.uint64(24)).astype(np.uint8)
    return Image.fromarray(data.reshape(height, width, 3))


def picture(rng: np.random.Generator, width: int, height: int, channels: int) -> np.ndarray:
    """uint8 [height, width, channels]: noise where small, else waves, hard edges and patches of noise that compress."""
    if width * height * channels <= 12_000:
        return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    out = np.empty((height, width, channels), np.uint8)
    for channel in range(channels):
        ramp = x * int(rng.integers(1, 4)) // 4 + y * int(rng.integers(1, 4)) // 4
        out[:, :, channel] = ramp.astype(np.uint8)
    for _ in range(12):
        x0, y0 = int(rng.integers(0, width)), int(rng.integers(0, height))
        x1, y1 = x0 + int(rng.integers(1, width // 2 + 2)), y0 + int(rng.integers(1, height // 2 + 2))
        out[y0:y1, x0:x1] = rng.choice([0, 255, int(rng.integers(0, 256))], channels)
    for _ in range(3):
        side_x, side_y = min(width, 24), min(height, 24)
        x0, y0 = int(rng.integers(0, width - side_x + 1)), int(rng.integers(0, height - side_y + 1))
        out[y0 : y0 + side_y, x0 : x0 + side_x] = rng.integers(0, 256, (side_y, side_x, channels), dtype=np.uint8)
    return out


# --- encoders -----------------------------------------------------------------------------------------------------------

def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB_SIZES = [
    (1, 1), (1, 2), (2, 1), (3, 1), (1, 7), (1, 100), (100, 1), (1, 448), (449, 1), (1, 2000), (2000, 1), (2, 900),
    (3, 5), (7, 11), (13, 13), (31, 17), (55, 57), (56, 56), (57, 55), (99, 101), (10, 1000), (1000, 10), (1500, 15),
    (15, 1501), (350, 100), (100, 350), (100, 3000), (3000, 100), (223, 225), (447, 449), (448, 448), (449, 447),
    (448, 896), (896, 448), (400, 600), (600, 400), (640, 480), (480, 640), (633, 633), (634, 634), (511, 1023),
    (1568, 448), (800, 799), (1280, 720), (337, 1111),
]  # fmt: skip


def make_files(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for width, height in RGB_SIZES:
        image = Image.fromarray(picture(rng, width, height, 3))
        files[f"rgb_{width}x{height}.png"] = encode(image, "PNG", optimize=True)

    def samples(width: int, height: int, channels: int, depth: int) -> np.ndarray:
        if depth == 16:
            return rng.integers(0, 65536, (height, width, channels))
        return picture(rng, width, height, channels) >> max(0, 8 - depth)

    files["grey_61x47.png"] = write_png(samples(61, 47, 1, 8), 0, 8)
    files["grey_1x300.png"] = write_png(samples(1, 300, 1, 8), 0, 8)
    files["grey_1bit_37x29.png"] = write_png(samples(37, 29, 1, 1), 0, 1)
    files["grey_2bit_37x29.png"] = write_png(samples(37, 29, 1, 2), 0, 2)
    files["grey_4bit_75x29.png"] = write_png(samples(75, 29, 1, 4), 0, 4)
    files["grey_16bit_53x41.png"] = write_png(samples(53, 41, 1, 16), 0, 16)
    files["grey_16bit_dark_53x41.png"] = write_png(samples(53, 41, 1, 16) % 512, 0, 16)
    files["grey_transparent_level_40x40.png"] = write_png(
        samples(40, 40, 1, 8), 0, 8, transparency=struct.pack(">H", 7)
    )
    files["grey_alpha_64x33.png"] = write_png(samples(64, 33, 2, 8), 4, 8)
    files["grey_alpha_16bit_31x33.png"] = write_png(samples(31, 33, 2, 16), 4, 16)
    files["rgb_16bit_45x31.png"] = write_png(samples(45, 31, 3, 16), 2, 16)
    files["rgb_transparent_colour_50x30.png"] = write_png(
        samples(50, 30, 3, 8) // 128, 2, 8, transparency=struct.pack(">HHH", 0, 1, 0)
    )
    files["rgba_77x53.png"] = write_png(samples(77, 53, 4, 8), 6, 8)
    files["rgba_16bit_29x43.png"] = write_png(samples(29, 43, 4, 16), 6, 16)
    files["rgba_interlaced_65x39.png"] = write_png(samples(65, 39, 4, 8), 6, 8, interlaced=True)
    files["rgb_interlaced_3x2.png"] = write_png(samples(3, 2, 3, 8), 2, 8, interlaced=True)
    files["rgb_16bit_interlaced_33x35.png"] = write_png(samples(33, 35, 3, 16), 2, 16, interlaced=True)
    for depth, width in ((1, 43), (2, 43), (4, 43), (8, 90)):
        colours = 1 << depth
        indices = rng.integers(0, colours, (31, width, 1))
        palette = rng.integers(0, 256, 3 * colours, dtype=np.uint8).tobytes()
        files[f"palette_{depth}bit_{width}x31.png"] = write_png(indices, 3, depth, palette=palette)
    indices = rng.integers(0, 50, (44, 66, 1))
    palette = rng.integers(0, 256, 3 * 50, dtype=np.uint8).tobytes()
    alphas = rng.integers(0, 256, 20, dtype=np.uint8).tobytes()
    files["palette_transparent_interlaced_66x44.png"] = write_png(
        indices, 3, 8, interlaced=True, palette=palette, transparency=alphas
    )

    def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
        channels = len(Image.new(mode, (1, 1)).getbands())
        small = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
        bands = [
            Image.fromarray(small[:, :, n]).resize((width, height), Image.Resampling.BICUBIC) for n in range(channels)
        ]
        return bands[0] if channels == 1 else Image.merge(mode, bands)

    files["jpeg_baseline_444_97x61.jpg"] = encode(photo(97, 61), "JPEG", quality=90, subsampling=0)
    files["jpeg_baseline_422_97x61.jpg"] = encode(photo(97, 61), "JPEG", quality=90, subsampling=1)
    files["jpeg_baseline_420_133x75.jpg"] = encode(photo(133, 75), "JPEG", quality=85, subsampling=2)
    files["jpeg_progressive_420_133x75.jpg"] = encode(photo(133, 75), "JPEG", quality=85, progressive=True)
    files["jpeg_progressive_444_41x210.jpg"] = encode(
        photo(41, 210), "JPEG", quality=75, progressive=True, subsampling=0
    )
    files["jpeg_grey_88x57.jpg"] = encode(photo(88, 57, "L"), "JPEG", quality=80)
    files["jpeg_grey_progressive_57x88.jpg"] = encode(photo(57, 88, "L"), "JPEG", quality=80, progressive=True)
    files["jpeg_1x1.jpg"] = encode(photo(1, 1), "JPEG")
    files["jpeg_restart_markers_160x100.jpg"] = encode(photo(160, 100), "JPEG", restart_marker_blocks=3)
    files["jpeg_161x96.jpg"] = encode(photo(161, 96), "JPEG", quality=60)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    files["jpeg_exif_rotated_120x80.jpg"] = encode(photo(120, 80), "JPEG", exif=orientation)
    return files


# --- golden values ------------------------------------------------------------------------------------------------------


def tilings_of(name: str, image: Image.Image, kinds: list[tuple[int, int, bool]], stored: dict) -> list[dict]:
    tilings = []
    for max_tiles, tile_px, stores_bytes in kinds:
        (columns, rows), tiles = cut_tiles(image, max_tiles, tile_px)
        tiling = {"max_tiles": max_tiles, "tile_px": tile_px, "grid": [columns, rows], "tiles": len(tiles)}
        if stores_bytes:
            tiling["tensor"] = f"tiles/{name}/{max_tiles}"
            stored[tiling["tensor"]] = torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles]))
        tiling["fnv1a64"] = [fnv1a64(tile.tobytes()) for tile in tiles]
        tilings.append(tiling)
    return tilings


STORED_AT_56 = {
    "rgb_1x7.png": 12, "rgb_3x5.png": 12, "rgb_31x17.png": 12, "rgb_99x101.png": 6, "grey_61x47.png": 6,
    "rgba_77x53.png": 6, "jpeg_baseline_420_133x75.jpg": 6, "palette_8bit_90x31.png": 12,
}  # fmt: skip
ALSO_MAX_TILES = {"rgb_640x480.png": (1, 6, 24), "rgb_100x3000.png": (1, 6), "rgb_400x600.png": (1, 6, 40)}


def write_small(name: str, data: bytes) -> None:
    if len(data) > LARGEST_FILE:
        raise SystemExit(f"{name} has {len(data)} bytes, more than {LARGEST_FILE}")
    (FOLDER / name).write_bytes(data)


def golden_file(name: str, data: bytes, stored: dict) -> dict:
    write_small(name, data)
    opened = Image.open(FOLDER / name)
    image = opened.convert("RGB")
    entry = {"file": name, "pillow_mode": opened.mode, "width": image.width, "height": image.height}
    if name.endswith(".jpg"):
        entry["decoded"] = name.removesuffix(".jpg") + ".decoded.png"
        write_small(entry["decoded"], encode(image, "PNG", optimize=True))
    entry["rgb_fnv1a64"] = fnv1a64(image.tobytes())
    kinds = [(max_tiles, 448, False) for max_tiles in (*ALSO_MAX_TILES.get(name, ()), 12)]
    kinds += [(12, 56, False)] if name not in STORED_AT_56 else [(STORED_AT_56[name], 56, True)]
    entry["tilings"] = tilings_of(name, image, kinds, stored)
    return entry


def golden_grids() -> list[dict]:
    draw = random.Random(7)
    sizes = [
        (448, 448), (633, 633), (634, 634), (800, 800), (1000, 1000), (640, 480), (1920, 1080), (1080, 1920), (896, 448),
        (1400, 700), (3000, 1000), (100, 3000), (350, 100), (1568, 448), (1, 1), (1, 60000), (60000, 1),
    ]  # fmt: skip
    while len(sizes) < 140:
        sizes.append((round(2 ** draw.uniform(0, 12.5)), round(2 ** draw.uniform(0, 12.5))))
    while len(sizes) < 320:  # exact ratios, where ties decide by area
        columns, rows, scale = draw.randint(1, 12), draw.randint(1, 12), draw.randint(1, 700)
        sizes.append((columns * scale, rows * scale))
    grids = []
    for width, height in sizes:
        by_limit = {str(limit): list(tile_grid(width, height, limit, 448)) for limit in MAX_TILES}
        grids.append({"width": width, "height": height, "grid": by_limit})
    return grids


def golden_rows() -> list[dict]:
    draw = random.Random(8)
    sources = [([0, 50, 100, 150, 200, 250, 255], m) for m in (3, 4, 7, 10)]
    sources.append(([0, 255, 0, 255, 255, 0, 0, 255, 128], 4))
    for _ in range(60):
        n, m = draw.choice([1, 2, 3, 5, 8, 13, 50, 99, 200]), draw.choice([1, 2, 3, 4, 7, 28, 56, 112])
        high_contrast = draw.random() < 0.5
        sources.append(([draw.choice([0, 255]) if high_contrast else draw.randrange(256) for _ in range(n)], m))
    rows = []
    for source, length in sources:
        row = Image.fromarray(np.array([source], np.uint8))
        rows.append({"source": source, "result": list(row.resize((length, 1)).tobytes())})
    return rows


def golden_resizes() -> list[dict]:
    draw = random.Random(9)
    sizes = [
        (400, 600, 448, 448), (600, 400, 448, 448), (3, 5000, 448, 448), (5000, 3, 448, 448), (448, 448, 448, 448),
        (448, 300, 448, 448), (300, 448, 448, 448), (1, 1, 448, 448), (2, 2, 3, 3), (1000, 1000, 1, 1), (64, 900, 56, 56),
        (700, 100, 448, 1344), (10, 2000, 448, 5376),
    ]  # fmt: skip
    while len(sizes) < 60:
        sizes.append(tuple(round(2 ** draw.uniform(0, limit)) for limit in (9, 9, 8, 8)))
    results = []
    for width, height, to_width, to_height in sizes:
        resized = formula_image(width, height).resize((to_width, to_height))
        results.append({"from": [width, height], "to": [to_width, to_height], "fnv1a64": fnv1a64(resized.tobytes())})
    return results


def main() -> None:
    if PIL.__version__ != "11.3.0":
        raise SystemExit(f"these golden files need pillow 11.3.0, not {PIL.__version__}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    tensors: dict[str, torch.Tensor] = {}
    files = make_files(np.random.Generator(np.random.PCG64(6)))
    images = [golden_file(name, data, tensors) for name, data in files.items()]
    formula = []
    for width, height in ((2400, 1800), (1700, 2200), (777, 331), (1, 5000), (91, 9000)):
        image = formula_image(width, height)
        tilings = tilings_of("", image, [(12, 448, False), (6, 56, False)], tensors)
        formula.append({"width": width, "height": height, "tilings": tilings})

    levels = normalise(torch.arange(256, dtype=torch.uint8))
    tensors |= {"normalised": levels, "normalised_bfloat16": levels.to(torch.bfloat16)}
    safetensors.torch.save_file(tensors, FOLDER / "pixels.safetensors")
    (FOLDER / "pixels.safetensors").chmod(0o644)
    golden = {
        "versions": {"pillow": PIL.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "images": images,
        "formula_images": formula,
        "grids": golden_grids(),
        "rows": golden_rows(),
        "resizes": golden_resizes(),
    }
    text = ",\n".join(
        f"{json.dumps(key)}:"
        + (
            "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in value) + "\n]"
            if isinstance(value, list)
            else json.dumps(value)
        )
        for key, value in golden.items()
    )
    (FOLDER / "pixels.json").write_text("{\n" + text + "\n}\n")
    tilings = [tiling for entry in images + formula for tiling in entry["tilings"]]
    print(f"{len(images)} pictures, {len(tilings)} tilings, {sum(t['tiles'] for t in tilings)} tiles")


if __name__ == "__main__":
    main()
