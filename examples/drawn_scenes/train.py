"""Trains the toy checkpoints; stops and resumes anywhere.

    python train.py --state DIR
    python train.py --state DIR --steps 4000 --decoder gpt_oss --tower OTHER/newest.pt ...

Every scene of a step comes from the seed, the step and the process number, so the saved state is
weights, optimiser and step. The learning rate is a function of the step alone.
"""

import argparse
import json
import math
import os
import random
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import Batch, GptOssSizes, Helpers, Model, Qwen3Sizes
from muon import Muon, matrices
from pixels import cut, patch_labels
from prompts import Prompts, build_tokenizer
from scenes import dense_tile, draw_scene

TRAIN_SEED, VALIDATION_SEED = 20, 21
PEAK_RATE, LAST_RATE, WARM_STEPS = 1.4e-3, 2e-5, 100
BALANCE = 0.01  # weight of the loss that spreads rows over experts
DECODERS = {"qwen3": Qwen3Sizes(), "gpt_oss": GptOssSizes()}
EARLY = 0.45  # the part of the joint steps that uses the first mix of scenes


def rate_at(step, steps, vision_steps):
    """Warm-up, flat while only the tower learns, then one cosine."""
    if step < vision_steps:
        return PEAK_RATE * min(1.0, (step + 1) / WARM_STEPS)
    done = (step - vision_steps) / max(1, steps - vision_steps)
    warm = min(1.0, (step - vision_steps + 1) / WARM_STEPS)
    return warm * (LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def scene_to_inputs(scene, prompts, numbered):
    """Tiles, patch labels and the sequence of one scene."""
    cuts = [cut(p.image, scene.max_tiles) for p in scene.pictures]
    labels = [patch_labels(p.marks, boxes) for p, (_, boxes) in zip(scene.pictures, cuts)]
    sequence = prompts.sequence([len(t) for t, _ in cuts], scene.dialogues, numbered)
    return np.concatenate([t for t, _ in cuts]), np.concatenate(labels), sequence


def draw_batch(rng, scenes, small, dense, prompts, sizes):
    drawn = [
        scene_to_inputs(draw_scene(rng, small=i < small), prompts, numbered=rng.random() < 0.5)
        for i in range(scenes)
    ]
    drawn.sort(key=lambda d: len(d[2].ids))
    extra = [dense_tile(rng) for _ in range(dense)]
    tiles = [d[0] for d in drawn] + [np.asarray(p.image)[None] for p in extra]
    labels = [d[1] for d in drawn] + [patch_labels(p.marks, [(0.0, 0.0, 1.0, 1.0)]) for p in extra]
    batch = Batch([d[2] for d in drawn], sizes, prompts.image_id) if drawn else None
    return torch.from_numpy(np.concatenate(tiles)), torch.from_numpy(np.concatenate(labels)), batch


def losses(model, helpers, tiles, labels, batch, frozen):
    """Of the language, of the helpers at patches and at tokens, and of the balance of experts."""
    with torch.set_grad_enabled(not frozen):
        patches = model.vision(tiles)
        tokens = model.projector(patches)
    zero = torch.zeros(())
    at_patches, at_tokens = (zero, zero) if frozen else helpers(patches, tokens, labels)
    if not batch:
        return zero, at_patches, at_tokens, zero
    rows = model.text(batch, tokens[: len(batch.image_rows) // tokens.shape[1]])
    asked = (batch.targets >= 0).nonzero()[:, 0]
    each = F.cross_entropy(model.logits(rows[asked]), batch.targets[asked], reduction="none")
    language = (each * batch.weights[asked]).sum() / batch.weights[asked].sum()
    balance = sum((getattr(block, "balance", zero) for block in model.blocks), zero)
    return language, at_patches, at_tokens, balance


def start_from(saved, prompts, model, helpers):
    """Takes tower, projector, helpers and the embeddings of common tokens from another training."""
    other, mine = saved["model"], model.state_dict()
    for name in mine:
        if name.startswith(("vision.", "projector.")):
            mine[name].copy_(other[name])
    others_ids = saved["tokens"]
    for token, i in prompts.tokenizer.get_vocab().items():
        if token in others_ids:
            mine["embedding.weight"][i].copy_(other["embedding.weight"][others_ids[token]])
    helpers.load_state_dict(saved["helpers"])


@torch.no_grad()
def validate(model, prompts, scenes=96, seed=VALIDATION_SEED):
    """Share of answers that greedy generation gets right, by kind.

    Greedy generation repeats an answer exactly if and only if every token of it is the most likely
    one after the tokens before it, so one forward pass tells (earlier turns are given as taught).
    """
    rng, right = random.Random(seed), {}
    for _ in range(scenes // 24):
        drawn = [draw_scene(rng, dialogues=4, teaching=False) for _ in range(24)]
        inputs = [scene_to_inputs(s, prompts, numbered=i % 2 == 0) for i, s in enumerate(drawn)]
        batch = Batch([i[2] for i in inputs], model.sizes, prompts.image_id)
        tiles = torch.from_numpy(np.concatenate([i[0] for i in inputs]))
        rows = model.text(batch, model.projector(model.vision(tiles)))
        hit = model.logits(rows).argmax(-1) == batch.targets
        for i, scene in enumerate(drawn):
            for n, turn in enumerate(t for d in scene.dialogues for t in d):
                mine = (batch.sequence == i) & (batch.answer == n)
                right.setdefault(turn.kind, []).append(bool(hit[mine].all()))
    return right


def cpu_seconds():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def train(rank, args, meeting):
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=args.processes)
    sizes = DECODERS[args.decoder]
    prompts = Prompts(sizes.template, Tokenizer.from_file(str(args.state / "tokenizer.json")))
    torch.manual_seed(TRAIN_SEED)
    model = Model(sizes)
    helpers = Helpers(sizes)
    parameters = [*model.parameters(), *helpers.parameters()]
    inner = matrices(model)
    tower = {*model.vision.parameters(), *model.projector.parameters(), *helpers.parameters()}
    groups = [
        {"params": [p for p in parameters if p.dim() == 2 and p not in inner], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0},
    ]
    optimisers = [
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True),
        Muon(list(inner), list(inner.values())),
    ]
    step, cpu_before = 0, 0.0
    newest = args.state / "newest.pt"
    if newest.exists():
        saved = torch.load(newest, weights_only=True)
        model.load_state_dict(saved["model"])
        helpers.load_state_dict(saved["helpers"])
        for optimiser, state in zip(optimisers, saved["optimisers"]):
            optimiser.load_state_dict(state)
        step, cpu_before = saved["step"], saved["cpu"]
    elif args.tower:
        saved = torch.load(args.tower, weights_only=True)
        saved["tokens"] = Tokenizer.from_file(str(args.tower.parent / "tokenizer.json")).get_vocab()
        start_from(saved, prompts, model, helpers)
    began, first = time.monotonic(), step

    def log(entry):
        with open(args.state / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    if rank == 0:
        log({"started_at": step, "steps": args.steps, "early": args.early, "late": args.late})
    sums = torch.zeros(4)
    while step < args.steps:
        rng, frozen = random.Random(f"{TRAIN_SEED} {step} {rank}"), step < args.frozen_steps
        if step < args.vision_steps:
            mix = (0, 0, args.vision_tiles)
        else:
            early = step < args.vision_steps + EARLY * (args.steps - args.vision_steps)
            mix = args.early if early else args.late
        if frozen:
            mix = (*mix[:2], 0)  # extra tiles teach the tower alone
        moving = [p for p in parameters if not (frozen and p in tower)]
        for g in (g for optimiser in optimisers for g in optimiser.param_groups):
            g["lr"] = rate_at(step, args.steps, args.vision_steps)
        parts = losses(model, helpers, *draw_batch(rng, *mix, prompts, sizes), frozen)
        (parts[0] + 0.5 * parts[1] + 0.5 * parts[2] + BALANCE * parts[3]).backward()
        grads = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).view(-1) for p in moving])
        dist.all_reduce(grads)
        grads *= 1.0 / args.processes
        grads *= min(1.0, 1.0 / (float(grads.norm()) + 1e-6))
        for p, g in zip(moving, grads.split([p.numel() for p in moving])):
            p.grad = g.view_as(p)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        sums += torch.stack([p.detach() for p in parts])
        step += 1
        if rank == 0 and step % 50 == 0:
            entry = {
                "step": step,
                "losses": [round(float(v) / 50, 4) for v in sums],
                "cpu_minutes": round((cpu_before + cpu_seconds()) / 60, 2),
                "step_s": round((time.monotonic() - began) / (step - first), 3),
            }
            if step % args.validate == 0 and step > args.vision_steps:
                right = validate(model, prompts)
                every = [hit for hits in right.values() for hit in hits]
                entry["right"] = round(100 * sum(every) / len(every), 1)
                entry["kinds"] = {k: round(100 * sum(v) / len(v)) for k, v in sorted(right.items())}
            log(entry)
        if step % 50 == 0:
            sums.zero_()
        if rank == 0 and (step % args.save == 0 or step == args.steps):
            state = {
                "model": model.state_dict(),
                "helpers": helpers.state_dict(),
                "optimisers": [o.state_dict() for o in optimisers],
                "step": step,
                "cpu": cpu_before + cpu_seconds(),
            }
            torch.save(state, args.state / "newest.tmp")
            os.replace(args.state / "newest.tmp", newest)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True, help="folder of the resumable state")
    parser.add_argument("--steps", type=int, default=6400)
    parser.add_argument("--decoder", choices=DECODERS, default="qwen3")
    parser.add_argument("--tower", type=Path, help="saved state of another training to start from")
    parser.add_argument("--frozen-steps", type=int, default=0, help="steps that leave the tower as it is")
    parser.add_argument("--vision-steps", type=int, default=400, help="steps of the tower alone")
    parser.add_argument("--vision-tiles", type=int, default=80, help="tiles a process and step there")
    mix = {"type": int, "nargs": 3, "metavar": ("SCENES", "SMALL", "DENSE")}
    parser.add_argument(
        "--early",
        default=(9, 5, 18),
        **mix,
        help="a process and step: scenes, how many of them of one small tile, extra dense tiles",
    )
    parser.add_argument("--late", default=(12, 0, 2), **mix)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--save", type=int, default=200)
    parser.add_argument("--validate", type=int, default=200)
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    if not (args.state / "tokenizer.json").exists():
        build_tokenizer(DECODERS[args.decoder].template).save(str(args.state / "tokenizer.json"))
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, (args, f"{folder}/meeting"), nprocs=args.processes)


if __name__ == "__main__":
    main()
