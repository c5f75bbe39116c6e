"""The tokenizer and the chat template of the toy: text to ids, dialogues to training sequences."""

import functools
import random
from dataclasses import dataclass

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from scenes import draw_scene

VOCABULARY = 512
TOKENS_A_TILE = 16
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<video>",
]
PLAIN = ["<think>", "</think>"]  # added tokens that stay visible when special ones are skipped
ADDED = SPECIAL[:3] + PLAIN + SPECIAL[3:]
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(seed=1):
    """Byte-level BPE learned from questions and sentences; never from signs, so capitals and digits
    have no merges and are spelt one by one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(seed)
    lines = ["Image-1: ", "\nImage-2: ", "user\n", "assistant\n", "system\n"] * 500
    for _ in range(1500):
        for dialogue in draw_scene(rng).dialogues:
            for turn in dialogue:
                lines.append("\n" + turn.question)
                lines += [a for a in turn.answers if not a.isupper() and not a.isdigit()]
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(ADDED),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.add_tokens([AddedToken(t, special=t in SPECIAL, normalized=False) for t in ADDED])
    assert tokenizer.get_vocab_size() <= VOCABULARY
    return tokenizer


@dataclass
class Sequence:
    """One scene as a token sequence. Dialogues share the pictures and do not see each other."""

    ids: np.ndarray
    positions: np.ndarray
    dialogue: np.ndarray  # 0: the part that all see
    targets: np.ndarray  # the id that comes next, -1 where nothing is to be learnt
    weights: np.ndarray
    answer: np.ndarray  # running number of the answer that a target belongs to


class Prompts:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.image_id = tokenizer.token_to_id("<IMG_CONTEXT>")
        self.end_id = tokenizer.token_to_id("<|im_end|>")
        self.encode = functools.lru_cache(maxsize=20000)(lambda text: tokenizer.encode(text).ids)

    def pictures(self, tiles):
        """Ids of the start of the user's turn: every picture with its number of tiles."""
        blocks = ["<img>" + "<IMG_CONTEXT>" * (TOKENS_A_TILE * n) + "</img>" for n in tiles]
        if len(blocks) > 1:
            blocks = [f"Image-{i}: {block}" for i, block in enumerate(blocks, 1)]
        return self.encode("<|im_start|>user\n" + "\n".join(blocks))

    def question(self, text, first):
        start = "\n" if first else "\n<|im_start|>user\n"
        return self.encode(f"{start}{text}<|im_end|>\n<|im_start|>assistant\n")

    def answer(self, text):
        return self.encode(text + "<|im_end|>")

    def sequence(self, tiles, dialogues):
        head = self.pictures(tiles)
        ids, positions, dialogue = list(head), list(range(len(head))), [0] * len(head)
        targets, weights, answer = [-1] * len(head), [0.0] * len(head), [-1] * len(head)
        answers = 0
        for number, turns in enumerate(dialogues, 1):
            start = len(ids)
            for i, turn in enumerate(turns):
                ids += self.question(turn.question, i == 0)
                said = self.answer(turn.answers[0])
                pad = len(ids) - len(targets)
                targets += [-1] * (pad - 1) + said + [-1]
                weights += [0.0] * (pad - 1) + [len(said) ** -0.5] * len(said) + [0.0]
                answer += [-1] * (pad - 1) + [answers] * len(said) + [-1]
                ids += said
                answers += 1
            positions += range(len(head), len(head) + len(ids) - start)
            dialogue += [number] * (len(ids) - start)
        return Sequence(
            *(np.array(a) for a in (ids, positions, dialogue, targets)),
            np.array(weights, np.float32),
            np.array(answer),
        )
