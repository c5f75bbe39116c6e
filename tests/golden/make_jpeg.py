"""JPEG files of kinds that Pillow does not write, for the scripts beside this one: any sampling, any number of
components, with restart markers, in one scan or one a component. Their quantised coefficients are random."""

import struct

import numpy as np

ADOBE = {"CMYK": 0, "RGB": 0, "YCbCr": 1, "YCCK": 2}


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


class Bits:
    """Entropy-coded data. Tables are flat: a DC category is a code of 5 bits, a symbol of AC one of 9."""

    def __init__(self) -> None:
        self.bits = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> i & 1 for i in range(count - 1, -1, -1)]

    def level(self, value: int) -> tuple[int, int]:
        size = abs(value).bit_length()
        return size, value if value >= 0 else value + (1 << size) - 1

    def block(self, coefficients: list[int], predicted: int) -> None:
        size, low = self.level(coefficients[0] - predicted)
        self.put(size, 5)
        self.put(low, size)
        run = 0
        for value in coefficients[1:]:
            if value == 0:
                run += 1
                continue
            while run > 15:
                self.put(0xF0, 9)
                run -= 16
            size, low = self.level(value)
            self.put(run << 4 | size, 9)
            self.put(low, size)
            run = 0
        if run:
            self.put(0, 9)

    def stuffed(self) -> bytes:
        padded = self.bits + [1] * (-len(self.bits) % 8)
        self.bits = []
        return np.packbits(np.array(padded, np.uint8)).tobytes().replace(b"\xff", b"\xff\0")


def coefficients(rng: np.random.Generator, blocks: int, strength: float) -> list[list[int]]:
    """Of blocks whose brightness wanders, and whose details fade: in zigzag order."""
    fade = strength / (1 + np.arange(64)) ** 1.2
    values = np.rint(rng.standard_normal((blocks, 64)) * fade).astype(int)
    values[:, 0] = np.clip(np.cumsum(rng.integers(-9, 10, blocks)), -60, 60)
    return values.tolist()


def write_jpeg(
    rng: np.random.Generator,
    width: int,
    height: int,
    sampling: list[tuple[int, int]],
    *,
    adobe: str | None = None,
    jfif: bool = False,
    ids: bytes = b"\1\2\3\4",
    restart: int = 0,
    separate: bool = False,
    strength: float = 12,
) -> bytes:
    """`sampling` is (horizontal, vertical) of each component; `adobe` the marker's colours; `restart` in MCUs."""
    out = b"\xff\xd8"
    if jfif:
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if adobe:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([ADOBE[adobe]]))
    steps = np.clip(8 + 2 * np.arange(64), 1, 255).astype(np.uint8)
    out += segment(0xDB, b"\0" + steps.tobytes())
    parts = b"".join(bytes([ids[n], h << 4 | v, 0]) for n, (h, v) in enumerate(sampling))
    out += segment(0xC0, struct.pack(">BHHB", 8, height, width, len(sampling)) + parts)
    out += segment(0xC4, b"\0" + bytes([0, 0, 0, 0, 12] + [0] * 11) + bytes(range(12)))
    out += segment(0xC4, b"\x10" + bytes([0] * 8 + [255] + [0] * 7) + bytes(range(255)))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))

    most_h, most_v = max(h for h, _ in sampling), max(v for _, v in sampling)

    def scan(components: list[int]) -> bytes:
        chosen = [sampling[n] for n in components]
        if len(components) == 1:  # its own blocks alone
            (h, v), chosen = chosen[0], [(1, 1)]
            columns = -(-(-(-width * h // most_h)) // 8)
            rows = -(-(-(-height * v // most_v)) // 8)
        else:
            columns, rows = -(-width // (8 * most_h)), -(-height // (8 * most_v))
        named = b"".join(bytes([ids[n], 0]) for n in components)
        data = segment(0xDA, bytes([len(components)]) + named + b"\0\x3f\0")
        units = columns * rows
        blocks = [coefficients(rng, units * h * v, strength) for h, v in chosen]
        bits, predicted = Bits(), [0] * len(chosen)
        for unit in range(units):
            if restart and unit and unit % restart == 0:
                data += bits.stuffed() + bytes([0xFF, 0xD0 + (unit // restart - 1) % 8])
                predicted = [0] * len(chosen)
            for n, (h, v) in enumerate(chosen):
                for block in blocks[n][unit * h * v : (unit + 1) * h * v]:
                    bits.block(block, predicted[n])
                    predicted[n] = block[0]
        return data + bits.stuffed()

    every = list(range(len(sampling)))
    scans = [[n] for n in every] if separate else [every]
    return out + b"".join(scan(components) for components in scans) + b"\xff\xd9"
