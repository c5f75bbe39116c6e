"""Writes sampling/golden.json and sampling/ids.safetensors: what transformers' logits processors leave of drawn rows of logits.

    python make_sampling.py

Each case of golden.json has `options`, as generation_config.json spells them, 1000 rows (`rows`: their numbers) and in
ids.safetensors, under the case's name, four ids a row: the first and the last token that is left, and those at 0.37 and 0.81 of the
weight of all that are left, from the likeliest down; in the order of ids where there is no top_k, top_p or min_p.

Row n has WIDTH logits, of the deviation 2.3: word w = mix(n + (i + 1) * STEP) with splitmix64's mix for logit i, which is the sum of
w's four 16-bit parts less 131070, times 2^-14; a row whose number is a multiple of 5 is rounded to sixteenths, so that many are equal. Its tokens are
word % WIDTH of mix(~n + (i + 1) * STEP), LENGTH of them, of which the first PROMPT are the prompt; in every even row they are word % 6.

Processors are put together by transformers' own `_get_logits_processor`. Frequency and presence penalty, which it does not have, come
behind its processors and before its warpers, by vLLM's formula: logits - frequency * counts - presence * (counts > 0), counts being those
of the answer's tokens. A row is left out where rounding would decide: where a cut, or 0.37 or 0.81, is nearer than 1e-5 to an edge, or
where equal logits stand on both sides of top-p's cut, which torch.sort places as it likes.
"""

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import GenerationConfig, GenerationMixin, LogitsProcessorList

OUT = Path(__file__).resolve().parent / "sampling"
STEP = np.uint64(0x9E3779B97F4A7C15)
WIDTH, LENGTH, PROMPT, ROWS, AT = 300, 40, 25, 1000, (0.37, 0.81)
EOS = [7, 250]
BAD = [[3], [1, 2], [4, 4], [0, 1, 5], [2, 3, 1, 200], [7]]
BIAS = [[[5], 2.5], [[290], -3.0], [[2, 0], 4.0], [[1, 5], -1.5], [[0, 3, 1], 6.0]]
CASES = {
    "temperature": {"do_sample": True, "temperature": 0.6},
    "top_k": {"do_sample": True, "top_k": 20},
    "top_k_1": {"do_sample": True, "top_k": 1},
    "top_p": {"do_sample": True, "top_p": 0.9},
    "top_p_small": {"do_sample": True, "top_p": 0.2},
    "min_p": {"do_sample": True, "min_p": 0.05},
    "temperature_top_k_top_p_min_p": {"do_sample": True, "temperature": 0.7, "top_k": 60, "top_p": 0.95, "min_p": 0.01},
    "repetition_penalty": {"do_sample": True, "repetition_penalty": 1.3},
    "repetition_reward_greedy": {"repetition_penalty": 0.7},
    "frequency_penalty": {"do_sample": True, "frequency_penalty": 0.8},
    "presence_penalty": {"do_sample": True, "presence_penalty": 1.5},
    "all_penalties": {"do_sample": True, "temperature": 1.5, "top_p": 0.9, "repetition_penalty": 1.2,
                      "frequency_penalty": -0.4, "presence_penalty": 0.9},
    "no_repeat_ngram_size_1": {"no_repeat_ngram_size": 1},
    "no_repeat_ngram_size_2": {"do_sample": True, "top_k": 40, "no_repeat_ngram_size": 2},
    "no_repeat_ngram_size_3": {"do_sample": True, "no_repeat_ngram_size": 3},
    "bad_words_ids": {"do_sample": True, "bad_words_ids": BAD},
    "sequence_bias": {"do_sample": True, "sequence_bias": BIAS},
    "min_new_tokens": {"min_new_tokens": 16},
    "min_new_tokens_reached": {"min_new_tokens": 15},
    "min_length": {"do_sample": True, "min_length": 41},
    "all": {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.97, "min_p": 0.005, "repetition_penalty": 1.15,
            "frequency_penalty": 0.2, "presence_penalty": 0.3, "no_repeat_ngram_size": 2, "bad_words_ids": BAD,
            "sequence_bias": BIAS, "min_new_tokens": 20},
}  # fmt: skip


