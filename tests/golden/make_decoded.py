"""What Pillow makes of pictures that say which way is up, of pictures with transparency, and of every kind of file.

    python make_decoded.py

Writes the pictures in decoded/, and decoded/decoded.json: for each file the hash of its RGB bytes as stored and, where
they differ, upright (ImageOps.exif_transpose) and with alpha on white (Image.alpha_composite). Pillow must be 11.3.0,
numpy is any. The JPEGs of `images` are grey with flat blocks, which all decoders decode alike; `jpeg`, `webp`, `png`,
`bmp`, `gif` and `tiff` are of every kind.
"""

import io
import json
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
from bitmap_cases import encoded, every_bmp, every_gif, every_png, every_tiff
from make_jpeg import write_jpeg
from make_png import chunk, write_png
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent / "decoded"


def fnv1a64(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


# --- Exif and XMP -----------------------------------------------------------------------------------------------------


def tiff(orientation: int, order: str = "II", *, kind: int = 3, before: bytes = b"", magic: int = 42) -> bytes:
    """One tag, behind `before`, which is entries of 12 bytes."""
    mark = "<" if order == "II" else ">"
    value = {
        1: bytes([orientation, 0, 0, 0]),
        3: struct.pack(mark + "HH", orientation, 0),
        4: struct.pack(mark + "L", orientation),
        6: bytes([orientation, 0, 0, 0]),
    }[kind]
    entry = struct.pack(mark + "HHL", 0x0112, kind, 1) + value
    number = struct.pack(mark + "H", len(before) // 12 + 1)
    return order.encode() + struct.pack(mark + "HL", magic, 8) + number + before + entry + struct.pack(mark + "L", 0)


def xmp(orientation: int, *, element: bool = False) -> bytes:
    name = "tiff:Orientation"
    note = f"<{name}>{orientation}</{name}>" if element else f'<a {name}="{orientation}"/>'
    return f"<x:xmpmeta>{note}</x:xmpmeta>".encode()


def segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def raw_profile(data: bytes) -> bytes:
    lines = data.hex()
    lines = "\n".join(lines[i : i + 72] for i in range(0, len(lines), 72))
    return f"\nexif\n{len(data):8}\n{lines}\n".encode()


def itxt(keyword: bytes, text: bytes, *, compressed: bool = False) -> bytes:
    body = zlib.compress(text) if compressed else text
    return chunk(b"iTXt", keyword + b"\0" + bytes([compressed, 0]) + b"\0\0" + body)


EXIF, XAP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
BROKEN_ENTRY = struct.pack("<HHLL", 0x010F, 2, 100, 60000)  # its text would lie beyond the end
UNKNOWN_ENTRY = struct.pack("<HHLL", 0x010F, 99, 1, 0)


def jpegs(plain: bytes) -> dict[str, bytes]:
    def with_segments(*bodies: bytes) -> bytes:
        return plain[:2] + b"".join(segment(body) for body in bodies) + plain[2:]

    files = {"plain.jpg": plain}
    for orientation in range(1, 9):
        for order in ("II", "MM"):
            files[f"exif_{order.lower()}_{orientation}.jpg"] = with_segments(EXIF + tiff(orientation, order))
    whole = tiff(6)
    files |= {
        "exif_0.jpg": with_segments(EXIF + tiff(0)),
        "exif_9.jpg": with_segments(EXIF + tiff(9)),
        "exif_long.jpg": with_segments(EXIF + tiff(6, kind=4)),
        "exif_byte.jpg": with_segments(EXIF + tiff(6, kind=1)),
        "exif_signed_byte.jpg": with_segments(EXIF + tiff(6, kind=6)),
        "exif_behind_broken.jpg": with_segments(EXIF + tiff(6, before=BROKEN_ENTRY)),
        "exif_behind_unknown.jpg": with_segments(EXIF + tiff(6, before=UNKNOWN_ENTRY)),
        "exif_cut.jpg": with_segments(EXIF + whole[:20]),
        "exif_no_next.jpg": with_segments(EXIF + whole[:-4]),
        "exif_far.jpg": with_segments(EXIF + whole[:4] + struct.pack("<L", 9999) + whole[8:]),
        "exif_twice_named.jpg": with_segments(EXIF + EXIF + whole),
        "exif_in_two.jpg": with_segments(EXIF + whole[:13], EXIF + whole[13:]),
        "exif_two.jpg": with_segments(EXIF + tiff(3), EXIF + tiff(6)),
        "xmp.jpg": with_segments(XAP + xmp(6)),
        "xmp_element.jpg": with_segments(XAP + xmp(8, element=True)),
        "xmp_two.jpg": with_segments(XAP + xmp(6), XAP + xmp(3)),
        "exif_and_xmp.jpg": with_segments(XAP + xmp(6), EXIF + tiff(1)),
        "behind_the_scan.jpg": plain[:-2] + segment(EXIF + whole) + plain[-2:],
    }
    return files


def pngs(samples: np.ndarray) -> dict[str, bytes]:
    files = {}
    plain = write_png(samples, 2, 8)

    def before_data(*chunks: bytes) -> bytes:
        return plain[:33] + b"".join(chunks) + plain[33:]

    for orientation in range(1, 9):
        for order in ("II", "MM"):
            files[f"exif_{order.lower()}_{orientation}.png"] = before_data(chunk(b"eXIf", tiff(orientation, order)))
    files |= {
        "exif_behind_data.png": plain[:-12] + chunk(b"eXIf", tiff(6)) + plain[-12:],
        "exif_two.png": before_data(chunk(b"eXIf", tiff(3)), chunk(b"eXIf", tiff(6))),
        "exif_named.png": before_data(chunk(b"eXIf", EXIF + tiff(6))),
        "exif_empty.png": before_data(chunk(b"eXIf", b"")),
        "profile.png": before_data(chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(EXIF + tiff(6)))),
        "profile_compressed.png": before_data(
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(EXIF + tiff(8))))
        ),
        "xmp.png": before_data(itxt(b"XML:com.adobe.xmp", xmp(6))),
        "xmp_compressed.png": before_data(itxt(b"XML:com.adobe.xmp", xmp(7), compressed=True)),
        "exif_and_xmp.png": before_data(itxt(b"XML:com.adobe.xmp", xmp(6)), chunk(b"eXIf", tiff(3))),
    }
    palette = bytes(range(0, 240, 5))
    alphas = bytes([0, 128, 255])
    indices = np.arange(15).reshape(3, 5, 1)
    turned = write_png(indices, 3, 8, palette=palette, transparency=alphas)
    files["exif_palette.png"] = turned[:33] + chunk(b"eXIf", tiff(5)) + turned[33:]
    # Pillow raises for these; the file says nothing, so they stay as stored.
    broken = {
        "exif_no_tiff.png": before_data(chunk(b"eXIf", b"nothing at all")),
        "exif_short.png": before_data(chunk(b"eXIf", b"II*\0\x08")),
        "exif_big.png": before_data(chunk(b"eXIf", tiff(6, magic=43))),
        "profile_no_hex.png": before_data(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nwxyz\n")),
    }
    return files, broken


# --- transparency -----------------------------------------------------------------------------------------------------


def transparent(rng: np.random.Generator) -> dict[str, bytes]:
    def samples(channels: int, depth: int, height: int = 9, width: int = 13) -> np.ndarray:
        return rng.integers(0, 1 << depth, (height, width, channels))

    files = {}
    every = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=2)  # every level with every alpha
    files["la_every.png"] = write_png(every, 4, 8)
    files["rgba.png"] = write_png(samples(4, 8), 6, 8)
    files["rgba_interlaced.png"] = write_png(samples(4, 8), 6, 8, interlaced=True)
    files["la_16bit.png"] = write_png(samples(2, 16), 4, 16)
    files["rgba_16bit.png"] = write_png(samples(4, 16), 6, 16)
    for depth in (1, 2, 4, 8):
        colours = 1 << depth
        palette = rng.integers(0, 256, 3 * colours, dtype=np.uint8).tobytes()
        alphas = rng.integers(0, 256, max(1, colours * 2 // 3), dtype=np.uint8).tobytes()
        files[f"p_{depth}bit.png"] = write_png(samples(1, depth), 3, depth, palette=palette, transparency=alphas)
        simple = bytes([255] * (colours - 1) + [0])
        files[f"p_{depth}bit_one.png"] = write_png(samples(1, depth), 3, depth, palette=palette, transparency=simple)
    files["p_opaque.png"] = write_png(samples(1, 4), 3, 4, palette=bytes(range(48)))
    for depth in (1, 2, 4, 8, 16):
        for level in sorted({0, 1, (1 << depth) - 1, 456 % (1 << depth), 85 % (1 << depth)}):
            grey = samples(1, min(depth, 9), 32, 32)
            files[f"l_{depth}bit_{level}.png"] = write_png(grey, 0, depth, transparency=struct.pack(">H", level))
    files["rgb.png"] = write_png(samples(3, 1) * 7, 2, 8, transparency=struct.pack(">HHH", 7, 0, 7))
    files["rgb_wide.png"] = write_png(samples(3, 1) * 7, 2, 8, transparency=struct.pack(">HHH", 0x107, 0, 7))
    deep = samples(3, 1) * 0x0807 + 0x0100
    files["rgb_16bit.png"] = write_png(deep, 2, 16, transparency=struct.pack(">HHH", 0x0907, 0x0100, 0x0907))
    files["rgb_16bit_low.png"] = write_png(deep, 2, 16, transparency=struct.pack(">HHH", 9, 1, 9))
    files["l_alpha_none.png"] = write_png(samples(1, 8), 0, 8)
    return files


# --- JPEG and WebP ----------------------------------------------------------------------------------------------------


def photo(rng: np.random.Generator, width: int, height: int, mode: str) -> Image.Image:
    """Soft blobs and some noise."""
    channels = len(mode)
    few = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, channels), dtype=np.uint8)
    planes = [Image.fromarray(few[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    soft = np.stack([np.asarray(plane, int) for plane in planes], axis=2)
    levels = np.clip(soft + rng.integers(-6, 7, soft.shape), 0, 255).astype(np.uint8)
    return Image.frombytes(mode, (width, height), levels.tobytes())


def every_jpeg(rng: np.random.Generator) -> dict[str, bytes]:
    one = (1, 1)
    kinds = {
        "444": [one] * 3,
        "422": [(2, 1), one, one],
        "420": [(2, 2), one, one],
        "411": [(4, 1), one, one],
        "410": [(4, 2), one, one],
        "440": [(1, 2), one, one],
        "441": [(1, 4), one, one],
        "311": [(3, 1), one, one],
        "uneven": [(2, 2), (2, 1), (1, 2)],
        "wide_chroma": [one, (2, 1), (2, 1)],
        "grey": [one],
        "grey_of_2x2": [(2, 2)],
    }
    files = {}
    for name, sampling in kinds.items():
        files[f"{name}.jpg"] = write_jpeg(rng, 12, 12, sampling)
        files[f"{name}_restarts.jpg"] = write_jpeg(rng, 53, 37, sampling, restart=2, strength=40)
        files[f"{name}_scans.jpg"] = write_jpeg(rng, 39, 58, sampling, separate=True, jfif=True)
    for name in ("444", "420"):
        for adobe in ("RGB", "YCbCr"):
            marked = f"{name}_adobe_{adobe.lower()}"
            files[f"{marked}.jpg"] = write_jpeg(rng, 21, 19, kinds[name], adobe=adobe)
            files[f"{marked}_jfif.jpg"] = write_jpeg(rng, 21, 19, kinds[name], adobe=adobe, jfif=True)
        files[f"{name}_named_rgb.jpg"] = write_jpeg(rng, 21, 19, kinds[name], ids=b"RGB")
    for name, ends in {"444": one, "422": (2, 1), "420": (2, 2)}.items():
        sampling = [ends, one, one, ends]
        for adobe in (None, "CMYK", "YCCK"):
            kind = f"{adobe.lower() if adobe else 'four'}_{name}"
            files[f"{kind}.jpg"] = write_jpeg(rng, 23, 31, sampling, adobe=adobe)
            files[f"{kind}_restarts.jpg"] = write_jpeg(rng, 31, 23, sampling, adobe=adobe, restart=3, strength=40)
    files["longest.jpg"] = write_jpeg(rng, 16384, 12, [one], strength=0)
    files["noise.jpg"] = write_jpeg(rng, 40, 40, kinds["420"], strength=400)
    for n, name in enumerate(("444", "422", "420")):
        files[f"progressive_{name}.jpg"] = encoded(
            photo(rng, 61, 43, "RGB"), "JPEG", quality=80, subsampling=n, progressive=True, restart_marker_blocks=2 * n
        )
    files["progressive_grey.jpg"] = encoded(photo(rng, 43, 61, "L"), "JPEG", progressive=True)
    files["progressive_cmyk.jpg"] = encoded(photo(rng, 30, 30, "CMYK"), "JPEG", progressive=True)
    files["progressive_rgb.jpg"] = encoded(photo(rng, 30, 30, "RGB"), "JPEG", progressive=True, keep_rgb=True)
    files["large.jpg"] = encoded(photo(rng, 1021, 767, "RGB"), "JPEG", quality=3)
    files["large_progressive.jpg"] = encoded(photo(rng, 767, 1021, "RGB"), "JPEG", quality=3, progressive=True)
    return files


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


def chunks_of(webp: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at < len(webp):
        size = struct.unpack_from("<L", webp, at + 4)[0]
        found.append((webp[at : at + 4], webp[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def vp8x(flags: int, width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8X", struct.pack("<L", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def first_frame(frame: bytes, x: int, y: int, width: int, height: int) -> tuple[bytes, bytes]:
    """An ANMF chunk of a still picture, with its upper left corner at (x, y), which are even."""
    inner = riff(*[chunk for chunk in chunks_of(frame) if chunk[0] != b"VP8X"])[12:]
    fields = [x // 2, y // 2, width - 1, height - 1, 100]
    return b"ANMF", b"".join(field.to_bytes(3, "little") for field in fields) + b"\0" + inner


def every_webp(rng: np.random.Generator) -> dict[str, bytes]:
    files = {}
    for mode in ("RGB", "RGBA"):
        for width, height in ((1, 1), (12, 12), (61, 43)):
            size, image = f"{mode.lower()}_{width}x{height}", photo(rng, width, height, mode)
            files[f"{size}_lossless.webp"] = encoded(image, "WEBP", lossless=True, exact=True)
            for quality in (1, 50, 95):
                files[f"{size}_{quality}.webp"] = encoded(image, "WEBP", quality=quality, alpha_quality=quality)
        flat = photo(rng, 40, 30, mode).quantize(9, method=Image.Quantize.FASTOCTREE).convert(mode)
        files[f"{mode.lower()}_few_colours.webp"] = encoded(flat, "WEBP", lossless=True)
        two = [photo(rng, 33, 21, mode) for _ in range(2)]
        for lossless in (True, False):
            name = f"{mode.lower()}_animated_{'lossless' if lossless else 'lossy'}.webp"
            files[name] = encoded(two[0], "WEBP", save_all=True, append_images=two[1:], lossless=lossless)
    plain = photo(rng, 24, 16, "RGB")
    for orientation in range(1, 9):
        exif = EXIF + tiff(orientation, "MM") if orientation % 2 else tiff(orientation)
        files[f"exif_{orientation}.webp"] = encoded(plain, "WEBP", exif=exif)
    files["xmp.webp"] = encoded(plain, "WEBP", xmp=xmp(6))
    opaque, clear = encoded(plain, "WEBP"), encoded(photo(rng, 24, 16, "RGBA"), "WEBP")
    clear_lossless = encoded(photo(rng, 24, 16, "RGBA"), "WEBP", lossless=True)
    whole = dict(width=24, height=16)
    for name, frame in {"opaque": opaque, "clear": clear, "clear_lossless": clear_lossless}.items():
        inner = [chunk for chunk in chunks_of(frame) if chunk[0] != b"VP8X"]
        files[f"{name}_no_alpha_flag.webp"] = riff(vp8x(0, **whole), *inner)
        files[f"{name}_alpha_flag.webp"] = riff(vp8x(16, **whole), *inner)
        files[f"{name}_unasked_exif.webp"] = riff(vp8x(16, **whole), *inner, (b"EXIF", tiff(6)))
        files[f"{name}_exif_first.webp"] = riff(vp8x(24, **whole), (b"EXIF", tiff(6)), *inner, (b"EXIF", tiff(3)))
        for flags in (2, 18):
            frames = [first_frame(frame, 10, 4, **whole), first_frame(opaque, 0, 0, **whole)]
            loops = (b"ANIM", b"\xff\x80\x40\x20\0\0")
            files[f"{name}_small_frame_{flags}.webp"] = riff(vp8x(flags, 40, 30), loops, *frames)
    files["behind_the_end.webp"] = opaque + b"more"
    return files


# --- golden values ----------------------------------------------------------------------------------------------------


def said(image: Image.Image) -> dict:
    return {"size": list(image.size), "fnv1a64": fnv1a64(image.tobytes())}


def on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def turned(orientation: int) -> dict:
    """A picture larger than the blocks that a program may turn it by: byte i is bits 24..31 of (i + 1) * 2654435761."""
    width, height = 600, 270
    levels = np.arange(1, width * height * 3 + 1, dtype=np.uint64) * np.uint64(2654435761) >> np.uint64(24)
    image = Image.fromarray(levels.astype(np.uint8).reshape(height, width, 3))
    image.getexif()[0x0112] = orientation
    return {"orientation": orientation, "from": [width, height]} | said(ImageOps.exif_transpose(image))


def golden_file(name: str, data: bytes, *, malformed: bool = False) -> dict:
    (FOLDER / name).write_bytes(data)
    path = FOLDER / name
    stored = Image.open(path).convert("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            assert not malformed, name
        except (SyntaxError, ValueError, struct.error):
            assert malformed, name
            upright = stored
    entry = {"file": name, "stored": said(stored)}
    others = {"upright": said(upright), "white": said(on_white(Image.open(path)))}
    return entry | {key: value for key, value in others.items() if value != entry["stored"]}


def main() -> None:
    if PIL.__version__ != "11.3.0":
        raise SystemExit(f"these golden files need pillow 11.3.0, not {PIL.__version__}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    blocks = np.array([[10, 60, 110], [160, 210, 250]], np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(blocks).save(FOLDER / "plain.jpg", quality=95)
    plain = (FOLDER / "plain.jpg").read_bytes()
    rng = np.random.Generator(np.random.PCG64(11))
    good, broken = pngs(rng.integers(0, 256, (3, 5, 3)))
    entries = [golden_file(name, data) for name, data in (jpegs(plain) | good | transparent(rng)).items()]
    entries += [golden_file(name, data, malformed=True) for name, data in broken.items()]
    kinds = {"jpeg": every_jpeg, "webp": every_webp}
    kinds |= {"png": every_png, "bmp": every_bmp, "gif": every_gif, "tiff": every_tiff}
    lines = {"images": entries, "turned": [turned(orientation) for orientation in range(1, 9)]}
    for seed, (kind, every) in enumerate(kinds.items(), 12):
        files = every(np.random.Generator(np.random.PCG64(seed)))
        lines[kind] = [golden_file(name, data) for name, data in files.items()]
    widest = write_jpeg(np.random.Generator(np.random.PCG64(18)), 65500, 8, [(1, 1)], strength=0)
    lines["larger"] = [golden_file("widest.jpg", widest)]  # than the limits that ours has where nobody says others
    text = ",\n".join(
        f'"{key}":[\n' + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in value) + "\n]"
        for key, value in lines.items()
    )
    (FOLDER / "decoded.json").write_text(f'{{"pillow":"{PIL.__version__}",\n{text}}}\n')
    print(f"{sum('upright' in e for e in entries)} turned, {sum('white' in e for e in entries)} with white")
    print(", ".join(f"{len(lines[kind])} of {kind}" for kind in lines))


if __name__ == "__main__":
    main()
