"""Golden data of conversations that a folder's chat_template renders.

Writes messages/golden.json: for each template, the first 8 hexadecimal digits of SHA-256 of 1000 prompts, one after the
other. Conversations come from a generator of random numbers that the test has too. Templates are messages/*.jinja, and
those of the real tokenizers, which the test skips where they are absent.

    python make_messages.py [--real ../../../shared/data/tokenizers]
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).resolve().parent / "messages"
CONVERSATIONS = 1000
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
CONTEXT = "<IMG_CONTEXT>"
WORDS = [
    "hello", "Where is it?", "<think>", "</think>", "\n", "\n\n", " ", "\t", "caf\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600", "it's", '"q"',
    "\\", "{{ x }}", "{% if %}", "a&b", "\u2028", "\u00a0", "-1e3", "\r\n", "null", "Image-1: ", "<|im_end|>", "<img>",
]  # fmt: skip

# How a template takes contents: "lists", "lists of users" with text for the others, or "text".
FORMS = {
    "published": "lists",
    "first_release": "lists",
    "lists_of_users": "lists of users",
    "text_alone": "text",
    "channels": "text",
    "internvl3_5": "text",
    "internlm2_base": "text",
}


class Random:
    def __init__(self, seed: int):
        self.state = seed

    def below(self, end: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % end

    def text(self, words: int) -> str:
        result = ""
        for _ in range(self.below(words)):
            result += WORDS[self.below(len(WORDS))] + (" " if self.below(2) else "")
        return result

    def parts(self) -> list[dict]:
        """A content of pictures and texts, where texts are neither empty nor next to each other."""
        parts = []
        for _ in range(self.below(4)):
            if self.below(3) == 0:
                parts.append({"type": "image"})
                continue
            text = self.text(5)
            if parts and parts[-1]["type"] == "text":
                parts[-1]["text"] += text
            elif text:
                parts.append({"type": "text", "text": text})
        return parts or [{"type": "text", "text": ""}]


def as_text(parts: list[dict]) -> str:
    return "".join(CONTEXT + "\n" if part["type"] == "image" else part["text"] for part in parts)


def conversation(seed: int, form: str, thoughts_apart: bool) -> list[dict]:
    random = Random(seed)
    one = lambda text: [{"type": "text", "text": text}] if form == "lists" else text
    users = lambda parts: as_text(parts) if form == "text" else parts
    messages = []
    if random.below(3):
        messages.append({"role": "system", "content": one(random.text(6))})
    for _ in range(random.below(4)):
        messages.append({"role": "user", "content": users(random.parts())})
        thoughts, answer = random.text(4), random.text(6)
        messages.append({"role": "assistant", "content": one(answer)})
        if thoughts_apart and thoughts:
            messages[-1]["thinking"] = thoughts
    messages.append({"role": "user", "content": users(random.parts())})
    return messages


def prompt(name: str, template: str, seed: int) -> str:
    messages = conversation(seed, FORMS[name], thoughts_apart=name == "channels")
    rendered, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **TOKENS)
    mark = "<image>" if name == "first_release" else CONTEXT
    return re.sub(mark, f"<img>{CONTEXT}</img>", rendered[0])  # pictures of one row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=HERE / "../../../../shared/data/tokenizers")
    real = parser.parse_args().real
    templates = {path.stem: path.read_text() for path in sorted(HERE.glob("*.jinja"))}
    for name in ("internvl3_5", "internlm2_base"):
        templates[name] = json.loads((real / name / "tokenizer_config.json").read_text())["chat_template"]
    golden = {"tokens": TOKENS, "words": WORDS, "prompts": {}}
    for name, template in templates.items():
        prompts = [prompt(name, template, seed) for seed in range(CONVERSATIONS)]
        golden["prompts"][name] = "".join(hashlib.sha256(text.encode()).hexdigest()[:8] for text in prompts)
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
