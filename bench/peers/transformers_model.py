"""transformers' InternVL with random weights of a checkpoint's sizes: decode, prefill and one vision tile, as bench_model
measures them.

    python transformers_model.py --type internvl3_5_1b [--device cuda] [--only decode]

bfloat16 and SDPA attention. Keys and values are in the cache that `generate` takes by itself; where --compile is given, in a
static one, and the decoding step goes through torch.compile, as `generate` does with it.
"""

import argparse
import time

import torch
import transformers
from transformers import DynamicCache, InternVLConfig, InternVLForConditionalGeneration, Qwen3Config, StaticCache
from transformers.models.internvl import InternVLVisionConfig

from timing import describe, summary

VISION_300M = dict(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=[448, 448],
    patch_size=[14, 14], attention_bias=True, norm_type="layer_norm", layer_norm_eps=1e-6, use_qk_norm=False,
)
TYPES = {
    "tiny": (
        dict(VISION_300M, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=96),
        dict(vocab_size=512, hidden_size=64, num_hidden_layers=2, intermediate_size=96, num_attention_heads=2, num_key_value_heads=1,
             head_dim=32),
    ),
    "internvl3_5_1b": (
        VISION_300M,
        dict(vocab_size=151936, hidden_size=1024, num_hidden_layers=28, intermediate_size=3072, num_attention_heads=16,
             num_key_value_heads=8, head_dim=128, tie_word_embeddings=True),
    ),
    "internvl3_5_8b": (
        VISION_300M,
        dict(vocab_size=151936, hidden_size=4096, num_hidden_layers=36, intermediate_size=12288, num_attention_heads=32,
             num_key_value_heads=8, head_dim=128, tie_word_embeddings=False),
    ),
}


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(device, body, samples):
    """Median seconds and noise on the host's clock, after one run that does not count."""
    body()
    seconds = []
    for _ in range(samples):
        wait(device)
        begin = time.perf_counter()
        body()
        wait(device)
        seconds.append(time.perf_counter() - begin)
    return summary(seconds)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--type", choices=TYPES, required=True)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--only", default="", help="figures with this in their name")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--rows", type=int, default=512, help="of a prefill")
    parser.add_argument("--steps", type=int, default=8, help="of one sample of decoding")
    parser.add_argument("--compile", action="store_true", help="the decoding step by torch.compile with CUDA graphs")
    arguments = parser.parse_args()
    device = arguments.device

    vision, text = TYPES[arguments.type]
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**vision),
        text_config=Qwen3Config(max_position_embeddings=40960, **text),
        image_seq_length=256,
    )
    torch.manual_seed(0)
    with device:
        model = InternVLForConditionalGeneration._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    language = model.model.language_model
    compiled = ", compiled" if arguments.compile else ""
    print(f"transformers {transformers.__version__}, {arguments.type}, bf16, SDPA{compiled}: {describe(device)}", flush=True)

    def report(name, unit, value, noise):
        print(f"{name:22} {value:10.2f} {unit:6} {100 * noise:6.1f} %", flush=True)

    def cache_for(tokens):
        return StaticCache(config=config.text_config, max_cache_len=tokens) if arguments.compile else DynamicCache()

    def ids(count):
        return torch.randint(0, text["vocab_size"], (1, count), device=device)

    def logits_of(tokens, cache):
        hidden = language(input_ids=tokens, past_key_values=cache, use_cache=True).last_hidden_state
        return model.lm_head(hidden[:, -1:])

    if arguments.only in "prefill":
        prompt = ids(arguments.rows)
        median, noise = measure(device, lambda: logits_of(prompt, cache_for(arguments.rows)), arguments.samples)
        report(f"prefill_{arguments.rows}", "tok/s", arguments.rows / median, noise)
    step = torch.compile(logits_of, mode="reduce-overhead") if arguments.compile else logits_of
    for context in (1, 512, 4096):
        name = "decode" if context == 1 else f"decode_at_{context}"
        if arguments.only not in name:
            continue
        # The sequence grows from sample to sample, as bench_model's does.
        cache = cache_for(context + arguments.steps * (arguments.samples + 1))
        if context > 1:
            logits_of(ids(context - 1), cache)

        def decode():
            token = ids(1)
            for _ in range(arguments.steps):
                token = step(token, cache).argmax(-1)

        median, noise = measure(device, decode, arguments.samples)
        report(name, "tok/s", arguments.steps / median, noise)
    if arguments.only in "vision_1_tile":
        pixels = torch.randn(1, 3, 448, 448, dtype=torch.bfloat16, device=device)
        median, noise = measure(device, lambda: model.get_image_features(pixel_values=pixels), arguments.samples)
        report("vision_1_tile", "ms", 1e3 * median, noise)


if __name__ == "__main__":
    main()
