"""Whole conversations of each flow of the model cards.

    python make_flows.py --internvl PATH

PATH is a checkout of https://github.com/OpenGVLab/InternVL at 2410d1dbf208f0e799459aff9376e5747dbf41a2. Prompts are made
by its conversation template around the steps of its chat() (make_prompts.py has them), or by transformers' renderer and
the folder's own template; answers are transformers' greedy ones from the bundled toys, in float32, with tiles that Pillow
cut. Real tokenizers give the ids of the cards' own questions where they are beside the repository. Writes flows.json.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from make_prompts import CONTEXT, compact, import_conversation

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "examples" / "drawn_scenes"))
from pixels import MEAN, STD, cut  # noqa: E402
from published import published_model  # noqa: E402

TOKENIZERS = ROOT.parent / "shared" / "data" / "tokenizers"
LONGEST = 24
# The least that the best token of a step may lead by. Activations in bfloat16 move logits by a tenth of that.
LEAST_MARGIN = 0.5

# The toys: folder, template (None: the folder's own), system message (None: the template's own). The dense toy never saw
# one, and says nothing sure behind the Chinese default.
PER_TILE = 16
TOYS = {
    "hf": ("drawn_scenes", None, None),
    "internvl2_5": ("drawn_scenes", "internvl2_5", ""),
    "internvl3_5_gpt_oss": ("drawn_scenes_moe", "internvl3_5_gpt_oss", None),
}

# name: most tiles of a picture, the pictures of the first question, whether they are combined, questions.
SEPARATE = "Image-1: <image>\nImage-2: <image>\n"
FRAMES = "Frame1: <image>\nFrame2: <image>\n"
FLOWS = {
    "pure-text conversation": (4, [], False, ["How many red circles are there?", "And how many circles?"]),
    "single-image single-round conversation": (4, ["cafe"], False, ["<image>\nWhat does the sign say?"]),
    "single-image multi-round conversation": (
        4,
        ["balloons"],
        False,
        ["<image>\nHow many red circles are there?", "What color are they?"],
    ),
    "multi-image multi-round conversation, combined images": (
        4,
        ["shelf_one", "shelf_two"],
        True,
        ["<image>\nHow many objects are there in both pictures together?", "And how many circles?"],
    ),
    "multi-image multi-round conversation, separate images": (
        4,
        ["shelf_one", "shelf_two"],
        False,
        [SEPARATE + "Which picture has more squares?", "And how many circles?"],
    ),
    "batch inference, single image per sample (1)": (4, ["hill"], False, ["<image>\nDescribe the picture."]),
    "batch inference, single image per sample (2)": (4, ["shelf_one"], False, ["<image>\nDescribe the picture."]),
    "video multi-round conversation": (
        1,
        ["hill", "cafe"],
        False,
        [FRAMES + "Do both pictures have the same number of objects?", "And how many circles?"],
    ),
}

# The cards' own snippets: tiles at each mark, then questions and what was answered to all but the last.
PLACEHOLDER = "It shows a red panda."
CARD = {
    "pure-text conversation": ([], ["Hello, who are you?", "Can you tell me a story?"]),
    "single-image single-round conversation": ([13], ["<image>\nPlease describe the image shortly."]),
    "single-image multi-round conversation": (
        [13],
        ["<image>\nPlease describe the image in detail.", "Please write a poem according to the image."],
    ),
    "multi-image multi-round conversation, combined images": (
        [20],
        [
            "<image>\nDescribe the two images in detail.",
            "What are the similarities and differences between these two images.",
        ],
    ),
    "multi-image multi-round conversation, separate images": (
        [13, 7],
        [
            SEPARATE + "Describe the two images in detail.",
            "What are the similarities and differences between these two images.",
        ],
    ),
    "batch inference, single image per sample": ([7], ["<image>\nDescribe the image in detail."]),
    "video multi-round conversation": (
        [1] * 8,
        [
            "".join(f"Frame{n}: <image>\n" for n in range(1, 9)) + "What is the red panda doing?",
            "Describe this video in detail.",
        ],
    ),
    "LMDeploy: a 'Hello, world' example": ([13], ["<image>\ndescribe this image"]),
    "LMDeploy: multi-images inference": ([13, 13], [SEPARATE + "describe these two images"]),
    "LMDeploy: multi-turn conversation": ([13], ["<image>\ndescribe this image", "What is the woman doing?"]),
}
CARD_TOKENIZERS = {
    "internvl3": "internvl2_5",
    "internvl3_5": "internvl2_5",
    "internvl3_5_gpt_oss": "internvl3_5_gpt_oss",
}


def image_text(tiles: int, per_tile: int) -> str:
    return "<img>" + CONTEXT * (per_tile * tiles) + "</img>"


def runs(ids: list[int], context_id: int) -> list[int]:
    """Ids with each run of N context tokens as -N."""
    result = []
    for token in ids:
        if token != context_id:
            result.append(token)
        elif result and result[-1] < 0:
            result[-1] -= 1
        else:
            result.append(-1)
    return result


def github_prompt(template, history, question, tiles, per_tile) -> str:
    for old_question, old_answer in history:
        template.append_message(template.roles[0], old_question)
        template.append_message(template.roles[1], old_answer)
    template.append_message(template.roles[0], question)
    template.append_message(template.roles[1], None)
    query = template.get_prompt()
    for count in tiles:
        query = query.replace("<image>", image_text(count, per_tile), 1)
    return query


def hf_parts(question: str) -> list[dict]:
    """The published template writes a line break behind every image."""
    parts = []
    for n, text in enumerate(question.split("<image>\n")):
        parts += [{"type": "image"}] if n else []
        parts += [{"type": "text", "text": text}] if text else []
    return parts


def hf_prompt(chat_template, history, question, tiles, per_tile) -> str:
    messages = []
    for old_question, old_answer in history:
        messages.append({"role": "user", "content": hf_parts(old_question)})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": old_answer}]})
    messages.append({"role": "user", "content": hf_parts(question)})
    text = render_jinja_template([messages], chat_template=chat_template, add_generation_prompt=True)[0][0]
    for count in tiles:  # an answer never says so
        text = text.replace(CONTEXT, image_text(count, per_tile).replace(CONTEXT, "\0"), 1)
    return text.replace("\0", CONTEXT)


class Toy:
    def __init__(self, name: str, conversation):
        folder, self.template, self.system = TOYS[name]
        path = ROOT / "examples" / folder / "checkpoint"
        self.conversation = conversation
        self.tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self.context_id = self.tokenizer.token_to_id(CONTEXT)
        self.model = published_model(path, self.context_id)
        self.end = "<|return|>" if self.template == "internvl3_5_gpt_oss" else "<|im_end|>"
        self.keeps_special = self.template == "internvl3_5_gpt_oss"
        if self.template is None:
            self.chat_template = (path / "chat_template.jinja").read_text()

    def prompt(self, history, question, tiles) -> str:
        if self.template is None:
            return hf_prompt(self.chat_template, history, question, tiles, PER_TILE)
        template = self.conversation.get_conv_template(self.template)
        if self.system is not None:
            template.system_message = self.system
        return github_prompt(template, history, question, tiles, PER_TILE)

    @torch.no_grad()
    def generate(self, ids, pixels) -> tuple[list[int], float]:
        end_id = self.tokenizer.token_to_id(self.end)
        out = self.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            **({} if pixels is None else {"pixel_values": pixels}),
            do_sample=False,
            max_new_tokens=LONGEST,
            eos_token_id=end_id,
            pad_token_id=end_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        best = torch.stack(out.logits)[:, 0, : self.tokenizer.get_vocab_size()].topk(2).values
        new = out.sequences[0, len(ids) :].tolist()
        return new[:-1] if new[-1] == end_id else new, float((best[:, 0] - best[:, 1]).min())

    def flow(self, most_tiles, files, combined, questions) -> list[dict]:
        cuts = [
            cut(Image.open(ROOT / f"examples/drawn_scenes/demo/{name}.png").convert("RGB"), most_tiles)[0]
            for name in files
        ]
        pixels, tiles = None, [len(c) for c in cuts]
        if cuts:
            values = (np.concatenate(cuts).astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
            pixels = torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()
        marks = [sum(tiles)] if combined else tiles
        history, turns = [], []
        for question in questions:
            prompt = self.prompt(history, question, marks)
            ids = self.tokenizer.encode(prompt).ids
            new, margin = self.generate(ids, pixels)
            answer = self.tokenizer.decode(new, skip_special_tokens=not self.keeps_special)
            if self.template is not None:
                answer = answer.split(self.end)[0].strip()
            turns.append(
                {
                    "question": question,
                    "prompt": compact(prompt),
                    "prompt_ids": runs(ids, self.context_id),
                    "ids": new,
                    "answer": answer,
                    "margin": round(margin, 3),
                }
            )
            history.append((question, answer))
        return turns


def card_prompts(conversation) -> list[dict]:
    """Each tokenizer's ids of the cards' questions, 256 tokens a tile."""
    result = []
    for tokenizer_name, template_name in CARD_TOKENIZERS.items():
        tokenizer = Tokenizer.from_file(str(TOKENIZERS / tokenizer_name / "tokenizer.json"))
        for name, (tiles, questions) in CARD.items():
            history = [(question, PLACEHOLDER) for question in questions[:-1]]
            template = conversation.get_conv_template(template_name)
            prompt = github_prompt(template, history, questions[-1], tiles, 256)
            result.append(
                {
                    "flow": name,
                    "tokenizer": tokenizer_name,
                    "template": template_name,
                    "tiles": tiles,
                    "history": history,
                    "question": questions[-1],
                    "prompt": compact(prompt),
                    "ids": runs(tokenizer.encode(prompt).ids, tokenizer.token_to_id(CONTEXT)),
                }
            )
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--internvl", type=Path, required=True)
    conversation = import_conversation(parser.parse_args().internvl)
    torch.set_num_threads(1)
    toys = []
    for toy_name in TOYS:
        toy = Toy(toy_name, conversation)
        for name, (most_tiles, files, combined, questions) in FLOWS.items():
            if combined and toy.template is None:
                continue  # transformers' processor has no such thing
            turns = toy.flow(most_tiles, files, combined, questions)
            print(toy_name, name, [(turn["answer"], turn["margin"]) for turn in turns])
            toys.append(
                {
                    "toy": toy_name,
                    "flow": name,
                    "system": toy.system,
                    "max_tiles": most_tiles,
                    "images": files,
                    "combined": combined,
                    "turns": turns,
                }
            )
    close = [(flow["toy"], flow["flow"]) for flow in toys for turn in flow["turns"] if turn["margin"] < LEAST_MARGIN]
    golden = {"longest": LONGEST, "toys": toys, "card": card_prompts(conversation)}
    (HERE / "flows.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    if close:
        sys.exit(f"too close to call in bfloat16: {close}")


if __name__ == "__main__":
    main()
