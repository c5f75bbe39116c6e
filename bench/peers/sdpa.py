"""PyTorch's scaled_dot_product_attention at the shapes of bench/cuda/attention.cu: what a user of attention.cuh would use instead.

    python sdpa.py [--device cuda] [--backend flash cudnn]

The cases have the names that bench_cuda_attention prints. Windows and sinks are left out, which SDPA has not.
"""

import argparse
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from timing import describe, measure

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
# heads, key heads, head_dim
TOWER_300M, TOWER_6B = (16, 16, 64), (25, 25, 128)
QWEN2_05B, QWEN3_06B, QWEN3_8B = (14, 2, 64), (16, 8, 128), (32, 8, 128)
# name, shape, causal, sequences, rows, keys
CASES = [
    ("300M tower, 1 tile", TOWER_300M, False, 1, 1025, 1025),
    ("300M tower, 12 tiles", TOWER_300M, False, 12, 1025, 1025),
    ("6B tower, 12 tiles", TOWER_6B, False, 12, 1025, 1025),
    ("InternVL3-1B prompt", QWEN2_05B, True, 1, 2048, 2048),
    ("1B prompt", QWEN3_06B, True, 1, 2048, 2048),
    ("8B prompt", QWEN3_8B, True, 1, 2048, 2048),
    ("8B prompt's last chunk", QWEN3_8B, True, 1, 512, 8192),
    ("InternVL3-1B decode", QWEN2_05B, True, 1, 1, 2048),
    ("1B decode", QWEN3_06B, True, 1, 1, 2048),
    ("8B decode", QWEN3_8B, True, 1, 1, 2048),
    ("8B decode", QWEN3_8B, True, 1, 1, 32768),
    ("InternVL3-1B decode", QWEN2_05B, True, 32, 1, 2048),
    ("1B decode", QWEN3_06B, True, 32, 1, 2048),
    ("8B decode", QWEN3_8B, True, 8, 1, 2048),
    ("8B decode", QWEN3_8B, True, 32, 1, 2048),
    ("8B decode", QWEN3_8B, True, 32, 1, 8192),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=["flash", "cudnn"])
    parser.add_argument("--samples", type=int, default=25)
    parser.add_argument("--only", default="", help="cases with this in their name")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # backends say at length why they refuse, and raise an error too
    device = arguments.device
    print(f"SDPA, bf16: {describe(device)}\n")
    print("| case | backend | us | noise | GB/s | TFLOP/s |\n|---|---|---:|---:|---:|---:|")
    for name, (heads, key_heads, width), causal, sequences, rows, keys in CASES:
        name = f"{name}, {sequences} x {rows} of {keys}"
        if arguments.only not in name:
            continue

        def random(count, length):
            return torch.randn(sequences, count, length, width, dtype=torch.bfloat16, device=device)

        q, k, v = random(heads, rows), random(key_heads, keys), random(key_heads, keys)
        mask = causal_lower_right(rows, keys) if causal and 1 < rows < keys else None
        options = dict(attn_mask=mask, is_causal=causal and rows == keys, enable_gqa=heads != key_heads)
        bytes_moved = 2 * (2 * q.numel() + k.numel() + v.numel())
        pairs = sum(keys - rows + row + 1 for row in range(rows)) if causal else rows * keys
        flops = 4 * sequences * heads * pairs * width
        for backend in arguments.backend:
            try:
                with sdpa_kernel(BACKENDS[backend]):
                    median, noise = measure(
                        lambda: F.scaled_dot_product_attention(q, k, v, **options), device, arguments.samples
                    )
            except Exception as error:  # of several kinds, by version
                reason = str(error).strip() or type(error).__name__
                print(f"| {name} | {backend} | refused: {reason.splitlines()[0]} | | | |", flush=True)
                continue
            print(
                f"| {name} | {backend} | {1e6 * median:.1f} | {100 * noise:.0f} % "
                f"| {1e-9 * bytes_moved / median:.0f} | {1e-12 * flops / median:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
