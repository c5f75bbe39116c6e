"""Writes scenes to a folder: pictures as PNG and one line of `scenes.jsonl` a dialogue.

python write_scenes.py --folder unseen --seed 31 --scenes 500
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image

from scenes import draw_scene

UNSEEN_SEED = 31


def save_png(image, path):
    """Palette PNG where it loses nothing (a drawing has few colours)."""
    colours = image.getcolors(256)
    if colours:
        places = {rgb: i for i, (_, rgb) in enumerate(sorted(colours, reverse=True))}
        flat = Image.new("P", image.size)
        flat.putpalette([c for rgb in places for c in rgb])
        flat.putdata([places[rgb] for rgb in image.getdata()])
        assert flat.convert("RGB").tobytes() == image.tobytes()
        image = flat
    image.save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=UNSEEN_SEED)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--dialogues", type=int, default=3, help="at most so many a scene")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rng, lines = random.Random(args.seed), []
    for number in range(args.scenes):
        scene = draw_scene(rng, args.dialogues, teaching=False)
        names = [f"{number:03}{'ab'[i]}.png" for i in range(len(scene.pictures))]
        for name, picture in zip(names, scene.pictures):
            save_png(picture.image, args.folder / name)
        for turns in scene.dialogues:
            lines.append(
                {
                    "images": names,
                    "max_tiles": scene.max_tiles,
                    "turns": [{"question": t.question, "answers": t.answers, "kind": t.kind} for t in turns],
                }
            )
    (args.folder / "scenes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