def words(start: int, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        w = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * STEP
        w = (w ^ w >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        w = (w ^ w >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return w ^ w >> np.uint64(31)


def row(n: int) -> tuple[np.ndarray, np.ndarray]:
    parts = words(n, WIDTH).view("<u2").reshape(WIDTH, 4).astype(np.int64)
    logits = (parts.sum(axis=1) - 131070).astype(np.float32) * np.float32(2.0**-14)
    if n % 5 == 0:
        logits = np.rint(logits * 16).astype(np.float32) / np.float32(16)
    tokens = words(~n % 2**64, LENGTH) % np.uint64(6 if n % 2 == 0 else WIDTH)
    return logits, tokens.astype(np.int64)


def processors(options: dict):
    own = {k: v for k, v in options.items() if k not in ("frequency_penalty", "presence_penalty")}
    config = GenerationConfig(**({"top_k": 0, "eos_token_id": EOS} | own))
    config._eos_token_tensor = torch.tensor(EOS)

    def penalise(ids, scores):
        counts = torch.zeros_like(scores).scatter_add_(1, ids[:, PROMPT:], torch.ones(ids[:, PROMPT:].shape))
        scores = scores - options.get("frequency_penalty", 0.0) * counts
        return scores - options.get("presence_penalty", 0.0) * (counts > 0)

    model = SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=False))
    model._merge_criteria_processor_list = lambda default, custom: LogitsProcessorList([*default, *custom])
    return GenerationMixin._get_logits_processor(model, config, PROMPT, None, None, [penalise], "cpu", {})


def ids_of(options: dict, n: int, of_row) -> list[int] | None:
    """Of row n, or None where rounding decides."""
    logits, tokens = row(n)
    scores = of_row(torch.from_numpy(tokens)[None], torch.from_numpy(logits)[None].clone())[0].double().numpy()
    kept = scores > -np.inf
    order = np.argsort(-scores, kind="stable")[: kept.sum()]
    best = int(order[0])
    if not options.get("do_sample"):
        return [best] * 4 if len(order) == 1 or scores[best] - scores[order[1]] > 1e-5 or scores[best] == scores[order[1]] else None
    p = np.exp(scores - scores[best])
    cut = np.exp(scores_before_cuts(options, logits, tokens) - scores[best])
    if "top_p" in options:
        sorted_weights = np.sort(cut)[::-1]
        if "top_k" in options:
            sorted_weights = sorted_weights[sorted_weights >= sorted_weights[options["top_k"] - 1]]
        edges = np.cumsum(sorted_weights) / sorted_weights.sum()
        if np.abs(edges - options["top_p"]).min() < 1e-5:
            return None
        at = int(np.searchsorted(edges, options["top_p"]))
        if at + 1 < len(sorted_weights) and sorted_weights[at] == sorted_weights[at + 1]:
            return None
    if "min_p" in options and np.abs(cut / options["min_p"] - 1).min() < 1e-5:
        return None
    if any(key in options for key in ("top_k", "top_p", "min_p")):
        share = p[order]
    else:
        order, share = np.flatnonzero(kept), p[kept]
    edges = np.cumsum(share) / share.sum()
    if min(np.abs(edges[:-1] - at).min(initial=1) for at in AT) < 1e-5:
        return None
    return [int(order[0]), int(order[-1]), *(int(order[np.searchsorted(edges, at, side="right")]) for at in AT)]


def scores_before_cuts(options: dict, logits, tokens) -> np.ndarray:
    """What top-k, top-p and min-p are given."""
    uncut = {k: v for k, v in options.items() if k not in ("top_k", "top_p", "min_p")}
    scores = processors(uncut)(torch.from_numpy(tokens)[None], torch.from_numpy(logits)[None].clone())
    return scores[0].double().numpy()


def main() -> None:
    torch.set_num_threads(1)
    golden = {"transformers": version("transformers"), "torch": version("torch"), "width": WIDTH, "length": LENGTH,
              "prompt": PROMPT, "eos_token_id": EOS, "at": AT, "cases": []}  # fmt: skip
    tensors = {}
    for index, (name, options) in enumerate(CASES.items()):
        of_row = processors(options)
        rows, ids, n = [], [], 10_000 * index
        while len(rows) < ROWS:
            found = ids_of(options, n, of_row)
            if found is not None:
                rows.append(n)
                ids.append(found)
            n += 1
        skipped = sorted(set(range(rows[0], rows[-1] + 1)) - set(rows))
        print(name, "left out", len(skipped))
        golden["cases"].append({"name": name, "options": options, "first": rows[0], "left_out": skipped})
        tensors[name] = np.array(ids, np.int16)
    OUT.mkdir(exist_ok=True)
    (OUT / "golden.json").write_text(json.dumps(golden) + "\n")
    save_file(tensors, OUT / "ids.safetensors")


if __name__ == "__main__":
    main()
