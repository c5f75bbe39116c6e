"""PNG files of kinds that Pillow does not write, for the scripts beside this one."""

import struct
import zlib

import numpy as np

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_png(
    samples: np.ndarray, colour_type: int, depth: int, *, interlaced=False, palette=None, transparency=None
) -> bytes:
    """A PNG of samples [height, width, channels]; for kinds that Pillow does not write (16 bits, 1..4 bits, Adam7)."""
    height, width, channels = samples.shape
    assert channels == PNG_CHANNELS[colour_type]

    def rows(part: np.ndarray) -> bytes:
        lines = bytearray()
        above = b""
        for n, row in enumerate(part):
            flat = row.reshape(-1)
            if depth == 16:
                line = flat.astype(">u2").tobytes()
            elif depth == 8:
                line = flat.astype(np.uint8).tobytes()
            else:
                bits = (flat[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
                line = np.packbits(bits.reshape(-1)).tobytes()
            step = max(1, depth * channels // 8)
            kind = n % 3 if above else n % 2  # filters none, sub, up in turn
            shifted = {0: bytes(len(line)), 1: (bytes(step) + line)[: len(line)], 2: above}[kind]
            lines.append(kind)
            lines += bytes((a - b) & 255 for a, b in zip(line, shifted))
            above = line
        return bytes(lines)

    if interlaced:
        passes = [samples[y0::dy, x0::dx] for x0, y0, dx, dy in ADAM7]
        data = b"".join(rows(part) for part in passes if part.size)
    else:
        data = rows(samples)

    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced)))
    if palette is not None:
        out += chunk(b"PLTE", palette)
    if transparency is not None:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
