"""Writes quantised/matrices.json: hashes of what drawn planes of quantised matrices mean, by numpy, from the published layouts.

    python make_quantised.py

Byte i of a tensor is byte i % 8 of word i // 8, and word n is mix(seed + (n + 1) * STEP) with splitmix64's mix; the seed is the
FNV-1a-64 of the tensor's name. In FP8 codes that are NaN lose their lowest bit. A scale takes four bytes as a word w: it is the
float with the exponent `exponent` - (w >> 30) and the mantissa w % 2^23, cut (not rounded) to its type. A U8 is 0. Shapes,
types and the configs stand in the file; `sha256` is of the matrix [out, in] as little-endian floats.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import ml_dtypes
import numpy as np

OUT = Path(__file__).resolve().parent / "quantised" / "matrices.json"
STEP = np.uint64(0x9E3779B97F4A7C15)
LAYER, TOWER = "language_model.model.layers.0.", "vision_model.encoder.layers.0."
# [out, in] of a decoder layer 128 wide, with 3 : 1 heads of 64 and an MLP of 256; of a tower's layer and a projector in
# the GitHub format; and of the experts of qwen3_moe_tiny.
DENSE = {
    "self_attn.q_proj": (192, 128), "self_attn.k_proj": (64, 128), "self_attn.v_proj": (64, 128), "self_attn.o_proj": (128, 192),
    "mlp.gate_proj": (256, 128), "mlp.up_proj": (256, 128), "mlp.down_proj": (128, 256),
}  # fmt: skip
VISION = {
    TOWER + "attn.qkv": (192, 64), TOWER + "attn.proj": (64, 64), TOWER + "mlp.fc1": (80, 64), TOWER + "mlp.fc2": (64, 80),
    "mlp1.1": (128, 256), "mlp1.3": (128, 128),
}  # fmt: skip
NO_OUT = {name: shape for name, shape in DENSE.items() if name != "self_attn.o_proj"}  # 192 is no multiple of 128
EXPERTS = {
    f"mlp.experts.{e}.{part}_proj": (64, 32) if part == "down" else (32, 64) for e in range(8) for part in ("gate", "up", "down")
}


def mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def drawn_bytes(name: str, count: int) -> np.ndarray:
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        words = mix(np.uint64(seed) + np.arange(1, (count + 7) // 8 + 1, dtype=np.uint64) * STEP)
    return words.astype("<u8").view(np.uint8)[:count].copy()


def drawn(name: str, dtype: str, shape: tuple, exponent: int) -> np.ndarray:
    count = int(np.prod(shape, dtype=int))
    if dtype == "I32":
        return drawn_bytes(name, 4 * count).view("<u4").reshape(shape)
    if dtype == "I8":
        return drawn_bytes(name, count).view(np.int8).reshape(shape)
    if dtype == "U8":
        return np.zeros(shape, np.uint8)
    if dtype == "F8_E4M3":
        codes = drawn_bytes(name, count)
        codes[codes & 127 == 127] &= 254
        return codes.view(ml_dtypes.float8_e4m3fn).reshape(shape)
    words = drawn_bytes(name, 4 * count).view("<u4")
    bits = (np.uint32(127 + exponent) - (words >> 30) << np.uint32(23)) | words & np.uint32(2**23 - 1)
    if dtype == "BF16":
        bits &= np.uint32(0xFFFF0000)
    if dtype == "F16":
        bits &= np.uint32(0xFFFFE000)
    return bits.view(np.float32).reshape(shape)


# ---- the layouts: {suffix: (type, shape)} of a matrix, and its floats from the drawn planes --------------------------
def awq_planes(n, k, scale):
    return {"qweight": ("I32", (k, n // 8)), "qzeros": ("I32", (k // 128, n // 8)), "scales": (scale, (k // 128, n))}


def awq_columns(words):
    """Nibble i of word c is column 8 c + order[i]."""
    columns = np.zeros((words.shape[0], words.shape[1], 8), np.int64)
    for i, j in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
        columns[:, :, j] = words >> np.uint32(4 * i) & np.uint32(15)
    return columns.reshape(words.shape[0], -1)


def awq_floats(planes, n, k):
    q, z = awq_columns(planes["qweight"]), awq_columns(planes["qzeros"]).repeat(128, axis=0)
    return ((q - z).astype(np.float32) * planes["scales"].repeat(128, axis=0)).T


def fp8_block_planes(n, k, scale):
    return {"weight": ("F8_E4M3", (n, k)), "weight_scale_inv": (scale, (-(-n // 128), -(-k // 128)))}


def fp8_block_floats(planes, n, k):
    scales = planes["weight_scale_inv"].repeat(128, axis=0).repeat(128, axis=1)[:n, :k]
    return planes["weight"].astype(np.float32) * scales


def compressed_block_planes(n, k, scale):
    return {"weight": ("F8_E4M3", (n, k)), "weight_scale": (scale, (-(-n // 128), -(-k // 128)))}


def compressed_block_floats(planes, n, k):
    return fp8_block_floats({"weight": planes["weight"], "weight_scale_inv": planes["weight_scale"]}, n, k)


def smooth_planes(n, k, scale):
    return {"weight": ("I8", (n, k)), "scale": (scale, (n, 1))}


def smooth_floats(planes, n, k):
    return planes["weight"].astype(np.float32) * planes["scale"]


def row_planes(code, shape_of_scales, more={}):
    return lambda n, k, scale: {"weight": (code, (n, k)), "weight_scale": (scale, shape_of_scales(n)), **more}


def row_floats(planes, n, k):
    return planes["weight"].astype(np.float32) * planes["weight_scale"]


def int4_planes(group, zeros):
    def planes(n, k, scale):
        plain = {"weight_packed": ("I32", (n, k // 8)), "weight_scale": (scale, (n, k // group))}
        return plain | ({"weight_zero_point": ("I32", (n // 8, k // group))} if zeros else {})

    return planes


def int4_floats(planes, n, k):
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    q = (planes["weight_packed"][:, :, None] >> shifts & np.uint32(15)).astype(np.int64).reshape(n, k)
    group, z = k // planes["weight_scale"].shape[1], np.int64(8)
    if "weight_zero_point" in planes:
        words = planes["weight_zero_point"]  # a word holds eight rows
        z = (words[:, None, :] >> shifts[None, :, None] & np.uint32(15)).astype(np.int64).reshape(n, -1).repeat(group, axis=1)
    return (q - z).astype(np.float32) * planes["weight_scale"].repeat(group, axis=1)


def llm_int8_planes(n, k, scale):
    return {"weight": ("I8", (n, k)), "SCB": (scale, (n,)), "weight_format": ("U8", ())}


def llm_int8_floats(planes, n, k):
    return planes["weight"].astype(np.float32) * planes["SCB"][:, None] * np.float32(0.007874015718698502)


# ---- the cases -------------------------------------------------------------------------------------------------------
def compressed(format, **weights):
    scheme = {"weights": {"dynamic": False, "symmetric": True} | weights, "input_activations": None, "targets": ["Linear"]}
    return {"quant_method": "compressed-tensors", "format": format, "quantization_status": "compressed",
            "config_groups": {"group_0": scheme}, "ignore": ["lm_head"]}  # fmt: skip


AWQ = {"quant_method": "awq", "version": "gemm", "bits": 4, "group_size": 128, "zero_point": True}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
FP8_WHOLE = {"quant_method": "fp8", "activation_scheme": "static"}
INT4 = {"num_bits": 4, "type": "int", "strategy": "group"}
# name: config, modules, exponent of the scales, their type, planes, floats
CASES = {
    "awq": (AWQ, NO_OUT, -6, "F16", awq_planes, awq_floats),
    "awq_bf16": (AWQ, NO_OUT, -6, "BF16", awq_planes, awq_floats),
    "awq_f32": (AWQ, NO_OUT, -6, "F32", awq_planes, awq_floats),
    "fp8_blocks": (FP8, DENSE, -12, "F32", fp8_block_planes, fp8_block_floats),
    "fp8_blocks_bf16": (FP8, DENSE, -12, "BF16", fp8_block_planes, fp8_block_floats),
    "fp8_experts": (FP8, EXPERTS, -12, "F32", fp8_block_planes, fp8_block_floats),
    "fp8_tensor": (FP8_WHOLE, DENSE, -12, "F32", row_planes("F8_E4M3", lambda n: (), {"input_scale": ("F32", ())}), row_floats),
    "fp8_one": (FP8_WHOLE, DENSE, -12, "BF16", row_planes("F8_E4M3", lambda n: (1,)), row_floats),
    "fp8_rows": (compressed("float-quantized", num_bits=8, type="float", strategy="channel"), DENSE, -12, "BF16",
                 row_planes("F8_E4M3", lambda n: (n, 1)), row_floats),
    "fp8_compressed_blocks": (compressed("float-quantized", num_bits=8, type="float", strategy="block", block_structure=[128, 128]),
                              DENSE, -12, "BF16", compressed_block_planes, compressed_block_floats),
    "smooth_quant": ({"quant_method": "smooth_quant", "quant_dtype": "int8"}, DENSE, -10, "F32", smooth_planes, smooth_floats),
    "int8": (compressed("int-quantized", num_bits=8, type="int", strategy="channel"), DENSE, -10, "BF16",
             row_planes("I8", lambda n: (n, 1)), row_floats),
    "int8_f32": (compressed("int-quantized", num_bits=8, type="int", strategy="channel"), DENSE, -10, "F32",
                 row_planes("I8", lambda n: (n, 1)), row_floats),
    "int4": (compressed("pack-quantized", group_size=128, **INT4), NO_OUT, -6, "BF16", int4_planes(128, False), int4_floats),
    "int4_zeros": (compressed("pack-quantized", group_size=32, **INT4, symmetric=False), DENSE, -6, "F16",
                   int4_planes(32, True), int4_floats),
    "llm_int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_threshold": 6.0}, DENSE | VISION, -3, "F32",
                 llm_int8_planes, llm_int8_floats),
}  # fmt: skip


def described(modules, exponent, scale, planes_of, floats_of) -> dict:
    matrices = {}
    for name, (n, k) in modules.items():
        name = LAYER + name if name.startswith(("mlp.", "self_attn.")) else name
        planes = planes_of(n, k, scale)
        tensors = {suffix: drawn(f"{name}.{suffix}", *plane, exponent) for suffix, plane in planes.items()}
        floats = floats_of(tensors, n, k)
        assert floats.shape == (n, k) and np.isfinite(floats).all()
        digest = hashlib.sha256(np.ascontiguousarray(floats, "<f4").tobytes()).hexdigest()
        matrices[name] = {"planes": planes, "sha256": digest}
    return matrices


def main() -> None:
    cases = {
        name: {"config": config, "exponent": rest[1], "matrices": described(rest[0], *rest[1:])}
        for name, (config, *rest) in CASES.items()
    }
    OUT.parent.mkdir(exist_ok=True)
    versions = {package: version(package) for package in ("ml-dtypes", "numpy")}
    OUT.write_text(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
