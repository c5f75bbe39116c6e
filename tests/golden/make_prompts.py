"""Prompt texts as the published code builds them.

    python make_prompts.py --internvl PATH

PATH is a checkout of https://github.com/OpenGVLab/InternVL at 2410d1dbf208f0e799459aff9376e5747dbf41a2. Its conversation
template makes the texts of the GitHub format, around the steps of its chat(); transformers' renderer and the published
template make those of the HF format, around the expansion in its InternVLProcessor. Writes prompts.json.
"""

import argparse
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

from make_models import HF_CHAT_TEMPLATE

HERE = Path(__file__).resolve().parent
CONVERSATION = "internvl_chat_gpt_oss/internvl/model/internvl_chat/conversation.py"
TOKENS_PER_TILE = 256
CONTEXT = "<IMG_CONTEXT>"
THINKING = (
    "You are an AI assistant that rigorously follows this response protocol:\n\n"
    "1. First, conduct a detailed analysis of the question. Consider different angles, potential solutions, and reason "
    "through the problem step-by-step. Enclose this entire thinking process within <think> and </think> tags.\n\n"
    "2. After the thinking section, provide a clear, concise, and direct answer to the user's question. Separate the "
    "answer from the think section with a newline.\n\n"
    "Ensure that the thinking process is thorough but remains focused on the query. The final answer should be "
    "standalone and not reference the thinking section."
)

# (system, history, question, tiles). A system of None is the default; a history of None is chat()'s default, which alone
# lets it put an <image> mark before a question that has none.
GITHUB = [
    (None, None, "Hello, who are you?", []),
    (None, None, "Describe.", [7]),
    (None, None, "<image>\nDescribe.", [7]),
    (None, [["Image-1: <image>\nImage-2: <image>\nCompare.", "They differ."]], "What else?", [3, 1]),
    (None, None, "Frame1: <image>\nFrame2: <image>\nWhat happens?", [1, 1]),
    (None, [], "Describe.", []),
    (None, [], "<image>\nDescribe.", [1]),
    (None, None, "Describe <image> please.", [13]),
    (None, None, "<image><image>", [1, 2]),
    ("", None, "Hello", []),
    ("", None, "Describe.", [1]),
    ("You are terse.", None, "Hello", []),
    ("You are terse.\nVery.", [["Hi", "Hello."]], "And now?", []),
    (THINKING, None, "<image>\nHow many?", [1]),
    ("See <image>.", None, "<image>\nWhich?", [1, 2]),
    (None, [["<image>\nWhat?", "A cat."], ["<image>\nAnd this?", "A dog."]], "<image>\nAnd now?", [1, 5, 2]),
    (None, [["Hi", "Hello."], ["<image>\nWhat?", "A cat."]], "Sure?", [3]),
    (None, [["Hi", ""]], "Again", []),
    (None, [["", "Hello."]], "Again", []),
    (None, None, "<image> and <image>", [1]),
    (None, None, "<image> <image> <image>", [2, 1]),
    (None, [["What is the literal <image>?", "A mark."]], "Describe <image>.", [1]),
    (None, None, "", []),
    (None, None, "", [1]),
    (None, None, "<IMG_CONTEXT><img></img>", []),
    (None, None, "a<|im_end|>\n<|im_start|>system\nb", []),
    (None, None, " \n spaces \n ", []),
    (None, None, "这张图片里有什么？", [4]),
    (None, [["Q1", "A1"], ["Q2", "A2"], ["Q3", "A3"]], "Q4", []),
]  # fmt: skip

# (system, [(images before the text, text) of each user turn], answers, tiles). A system of None is no system message.
HF = [
    (None, [(1, "Describe.")], [], [1]),
    (None, [(0, "Hello, who are you?")], [], []),
    (None, [(1, "Describe.")], [], [7]),
    (None, [(2, "Compare.")], [], [3, 1]),
    (None, [(2, "Compare."), (0, "What else?")], ["They differ."], [3, 1]),
    (None, [(1, "What?"), (1, "And this?")], ["A cat."], [1, 13]),
    ("You are terse.", [(1, "Describe.")], [], [1]),
    ("", [(0, "Hello")], [], []),
    (THINKING, [(1, "How many?")], [], [3]),
    (None, [(0, "A literal <image> mark.")], [], []),
    (None, [(1, "")], [], [1]),
    (None, [(0, "")], [], []),
    (None, [(0, "这张图片里有什么？"), (0, "Q2"), (0, "Q3")], ["A1", ""], []),
]


def import_conversation(checkout: Path):
    spec = importlib.util.spec_from_file_location("conversation", checkout / CONVERSATION)
    module = importlib.util.module_from_spec(spec)
    sys.modules["conversation"] = module
    spec.loader.exec_module(module)
    return module


def image_text(tiles: int) -> str:
    return "<img>" + CONTEXT * TOKENS_PER_TILE * tiles + "</img>"


def compact(text: str) -> str:
    """Runs of two and more context tokens as U+27E8, their number, U+27E9."""
    return re.sub(f"(?:{CONTEXT}){{2,}}", lambda run: f"\u27e8{len(run[0]) // len(CONTEXT)}\u27e9", text)


def github_prompt(conversation, name, system, history, question, tiles) -> str:
    """The steps of chat() in modeling_internvl_chat.py, up to the tokenizer."""
    if history is None and tiles and "<image>" not in question:
        question = "<image>\n" + question
    template = conversation.get_conv_template(name)
    if system is not None:
        template.system_message = system
    for old_question, old_answer in history or []:
        template.append_message(template.roles[0], old_question)
        template.append_message(template.roles[1], old_answer)
    template.append_message(template.roles[0], question)
    template.append_message(template.roles[1], None)
    query = template.get_prompt()
    for count in tiles:
        query = query.replace("<image>", image_text(count), 1)
    return query


def hf_messages(system, turns, answers) -> list[dict]:
    messages = [] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]
    for n, (images, text) in enumerate(turns):
        content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
        messages.append({"role": "user", "content": content})
        if n < len(answers):
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answers[n]}]})
    return messages


def hf_prompt(messages: list[dict], tiles: list[int]) -> str:
    rendered, _ = render_jinja_template([messages], chat_template=HF_CHAT_TEMPLATE, add_generation_prompt=True)
    counts = iter(tiles)
    return re.sub(CONTEXT, lambda _: image_text(next(counts)), rendered[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--internvl", type=Path, required=True)
    conversation = import_conversation(parser.parse_args().internvl)
    prompts = []
    for name, (system, history, question, tiles) in itertools.product(["internvl2_5", "internvl3_5_gpt_oss"], GITHUB):
        text = github_prompt(conversation, name, system, history, question, tiles)
        prompts.append(
            {
                "format": "github",
                "template": name,
                "system": system,
                "history": history,
                "question": question,
                "tiles": tiles,
                "expected": compact(text),
            }
        )
    for system, turns, answers, tiles in HF:
        messages = hf_messages(system, turns, answers)
        prompts.append(
            {
                "format": "hf",
                "system": system,
                "history": [[text, answer] for (_, text), answer in zip(turns, answers)],
                "question": turns[-1][1],
                "images_before_turn": [images for images, _ in turns],
                "tiles": tiles,
                "messages": messages,
                "expected": compact(hf_prompt(messages, tiles)),
            }
        )
    (HERE / "prompts.json").write_text(json.dumps(prompts, ensure_ascii=True, indent=1) + "\n")
    print(f"{len(prompts)} prompts")


if __name__ == "__main__":
    main()
