"""Writes ggml/blocks.json: hashes of what the gguf package dequantises from drawn blocks of every type.

    python make_ggml.py

Byte i of a type's blocks is byte i % 8 of word i // 8, and word n is mix((n + 1) * STEP) with splitmix64's mix. The top bit of
the exponent of every half that is a scale is then cleared, so that no scale is infinite; MXFP4's scale 255, which is not a
number, becomes 254. The hash of floats is the sum over i of mix((i + 1) * STEP ^ bits of float i), modulo 2^64.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

OUT = Path(__file__).resolve().parent / "ggml" / "blocks.json"
STEP = numpy.uint64(0x9E3779B97F4A7C15)
COUNTS = [1000, 100_000]
# Where the high bytes of a block's halves are.
SCALES = {
    "Q4_0": [1], "Q4_1": [1, 3], "Q5_0": [1], "Q5_1": [1, 3], "Q8_0": [1], "Q2_K": [81, 83], "Q3_K": [109], "Q4_K": [1, 3],
    "Q5_K": [1, 3], "Q6_K": [209], "IQ4_NL": [1], "IQ4_XS": [1], "MXFP4": [], "IQ2_XXS": [1], "IQ2_XS": [1], "IQ2_S": [1],
    "IQ3_XXS": [1], "IQ3_S": [1], "IQ1_S": [1], "IQ1_M": [55],
}  # fmt: skip


def mix(words: numpy.ndarray) -> numpy.ndarray:
    words = (words ^ words >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    return words ^ words >> numpy.uint64(31)


def steps(count: int) -> numpy.ndarray:
    return numpy.arange(1, count + 1, dtype=numpy.uint64) * STEP


def drawn_blocks(name: str, count: int) -> numpy.ndarray:
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    words = mix(steps((count * size + 7) // 8))
    blocks = words.astype("<u8").view(numpy.uint8)[: count * size].reshape(count, size).copy()
    blocks[:, SCALES[name]] &= 0xBF
    if name == "MXFP4":
        blocks[:, 0] = numpy.minimum(blocks[:, 0], 254)
    return blocks


def hash_of(floats: numpy.ndarray) -> str:
    bits = floats.astype("<f4").reshape(-1).view("<u4").astype(numpy.uint64)
    return f"{int(mix(steps(bits.size) ^ bits).sum(dtype=numpy.uint64)):016x}"


def main() -> None:
    hashes = {}
    for name in SCALES:
        floats = quants.dequantize(drawn_blocks(name, COUNTS[-1]), GGMLQuantizationType[name])
        assert not numpy.isnan(floats).any(), name
        hashes[name.lower()] = {str(count): hash_of(floats[:count]) for count in COUNTS}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"versions": {"gguf": version("gguf")}, "hashes": hashes}, indent=1) + "\n")


main()
