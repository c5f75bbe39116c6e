"""The PNG, BMP, GIF and TIFF files whose pixels make_decoded.py asks Pillow for."""

import io
import struct
import zlib

import numpy as np
from make_bitmaps import DEFLATE, PACKBITS, gif_frame, packed_rows, write_bmp, write_gif, write_tiff
from make_png import PNG_CHANNELS, chunk, write_png
from PIL import Image

WIDTH, HEIGHT = 13, 11


def random_palette(rng: np.random.Generator, colours: int) -> np.ndarray:
    return rng.integers(0, 256, (colours, 3))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- PNG --------------------------------------------------------------------------------------------------------------


def every_png(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    names = {0: "l", 2: "rgb", 3: "p", 4: "la", 6: "rgba"}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour_type, channels in PNG_CHANNELS.items():
        for depth in depths[colour_type]:
            colours = random_palette(rng, 1 << depth).astype(np.uint8).tobytes() if colour_type == 3 else None
            for interlaced in (False, True):
                for width, height in ((WIDTH, HEIGHT), (2, 3)):
                    samples = rng.integers(0, 1 << depth, (height, width, channels))
                    name = f"every_{names[colour_type]}_{depth}bit_{width}x{height}{'_interlaced' * interlaced}.png"
                    files[name] = write_png(samples, colour_type, depth, interlaced=interlaced, palette=colours)
    low = rng.integers(0, 512, (HEIGHT, WIDTH, 1))  # around the level at which 16-bit grey is clipped
    files["l_16bit_low.png"] = write_png(low, 0, 16)
    plain = write_png(rng.integers(0, 256, (HEIGHT, WIDTH, 3)), 2, 8)

    def before_data(name: bytes, body: bytes) -> bytes:
        return plain[:33] + chunk(name, body) + plain[33:]

    for gamma in (45455, 100000, 220000):
        files[f"gamma_{gamma}.png"] = before_data(b"gAMA", struct.pack(">L", gamma))
    grey = write_png(rng.integers(0, 256, (HEIGHT, WIDTH, 1)), 0, 8)
    files["gamma_l.png"] = grey[:33] + chunk(b"gAMA", struct.pack(">L", 100000)) + grey[33:]
    files["srgb.png"] = before_data(b"sRGB", b"\1")
    files["profile_of_colours.png"] = before_data(b"iCCP", b"none\0\0" + zlib.compress(b"nothing"))
    files["background.png"] = before_data(b"bKGD", struct.pack(">HHH", 255, 0, 0))
    files["significant_bits.png"] = before_data(b"sBIT", b"\5\6\5")
    files["suggested_palette.png"] = before_data(b"PLTE", bytes(range(48)))
    grey = rng.integers(0, 4, (HEIGHT, WIDTH, 1))
    files["l_2bit_clear_interlaced.png"] = write_png(grey, 0, 2, interlaced=True, transparency=struct.pack(">H", 2))
    colours = random_palette(rng, 16).astype(np.uint8).tobytes()
    indices = rng.integers(0, 16, (HEIGHT, WIDTH, 1))
    files["p_4bit_clear_interlaced.png"] = write_png(
        indices, 3, 4, interlaced=True, palette=colours, transparency=bytes(range(0, 240, 20))
    )
    files["p_8bit_short.png"] = write_png(indices, 3, 8, palette=colours[:24])
    soft = np.clip(np.cumsum(rng.integers(-9, 10, (40, 50, 3)), axis=1) + 128, 0, 255).astype(np.uint8)
    files["every_filter.png"] = encoded(Image.fromarray(soft), "PNG")
    at = plain.index(b"IDAT") - 4
    data = plain[at + 8 : -16]
    cut = b"".join(chunk(b"IDAT", data[i : i + 100]) for i in range(0, len(data), 100))
    files["data_in_parts.png"] = plain[:at] + cut + chunk(b"IDAT", b"") + plain[-12:]
    return files


# --- BMP --------------------------------------------------------------------------------------------------------------


def bmp_runs(rng: np.random.Generator, bits: int, height: int = HEIGHT) -> bytes:
    """Rows of runs and of pixels as they are; some rows end early."""
    data = b""
    for row in range(height):
        left = WIDTH if row % 3 else WIDTH - 4
        while left > 0:
            number = int(rng.integers(1, left + 1))
            if number >= 4 and rng.integers(2):
                number -= number % 2 if bits == 4 else 0
                values = rng.integers(0, 256, number * bits // 8, dtype=np.uint8).tobytes()
                data += bytes([0, number]) + values + b"\0" * (len(values) % 2)
            else:
                data += bytes([number, int(rng.integers(0, 256))])
            left -= number
        data += b"\0\0"
    return data + b"\0\1"


def every_bmp(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for bits in (1, 4, 8):
        palette = random_palette(rng, 1 << bits)
        for header_bytes in (12, 40, 124):
            rows = packed_rows(rng.integers(0, 1 << bits, (HEIGHT, WIDTH)), bits)
            files[f"p_{bits}bit_{header_bytes}"] = write_bmp(
                rows, WIDTH, HEIGHT, bits, header_bytes=header_bytes, palette=palette
            )
        rows = packed_rows(rng.integers(0, 1 << bits, (HEIGHT, WIDTH)), bits)
        files[f"p_{bits}bit_top_down"] = write_bmp(rows, WIDTH, HEIGHT, bits, palette=palette, top_down=True)
        files[f"p_{bits}bit_colours_not_said"] = write_bmp(rows, WIDTH, HEIGHT, bits, palette=palette, colours=0)
        files[f"p_{bits}bit_gap"] = write_bmp(rows, WIDTH, HEIGHT, bits, palette=palette, gap=10)
        files[f"p_{bits}bit_forgot_palette"] = write_bmp(rows, WIDTH, HEIGHT, bits, palette=palette, pixels_at=54)
    few = packed_rows(rng.integers(0, 8, (HEIGHT, WIDTH)), 8)
    files["p_8bit_short"] = write_bmp(few, WIDTH, HEIGHT, 8, palette=random_palette(rng, 5))
    files["l_8bit"] = write_bmp(few, WIDTH, HEIGHT, 8, palette=np.arange(256)[:, None].repeat(3, 1))
    files["l_8bit_short"] = write_bmp(few, WIDTH, HEIGHT, 8, palette=np.arange(5)[:, None].repeat(3, 1))
    rows = packed_rows(rng.integers(0, 2, (HEIGHT, WIDTH)), 1)
    files["black_and_white"] = write_bmp(rows, WIDTH, HEIGHT, 1, palette=np.array([[0] * 3, [255] * 3]))
    files["white_and_black"] = write_bmp(rows, WIDTH, HEIGHT, 1, palette=np.array([[255] * 3, [0] * 3]))

    words = packed_rows(rng.integers(0, 1 << 16, (HEIGHT, WIDTH)), 16)
    pixels = packed_rows(rng.integers(0, 1 << 32, (HEIGHT, WIDTH)), 32)
    triples = [row.tobytes() for row in rng.integers(0, 256, (HEIGHT, 3 * WIDTH), dtype=np.uint8)]
    for header_bytes in (40, 52, 56, 64, 108):
        files[f"16bit_{header_bytes}"] = write_bmp(words, WIDTH, HEIGHT, 16, header_bytes=header_bytes)
        files[f"24bit_{header_bytes}"] = write_bmp(triples, WIDTH, HEIGHT, 24, header_bytes=header_bytes)
        files[f"32bit_{header_bytes}"] = write_bmp(pixels, WIDTH, HEIGHT, 32, header_bytes=header_bytes)
    files["24bit_12"] = write_bmp(triples, WIDTH, HEIGHT, 24, header_bytes=12)
    files["24bit_top_down"] = write_bmp(triples, WIDTH, HEIGHT, 24, top_down=True)
    files["24bit_gap"] = write_bmp(triples, WIDTH, HEIGHT, 24, gap=7)
    files["24bit_palette"] = write_bmp(triples, WIDTH, HEIGHT, 24, palette=random_palette(rng, 7))
    files["24bit_no_padding_at_the_end"] = write_bmp(triples, WIDTH, HEIGHT, 24)[:-1]
    masks = {
        "565": (16, (0xF800, 0x7E0, 0x1F)),
        "555": (16, (0x7C00, 0x3E0, 0x1F)),
        "24": (24, (0xFF0000, 0xFF00, 0xFF)),
        "bgrx": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
        "xbgr": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
        "bgxr": (32, (0xFF000000, 0xFF00, 0xFF, 0)),
        "abgr": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
        "rgba": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        "bgra": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
        "bgar": (32, (0xFF000000, 0xFF00, 0xFF, 0xFF0000)),
        "none": (32, (0, 0, 0, 0)),
    }
    for name, (bits, said) in masks.items():
        rows = {16: words, 24: triples, 32: pixels}[bits]
        for header_bytes in (40, 56) if bits < 32 or said[3] == 0 and name != "none" else (56,):
            shown = said[:3] if header_bytes == 40 else said
            files[f"masks_{name}_{header_bytes}"] = write_bmp(
                rows, WIDTH, HEIGHT, bits, coding=3, masks=shown, header_bytes=header_bytes
            )
    for bits, coding in ((8, 1), (4, 2)):
        palette = random_palette(rng, 1 << bits)
        for n in range(3):
            runs = bmp_runs(rng, bits)
            files[f"runs_{bits}bit_{n}"] = write_bmp(runs, WIDTH, HEIGHT, bits, coding=coding, palette=palette)
        files[f"runs_{bits}bit_no_end"] = write_bmp(
            bmp_runs(rng, bits)[:-2], WIDTH, HEIGHT, bits, coding=coding, palette=palette
        )
        long = b"".join(bytes([200, int(rng.integers(0, 256))]) + b"\0\0" for _ in range(HEIGHT))
        files[f"runs_{bits}bit_beyond_the_row"] = write_bmp(long, WIDTH, HEIGHT, bits, coding=coding, palette=palette)
    greys = np.arange(256)[:, None].repeat(3, 1)
    files["runs_8bit_l"] = write_bmp(bmp_runs(rng, 8), WIDTH, HEIGHT, 8, coding=1, palette=greys)
    files["written_by_pillow"] = encoded(Image.frombytes("RGBA", (5, 3), rng.bytes(60)), "BMP")
    return {f"{name}.bmp": data for name, data in files.items()}


# --- GIF --------------------------------------------------------------------------------------------------------------


def every_gif(rng: np.random.Generator) -> dict[str, bytes]:
    canvas, files = (WIDTH, HEIGHT), {}

    def palette(colours: int) -> bytes:
        return random_palette(rng, colours).astype(np.uint8).tobytes()

    def indices(colours: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
        return rng.integers(0, colours, (height, width))

    for bits in range(1, 9):
        colours = 1 << bits
        code_bits = max(bits, 2)
        files[f"{bits}bit"] = write_gif(canvas, gif_frame(indices(colours), bits=code_bits), colours=palette(colours))
        files[f"{bits}bit_local_clear"] = write_gif(
            canvas, gif_frame(indices(colours), bits=code_bits, local=palette(colours), transparent=colours // 2)
        )
    files["87a"] = write_gif(canvas, gif_frame(indices(16), bits=4), colours=palette(16), version=b"87a")
    for height in (1, 2, 4, 5, 8, 9, 23):
        frame = gif_frame(indices(4, height), bits=2, interlaced=True)
        files[f"interlaced_{height}"] = write_gif((WIDTH, height), frame, colours=palette(4))
    # Runs of one index make long strings, and strings that are used while they are made.
    flat = (np.arange(60 * 90) // 700 % 3).reshape(60, 90)
    noise = indices(256, 46, 90)
    files["long_strings"] = write_gif((90, 60), gif_frame(flat, bits=2), colours=palette(4))
    files["full_table"] = write_gif((90, 46), gif_frame(noise, most_codes=4096, clears=False), colours=palette(256))
    files["cleared_table"] = write_gif((90, 46), gif_frame(noise), colours=palette(256))
    files["often_cleared"] = write_gif(canvas, gif_frame(indices(16), bits=4, most_codes=40), colours=palette(16))
    files["local_and_global"] = write_gif(
        canvas, gif_frame(indices(8), bits=3, local=palette(8)), gif_frame(indices(4), bits=2), colours=palette(4)
    )
    identity = np.arange(256, dtype=np.uint8).repeat(3).tobytes()
    files["no_palette"] = write_gif(canvas, gif_frame(indices(256)))
    files["no_palette_clear"] = write_gif(canvas, gif_frame(indices(4), transparent=2))
    files["grey"] = write_gif(canvas, gif_frame(indices(256)), colours=identity)
    files["grey_short"] = write_gif(canvas, gif_frame(indices(256)), colours=identity[:12])
    files["grey_global_local"] = write_gif(canvas, gif_frame(indices(4), local=palette(4)), colours=identity)
    files["grey_local"] = write_gif(canvas, gif_frame(indices(256), local=identity))
    files["beyond_the_palette"] = write_gif(canvas, gif_frame(indices(256)), colours=palette(16))
    for name, clear in (("", None), ("_clear", 3)):
        small = gif_frame(indices(8, 4, 5), at=(3, 2), bits=3, transparent=clear)
        files[f"small_frame{name}"] = write_gif(canvas, small, colours=palette(8), background=5)
        files[f"small_frame_grey{name}"] = write_gif(canvas, small, background=5)
        files[f"large_frame{name}"] = write_gif((4, 20), small, colours=palette(8), background=5)
    files["no_canvas"] = write_gif((0, 0), gif_frame(indices(8), bits=3), colours=palette(8))
    frames = [gif_frame(indices(8), bits=3, transparent=1, disposal=n) for n in (2, 3, 1)]
    for n in range(3):
        files[f"animated_{n}"] = write_gif(canvas, *frames[n:], *frames[:n], colours=palette(8))
    comment = b"!\xfe\5words\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", b"!\x01\3abc\2de\0"
    files["extensions"] = write_gif(canvas, *comment, gif_frame(indices(8), bits=3, transparent=6), colours=palette(8))
    whole = write_gif(canvas, gif_frame(indices(8), bits=3), colours=palette(8))
    files["no_trailer"] = whole[:-1]
    files["behind_the_end"] = whole + b"more"
    return {f"{name}.gif": data for name, data in files.items()}


# --- TIFF -------------------------------------------------------------------------------------------------------------

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
COLOURS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4}
NAMES = {WHITE_IS_0: "white_is_0", BLACK_IS_0: "l", RGB: "rgb", PALETTE: "p", CMYK: "cmyk"}


def every_tiff(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}

    def samples(bits: int, channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
        return rng.integers(0, 1 << bits, (height, width, channels))

    few, deep = (1, 2, 4, 8), (8, 16)
    depths = {WHITE_IS_0: few, BLACK_IS_0: few + (16,), RGB: deep, PALETTE: few, CMYK: deep}
    layouts = {
        "": {},
        "mm": {"order": "MM"},
        "strips": {"rows_per_strip": 4, "compression": DEFLATE},
        "tiles": {"tile": (16, 16), "compression": PACKBITS, "order": "MM"},
    }
    for kind, colours in COLOURS.items():
        for bits in depths[kind]:
            palette = rng.integers(0, 1 << 16, (1 << bits, 3)) if kind == PALETTE else None
            for name, layout in layouts.items():
                if "tile" in layout and colours > 1 and bits == 16:
                    continue
                said = f"{NAMES[kind]}_{bits}bit{'_' * bool(name)}{name}"
                files[said] = write_tiff(samples(bits, colours), kind, bits, palette=palette, **layout)
    files["l_16bit_low"] = write_tiff(samples(9, 1), BLACK_IS_0, 16)
    for bits in (8, 16):
        for extra in (None, 0, 1, 2):
            four = samples(bits, 4)
            files[f"rgb_{bits}bit_extra_{extra}"] = write_tiff(four, RGB, bits, extra=extra, compression=DEFLATE)
            if bits == 8:
                files[f"rgb_{bits}bit_extra_{extra}_raw"] = write_tiff(four, RGB, bits, extra=extra)
    every = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=2)
    multiplied = np.concatenate([every[..., :1], every[..., :1] // 2, 255 - every], axis=2)  # levels beyond alpha too
    files["rgb_multiplied_every"] = write_tiff(multiplied, RGB, 8, extra=1, compression=DEFLATE, differences=True)
    files["la"] = write_tiff(samples(8, 2), BLACK_IS_0, 8, extra=2)
    files["cmyk_extra"] = write_tiff(samples(8, 5), CMYK, 8, extra=0)
    for name, layout in {"": {}, "_deflate": {"compression": DEFLATE}, "_tiles": {"tile": (16, 16)}}.items():
        if name != "_tiles":
            files[f"rgb_planes{name}"] = write_tiff(samples(8, 3), RGB, 8, planes=True, **layout)
            files[f"cmyk_planes{name}"] = write_tiff(samples(8, 4), CMYK, 8, planes=True, **layout)
        files[f"rgb_large{name}"] = write_tiff(samples(8, 3, 21, 35), RGB, 8, **layout)
    for bits in (1, 2, 4, 8):
        for kind in (WHITE_IS_0, BLACK_IS_0) if bits < 8 else (BLACK_IS_0,):  # Pillow gives up on the other
            files[f"{NAMES[kind]}_{bits}bit_reversed"] = write_tiff(samples(bits, 1), kind, bits, reversed_bits=True)
        files[f"l_{bits}bit_reversed_packbits"] = write_tiff(
            samples(bits, 1), BLACK_IS_0, bits, reversed_bits=True, compression=PACKBITS
        )
    for orientation in range(1, 9):
        order = "II" if orientation % 2 else "MM"
        files[f"turned_{orientation}"] = write_tiff(samples(8, 3), RGB, 8, orientation=orientation, order=order)
    files["turned_9"] = write_tiff(samples(8, 3), RGB, 8, orientation=9)
    files["big_ii"] = write_tiff(samples(8, 3), RGB, 8, big=True)
    files["big_strips"] = write_tiff(samples(8, 1), BLACK_IS_0, 8, big=True, rows_per_strip=3)
    soft = np.clip(np.cumsum(rng.integers(-9, 10, (40, 50, 3)), axis=1) + 128, 0, 255).astype(np.uint8)
    photo, drawing = Image.fromarray(soft), Image.fromarray(soft[..., 0]).convert("1")
    for name, image in {"rgb": photo, "l": photo.convert("L"), "cmyk": photo.convert("CMYK")}.items():
        files[f"lzw_{name}"] = encoded(image, "TIFF", compression="tiff_lzw")
        files[f"jpeg_{name}"] = encoded(image, "TIFF", compression="jpeg", quality=60)
    files["lzw_predictor"] = encoded(photo, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    files["rgb_16bit_differences"] = write_tiff(samples(16, 3), RGB, 16, compression=DEFLATE, differences=True)
    files["jpeg_ycbcr"] = encoded(photo.convert("YCbCr"), "TIFF", compression="jpeg", quality=60)
    for compression in ("tiff_ccitt", "group3", "group4", "packbits"):
        files[f"{compression}"] = encoded(drawing, "TIFF", compression=compression)
    files["two_pictures"] = encoded(
        Image.new("RGB", (6, 4), (9, 80, 200)), "TIFF", save_all=True, append_images=[Image.new("L", (3, 3))]
    )
    return {f"{name}.tif": data for name, data in files.items()}
