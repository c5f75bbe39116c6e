"""Scores a checkpoint folder on drawn scenes by greedy generation with the published implementation.

    python evaluate.py --answers DIR [--checkpoint checkpoint] [--scenes unseen] [--processes 3]

The weights are the folder's own, the arithmetic is float32. A second turn sees the model's own first
answer.
"""

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.multiprocessing as mp
from PIL import Image
from tokenizers import Tokenizer

from pixels import MEAN, STD, cut
from prompts import CHATML, HARMONY, Prompts
from published import published_model

HERE = Path(__file__).parent


def normalise(text):
    """Case, repeated blanks and a full stop at the end do not matter."""
    return " ".join(text.lower().split()).rstrip(".")


def is_right(said, accepted):
    return normalise(said) in [normalise(a) for a in accepted]


def tile_class(tiles):
    if len(tiles) == 2:
        return "two pictures"
    return {1: "one tile", 3: "two tiles and thumbnail"}.get(tiles[0], "three or four tiles and thumbnail")


class Answerer:
    def __init__(self, folder, numbered=False):
        torch.set_num_threads(1)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        template = CHATML if tokenizer.token_to_id(CHATML.end) is not None else HARMONY
        self.prompts, self.numbered = Prompts(template, tokenizer), numbered
        self.model = published_model(folder, self.prompts.image_id)

    def tiles_of(self, images, max_tiles):
        """Normalised float tiles of all pictures and how many each picture has."""
        cuts = [cut(image.convert("RGB"), max_tiles)[0] for image in images]
        pixels = (np.concatenate(cuts).astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), [len(c) for c in cuts]

    @torch.no_grad()
    def generate(self, ids, pixels, longest=40):
        new = self.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            pixel_values=pixels,
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=self.prompts.end_id,
            pad_token_id=self.prompts.end_id,
        )
        new = new[0, len(ids) :].tolist()
        return new[:-1] if new[-1] == self.prompts.end_id else new

    def answer(self, images, max_tiles, questions):
        pixels, tiles = self.tiles_of(images, max_tiles)
        ids, said = list(self.prompts.pictures(tiles, self.numbered)), []
        for i, question in enumerate(questions):
            ids += self.prompts.question(question, i == 0)
            new = self.generate(ids, pixels)
            said.append(self.prompts.text_of(new))
            ids += [*new, self.prompts.past_end_id]
        return said, tiles


def work(rank, args):
    answerer = Answerer(args.checkpoint, args.numbered)
    lines = (args.scenes / "scenes.jsonl").read_text().splitlines()
    with open(args.answers / f"answers{rank}.jsonl", "w") as out:
        for number, line in list(enumerate(lines))[rank :: args.processes]:
            talk = json.loads(line)
            images = [Image.open(args.scenes / name) for name in talk["images"]]
            said, tiles = answerer.answer(images, talk["max_tiles"], [t["question"] for t in talk["turns"]])
            for turn, text in zip(talk["turns"], said):
                row = {
                    "line": number,
                    "tiles": tile_class(tiles),
                    **turn,
                    "said": text,
                    "right": is_right(text, turn["answers"]),
                }
                out.write(json.dumps(row) + "\n")


def table(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row["right"])
    lines = [f"| {key} | answers | right |", "|---|---|---|"]
    lines += [f"| {name} | {len(g)} | {100 * sum(g) / len(g):.1f} % |" for name, g in sorted(groups.items())]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--scenes", type=Path, default=HERE / "unseen")
    parser.add_argument("--answers", type=Path, required=True, help="where the answers are written")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--numbered", action="store_true", help="two pictures as Image-1: and Image-2:")
    args = parser.parse_args()
    args.answers.mkdir(parents=True, exist_ok=True)
    mp.spawn(work, (args,), nprocs=args.processes)
    files = [args.answers / f"answers{rank}.jsonl" for rank in range(args.processes)]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    right = sum(row["right"] for row in rows)
    print(f"{right} of {len(rows)} answers right: {100 * right / len(rows):.1f} %\n")
    print(table(rows, "kind") + "\n\n" + table(rows, "tiles"))


if __name__ == "__main__":
    main()
