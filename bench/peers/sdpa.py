"""PyTorch's scaled_dot_product_attention at the shapes of the checkpoints: what a user of attention.cuh would use instead.

    python sdpa.py [--device cuda] [--backend flash cudnn]

FlashAttention takes grouped heads; the prompt's and the tile's keys are as many as the queries, a decoding row sees all.
"""

import argparse

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from timing import measure

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
# name, sequences, query rows, keys, heads, key heads, head_dim, causal
CASES = [
    ("vision tile, 300M", 13, 1025, 1025, 16, 16, 64, False),
    ("vision tile, 6B", 4, 1025, 1025, 25, 25, 128, False),
    ("prefill 2048, 8B", 1, 2048, 2048, 32, 8, 128, True),
    ("decode at 4096, 8B", 1, 1, 4096, 32, 8, 128, False),
    ("decode at 4096, 8B, 32 sequences", 32, 1, 4096, 32, 8, 128, False),
    ("decode at 4096, 1B", 1, 1, 4096, 16, 8, 128, False),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=["flash", "cudnn"])
    parser.add_argument("--samples", type=int, default=25)
    arguments = parser.parse_args()
    print(f"PyTorch {torch.__version__} SDPA, bf16\n")
    print("| case | backend | us | noise | GB/s | TFLOP/s |\n|---|---|---:|---:|---:|---:|")
    for name, sequences, rows, keys, heads, key_heads, width, causal in CASES:
        def random(count, length):
            return torch.randn(sequences, count, length, width, dtype=torch.bfloat16, device=arguments.device)

        q, k, v = random(heads, rows), random(key_heads, keys), random(key_heads, keys)
        bytes_moved = 2 * (2 * q.numel() + k.numel() + v.numel())
        flops = 4 * sequences * heads * rows * keys * width / (2 if causal else 1)
        for backend in arguments.backend:
            try:
                with sdpa_kernel(BACKENDS[backend]):
                    median, noise = measure(
                        lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != key_heads),
                        arguments.device,
                        arguments.samples,
                    )
            except RuntimeError as error:
                print(f"| {name} | {backend} | refused: {str(error).splitlines()[0]} | | | |")
                continue
            print(
                f"| {name} | {backend} | {1e6 * median:.1f} | {100 * noise:.0f} % "
                f"| {1e-9 * bytes_moved / median:.0f} | {1e-12 * flops / median:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
