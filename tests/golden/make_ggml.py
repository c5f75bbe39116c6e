"""Writes ggml/blocks.json: hashes of what the gguf package dequantises from drawn blocks of every type.

    python make_ggml.py

Byte i of a type's blocks is byte i % 8 of word i // 8, and word n is mix((n + 1) * STEP) with splitmix64's mix. The top bit of
the exponent of every half that is a scale is then cleared, so that no scale is infinite; MXFP4's scale 255, which is not a
number, becomes 254. The hash of floats is the sum over i of mix((i + 1) * STEP ^ bits of float i), modulo 2^64.

And ggml/quantised.json: hashes of what it quantises drawn floats to, for the types that it can. Float i comes from word i of
the same words: its top 24 bits as a number in [-1, 1), times 2^(n % 9 - 6) in block n of 32. In every fourth block the numbers
are multiples of 2^-4 of that power, so that codes meet ties; in every 16th all are 0. The hash is that of the bytes.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

OUT = Path(__file__).resolve().parent / "ggml" / "blocks.json"
STEP = numpy.uint64(0x9E3779B97F4A7C15)
COUNTS = [1000, 100_000]
QUANTISERS, QUANTISED = ["Q4_0", "Q5_0", "Q5_1", "Q8_0", "MXFP4"], 20_000
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


def hash_of_numbers(numbers: numpy.ndarray) -> str:
    return f"{int(mix(steps(numbers.size) ^ numbers.astype(numpy.uint64)).sum(dtype=numpy.uint64)):016x}"


def hash_of(floats: numpy.ndarray) -> str:
    return hash_of_numbers(floats.astype("<f4").reshape(-1).view("<u4"))


def drawn_floats(blocks: int) -> numpy.ndarray:
    numbers = (mix(steps(32 * blocks)) >> numpy.uint64(40)).astype(numpy.float32).reshape(blocks, 32) / 2**23 - 1
    numbers[::4] = numpy.floor(numbers[::4] * 16) / 16
    numbers[::16] = 0
    return numpy.ldexp(numbers, (numpy.arange(blocks) % 9 - 6)[:, None]).astype(numpy.float32)


def main() -> None:
    hashes = {}
    for name in SCALES:
        floats = quants.dequantize(drawn_blocks(name, COUNTS[-1]), GGMLQuantizationType[name])
        assert not numpy.isnan(floats).any(), name
        hashes[name.lower()] = {str(count): hash_of(floats[:count]) for count in COUNTS}
    OUT.parent.mkdir(exist_ok=True)
    versions = {"gguf": version("gguf")}
    OUT.write_text(json.dumps({"versions": versions, "hashes": hashes}, indent=1) + "\n")
    floats = drawn_floats(QUANTISED)
    quantised = {n.lower(): hash_of_numbers(quants.quantize(floats, GGMLQuantizationType[n]).reshape(-1)) for n in QUANTISERS}
    record = {"versions": versions, "blocks": QUANTISED, "hashes": quantised}
    (OUT.parent / "quantised.json").write_text(json.dumps(record, indent=1) + "\n")


main()
