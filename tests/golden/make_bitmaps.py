"""BMP, GIF and TIFF files of kinds that Pillow does not write, for the scripts beside this one."""

import struct
import zlib

import numpy as np

# --- BMP --------------------------------------------------------------------------------------------------------------


def packed_rows(samples: np.ndarray, bits: int) -> list[bytes]:
    """Rows of [height, values], the first in the upper bits of a byte; 16 bits are little-endian."""
    if bits == 16:
        return [row.astype("<u2").tobytes() for row in samples]
    if bits == 32:
        return [row.astype("<u4").tobytes() for row in samples]
    return [np.packbits(row.astype(np.uint8)[:, None] >> np.arange(bits - 1, -1, -1) & 1).tobytes() for row in samples]


def write_bmp(
    rows: list[bytes] | bytes,
    width: int,
    height: int,
    bits: int,
    *,
    header_bytes: int = 40,
    coding: int = 0,
    masks: tuple[int, ...] = (),
    palette: np.ndarray | None = None,
    colours: int | None = None,
    top_down: bool = False,
    gap: int = 0,
    pixels_at: int | None = None,
) -> bytes:
    """`rows` are in the file's order, or the bytes of runs; `palette` is [colours, 3] of red, green, blue."""
    old = header_bytes == 12
    table = b""
    if palette is not None:
        table = b"".join(bytes([b, g, r]) + (b"" if old else b"\0") for r, g, b in palette.tolist())
    if old:
        header = struct.pack("<LHHHH", 12, width, height, 1, bits)
    else:
        number = (0 if palette is None else len(palette)) if colours is None else colours
        tall = -height if top_down else height
        header = struct.pack("<LLlHHLLLLLL", header_bytes, width, tall, 1, bits, coding, 0, 2835, 2835, number, 0)
        said = struct.pack(f"<{len(masks)}L", *masks)
        header = (header + said).ljust(header_bytes, b"\0") if header_bytes > 40 else header + said
    data = rows if isinstance(rows, bytes) else b"".join(row + b"\0" * (-len(row) % 4) for row in rows)
    at = 14 + len(header) + len(table) + gap if pixels_at is None else pixels_at
    return b"BM" + struct.pack("<LLL", at + len(data), 0, at) + header + table + b"\0" * gap + data


# --- GIF --------------------------------------------------------------------------------------------------------------


def lzw(indices: list[int], bits: int, *, most_codes: int = 4095, clears: bool = True) -> bytes:
    """GIF's codes. Where there are `most_codes` of them a clear code follows, or no more are made."""
    clear = 1 << bits
    size, next_code = bits + 1, clear + 2
    codes, known, word = [(clear, size)], {}, ()
    for index in indices:
        longer = word + (index,)
        if len(longer) == 1 or longer in known:
            word = longer
            continue
        codes.append((known[word] if len(word) > 1 else word[0], size))
        if next_code < most_codes:
            known[longer] = next_code
            size += next_code == 1 << size and size < 12
            next_code += 1
        elif clears:
            codes.append((clear, size))
            size, next_code, known = bits + 1, clear + 2, {}
        word = (index,)
    codes.append((known[word] if len(word) > 1 else word[0], size))
    size += next_code == 1 << size and size < 12  # the reader has made one more of them
    codes.append((clear + 1, size))
    packed, at = 0, 0
    for code, code_size in codes:
        packed |= code << at
        at += code_size
    return packed.to_bytes(-(-at // 8), "little")


def blocks(data: bytes) -> bytes:
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)) + b"\0"


