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

TOKENS_A_TILE = 16
VISUAL = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Template:
    """How a dialogue is written, and the vocabulary that it is written in."""

    vocabulary: int
    special: tuple  # the end of text first
    plain: tuple  # added tokens that stay visible when special ones are skipped
    first: str  # before the pictures of the first question
    reply: str  # after a question
    answer: str  # before the answer itself: the model writes it
    end: str  # the model ends its answer with it
    past_end: str  # what stands in its place once another question follows
    next: str  # before a later question
    lines: tuple  # besides questions and answers, what the tokenizer learns from

    @property
    def added(self):
        return (*self.special[:3], *self.plain, *self.special[3:])


CHATML = Template(
    vocabulary=512,
    special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISUAL, "<video>"),
    plain=("<think>", "</think>"),
    first="<|im_start|>user\n",
    reply="<|im_end|>\n<|im_start|>assistant\n",
    answer="",
    end="<|im_end|>",
    past_end="<|im_end|>",
    next="\n<|im_start|>user\n",
    lines=("user\n", "assistant\n", "system\n"),
)
SYSTEM = (
    "You are InternVL, a large language model trained by Shanghai AI Laboratory.\n"
    "Knowledge cutoff: 2024-06\nCurrent date: 2025-08-06\n\nReasoning: low\n\n"
    "# Valid channels: final. Channel must be included for every message."
)
HARMONY = Template(
    vocabulary=640,
    special=(
        *("<|endoftext|>", "<|return|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>"),
        *VISUAL,
    ),
    plain=(),
    first=f"<|start|>system<|message|>{SYSTEM}<|end|><|start|>user<|message|>",
    reply="<|end|><|start|>assistant",
    answer="<|channel|>final<|message|>",
    end="<|return|>",
    past_end="<|end|>",
    next="<|start|>user<|message|>",
    # Capitals that follow each other must not merge here either.
    lines=("user", "assistant", "system", "final", SYSTEM.replace("InternVL", "Intern").replace("AI ", "")),
)


def build_tokenizer(template, seed=1):
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
    lines = ["Image-1: ", "\nImage-2: ", *template.lines] * 500
    for _ in range(1500):
        for dialogue in draw_scene(rng).dialogues:
            for turn in dialogue:
                lines.append("\n" + turn.question)
                lines += [a for a in turn.answers if not a.isupper() and not a.isdigit()]
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=template.vocabulary - len(template.added),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    added = [AddedToken(t, special=t in template.special, normalized=False) for t in template.added]
    tokenizer.add_tokens(added)
    assert tokenizer.get_vocab_size() <= template.vocabulary
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

    def part(self, start, stop=None):
        return Sequence(**{name: rows[start:stop] for name, rows in vars(self).items()})


class Prompts:
    def __init__(self, template, tokenizer):
        self.template, self.tokenizer = template, tokenizer
        self.image_id = tokenizer.token_to_id("<IMG_CONTEXT>")
        self.end_id = tokenizer.token_to_id(template.end)
        self.past_end_id = tokenizer.token_to_id(template.past_end)
        self.encode = functools.lru_cache(maxsize=20000)(lambda text: tokenizer.encode(text).ids)

    def pictures(self, tiles, numbered=False):
        """Ids of the start of the user's turn: every picture with its number of tiles, two of them
        one under the other or, as InternVL's own code writes them, numbered."""
        blocks = ["<img>" + "<IMG_CONTEXT>" * (TOKENS_A_TILE * n) + "</img>" for n in tiles]
        if numbered and len(blocks) > 1:
            blocks = [f"Image-{i}: {block}" for i, block in enumerate(blocks, 1)]
        return self.encode(self.template.first + "\n".join(blocks))

    def question(self, text, first):
        return self.encode(("\n" if first else self.template.next) + text + self.template.reply)

    def answer(self, text):
        return self.encode(self.template.answer + text + self.template.end)

    def text_of(self, ids):
        """The answer in what the model wrote, its end token left out."""
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text.removeprefix(self.template.answer)

    def sequence(self, tiles, dialogues, numbered=False):
        head = self.pictures(tiles, numbered)
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
                ids += [*said[:-1], self.past_end_id]
                answers += 1
            positions += range(len(head), len(head) + len(ids) - start)
            dialogue += [number] * (len(ids) - start)
        return Sequence(
            *(np.array(a) for a in (ids, positions, dialogue, targets)),
            np.array(weights, np.float32),
            np.array(answer),
        )
