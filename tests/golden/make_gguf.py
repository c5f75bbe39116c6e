"""Writes gguf/: tiny files as the gguf package writes them, for the test of the reader; and ../fuzz/gguf: the first inputs
of its fuzzer, whole files and headers of the shapes that have broken other readers.

    python make_gguf.py

What they hold stands in tests/files/gguf_test.cpp once more: number i of a tensor is its first number plus i.
"""

import shutil
import struct
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFEndian, GGUFValueType, GGUFWriter, quants

OUT = Path(__file__).resolve().parent / "gguf"
FUZZ = OUT.parents[1] / "fuzz" / "gguf"


def numbers(first: int, *shape: int) -> numpy.ndarray:
    return numpy.arange(first, first + numpy.prod(shape), dtype=numpy.float32).reshape(shape)


def write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def values() -> None:
    writer = GGUFWriter(OUT / "values.gguf", "qwen3")
    writer.add_custom_alignment(64)
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_uint{bits}")(f"highest.u{bits}", 2**bits - 1)
        getattr(writer, f"add_int{bits}")(f"lowest.i{bits}", -(2 ** (bits - 1)))
    writer.add_float32("one_third.f32", 1 / 3)
    writer.add_float64("one_third.f64", 1 / 3)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "été 日本 \0 end")
    writer.add_array("strings", ["a", "", "Ġthe", "<|im_end|>"])
    writer.add_array("integers", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.5])
    writer.add_array("bools", [True, False, True])
    writer.add_key_value("wide", [2**40, 7], GGUFValueType.ARRAY, GGUFValueType.UINT64)
    writer.add_tensor("vector", numbers(1, 3))
    writer.add_tensor("matrix.f16", numbers(10, 2, 3).astype(numpy.float16))
    writer.add_tensor("experts", numbers(0, 2, 3, 4))
    writer.add_tensor("matrix.i32", numbers(5, 2, 2).astype(numpy.int32))
    for name in ("Q8_0", "Q4_1", "BF16"):
        kind = GGMLQuantizationType[name]
        writer.add_tensor(f"matrix.{name.lower()}", quants.quantize(numbers(-64, 2, 64), kind), raw_dtype=kind)
    write(writer)


def parts() -> None:
    writer = GGUFWriter(OUT / "parts.gguf", "qwen2", split_max_tensors=2)
    writer.add_uint32("qwen2.block_count", 2)
    for i in range(5):
        writer.add_tensor(f"blk.{i}.weight", numbers(100 * i, 2, 4))
    write(writer)


def others() -> None:
    writer = GGUFWriter(OUT / "no_tensors.gguf", "llama")
    write(writer)
    writer = GGUFWriter(OUT / "big_endian.gguf", "qwen3", endianess=GGUFEndian.BIG)
    writer.add_tensor("vector", numbers(1, 3))
    write(writer)


def text(content: str, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if length is None else length) + content.encode()


def start(tensors: int, keys: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)


def tensor(sizes: list[int], kind: int = 0, offset: int = 0, name: str = "w") -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def hostile() -> dict[str, bytes]:
    key, data = text("k"), bytes(64)
    alignment = text("general.alignment") + struct.pack("<II", 4, 0)
    return {
        "tensors_times_entry_wraps": start(2**64 // 64 + 1, 0) + data,
        "keys_times_entry_wraps": start(0, 2**64 // 48 + 1) + data,
        "string_length_plus_one_wraps": start(0, 1) + key + struct.pack("<IQ", 8, 2**64 - 1) + data,
        "key_length_plus_one_wraps": start(0, 1) + text("k", 2**64 - 1) + data,
        "array_times_element_wraps": start(0, 1) + key + struct.pack("<IIQ", 9, 10, 2**61) + data,
        "strings_times_entry_wraps": start(0, 1) + key + struct.pack("<IIQ", 9, 8, 2**60) + data,
        "arrays_of_arrays": start(0, 1) + key + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 2000,
        "kind_without_size": start(0, 1) + key + struct.pack("<I", 200) + data,
        "kind_of_elements_without_size": start(0, 1) + key + struct.pack("<IIQ", 9, 200, 3) + data,
        "alignment_zero": start(1, 1) + alignment + tensor([4]) + data,
        "five_dimensions": start(1, 0) + tensor([1] * 5) + data,
        "many_dimensions": start(1, 0) + text("w") + struct.pack("<I", 2**32 - 1) + data,
        "dimensions_wrap_to_small": start(1, 0) + tensor([2**32, 2**32 // 4 + 1, 1, 1]) + data,
        "dimension_negative": start(1, 0) + tensor([2**64 - 32, 1]) + data,
        "dimension_zero": start(1, 0) + tensor([0, 2**62, 2**62, 4]) + data,
        "block_size_zero": start(1, 0) + tensor([32], kind=4) + data,
        "type_beyond_table": start(1, 0) + tensor([32], kind=2**32 - 1) + data,
        "row_of_no_whole_blocks": start(1, 0) + tensor([33], kind=12) + data,
        "sizes_sum_wraps": start(2, 0) + tensor([2**61 - 8]) + tensor([2**61 - 8], offset=32, name="v") + data,
        "offset_plus_size_wraps": start(1, 0) + tensor([16], offset=2**64 - 32) + data,
        "overlap": start(2, 0) + tensor([16]) + tensor([8], offset=32, name="v") + bytes(128),
    }


shutil.rmtree(OUT, ignore_errors=True)
shutil.rmtree(FUZZ, ignore_errors=True)
OUT.mkdir()
FUZZ.mkdir()
values()
parts()
others()
for path in OUT.glob("*.gguf"):
    shutil.copy(path, FUZZ)
for name, content in hostile().items():
    (FUZZ / f"{name}.gguf").write_bytes(content)