def gif_palette(colours: bytes | None) -> tuple[int, bytes]:
    """The flags, and the table."""
    return (0, b"") if colours is None else (0x80 | (len(colours) // 3).bit_length() - 2, colours)


def gif_frame(
    indices: np.ndarray,
    *,
    at: tuple[int, int] = (0, 0),
    bits: int = 8,
    local: bytes | None = None,
    transparent: int | None = None,
    interlaced: bool = False,
    disposal: int = 0,
    **codes,
) -> bytes:
    height, width = indices.shape
    flags, table = gif_palette(local)
    control = b""
    if transparent is not None or disposal:
        packed = disposal << 2 | (transparent is not None)
        control = b"!\xf9\4" + struct.pack("<BHB", packed, 5, transparent or 0) + b"\0"
    order = [y for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(first, height, step)]
    rows = indices[order] if interlaced else indices
    head = b"," + struct.pack("<HHHHB", *at, width, height, flags | interlaced << 6)
    data = lzw(rows.reshape(-1).tolist(), bits, **codes)
    return control + head + table + bytes([bits]) + blocks(data)


def write_gif(
    canvas: tuple[int, int], *frames: bytes, colours: bytes | None = None, version: bytes = b"89a", background: int = 0
) -> bytes:
    flags, table = gif_palette(colours)
    return b"GIF" + version + struct.pack("<HHBBB", *canvas, flags, background, 0) + table + b"".join(frames) + b";"


# --- TIFF -------------------------------------------------------------------------------------------------------------

NO_COMPRESSION, DEFLATE, PACKBITS = 1, 8, 32773
REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def write_tiff(
    samples: np.ndarray,
    kind: int,
    bits: int,
    *,
    order: str = "II",
    compression: int = NO_COMPRESSION,
    rows_per_strip: int | None = None,
    tile: tuple[int, int] | None = None,
    planes: bool = False,
    extra: int | None = None,
    reversed_bits: bool = False,
    differences: bool = False,
    palette: np.ndarray | None = None,
    orientation: int | None = None,
    big: bool = False,
) -> bytes:
    """Samples [height, width, channels]; `palette` is [colours, 3] of 16 bits."""
    height, width, channels = samples.shape
    mark = "<" if order == "II" else ">"

    def encoded(part: np.ndarray) -> bytes:
        if differences:  # of a pixel and the one before it
            part = np.diff(part, axis=1, prepend=0) % (1 << bits)
        flat = part.reshape(part.shape[0], -1)
        packed = [row.astype(f"{mark}u2").tobytes() for row in flat] if bits == 16 else packed_rows(flat, bits)
        if compression == DEFLATE:
            data = zlib.compress(b"".join(packed), 9)
        elif compression == PACKBITS:
            pieces = [row[i : i + 128] for row in packed for i in range(0, len(row), 128)]
            data = b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
        else:
            data = b"".join(packed)
        return data.translate(REVERSED) if reversed_bits else data

    def pieces(plane: np.ndarray) -> list[bytes]:
        if tile is None:
            step = rows_per_strip or height
            return [encoded(plane[y : y + step]) for y in range(0, height, step)]
        across, down = tile
        padded = np.pad(plane, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
        return [
            encoded(padded[y : y + down, x : x + across])
            for y in range(0, height, down)
            for x in range(0, width, across)
        ]

    data = [piece for c in range(channels) for piece in pieces(samples[..., c : c + 1])] if planes else pieces(samples)
    offset, number = (struct.Struct(mark + "Q"), 16) if big else (struct.Struct(mark + "L"), 4)  # TIFF's type of them
    start = 16 if big else 8
    body, at = b"", []
    for piece in data:
        at.append(start + len(body))
        body += piece + b"\0" * (len(piece) % 2)
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [compression]),
        262: (3, [kind]),
        277: (3, [channels]),
        284: (3, [2 if planes else 1]),
    }
    if tile is None:
        tags |= {273: (number, at), 278: (4, [rows_per_strip or height]), 279: (4, [len(piece) for piece in data])}
    else:
        tags |= {322: (4, [tile[0]]), 323: (4, [tile[1]]), 324: (number, at), 325: (4, [len(piece) for piece in data])}
    if extra is not None:
        tags[338] = (3, [extra])
    if reversed_bits:
        tags[266] = (3, [2])
    if differences:
        tags[317] = (3, [2])
    if palette is not None:
        tags[320] = (3, palette.T.reshape(-1).tolist())
    if orientation is not None:
        tags[274] = (3, [orientation])
    letters = {1: "B", 3: "H", 4: "L", 16: "Q"}
    entries = b""
    for tag, (kind_of_value, values) in sorted(tags.items()):
        packed = struct.pack(f"{mark}{len(values)}{letters[kind_of_value]}", *values)
        if len(packed) > offset.size:
            body += b"\0" * (len(body) % 2)
            where = start + len(body)
            body += packed
            packed = offset.pack(where)
        entries += struct.pack(mark + "HH", tag, kind_of_value) + offset.pack(len(values))
        entries += packed.ljust(offset.size, b"\0")
    body += b"\0" * (len(body) % 2)
    directory = struct.pack(mark + ("Q" if big else "H"), len(tags)) + entries + offset.pack(0)
    head = struct.pack(mark + "HHH", 43, 8, 0) if big else struct.pack(mark + "H", 42)
    return order.encode() + head + offset.pack(start + len(body)) + body + directory
