"""The InternVL3.5 dense topology at toy size, written for training on CPUs.

Attention is plain matrix products (faster backwards than the fused kernels on CPUs), the decoder
works on packed rows, so padding costs nothing in the linear layers. Layer scale stays 1.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from pixels import MEAN, PATCH, SIDE, STD
from prompts import VOCABULARY
from scenes import CHARACTERS, COLOURS, SHAPES

LABELS = {"part": 3, "shape": 1 + len(SHAPES), "colour": 1 + len(COLOURS), "character": 1 + len(CHARACTERS)}


@dataclass(frozen=True)
class Sizes:
    vision_width: int = 192
    vision_layers: int = 5
    vision_heads: int = 3
    vision_mlp: int = 640
    text_width: int = 192
    text_layers: int = 4
    query_heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    text_mlp: int = 448
    rope_theta: float = 10000.0
    max_positions: int = 2048


class VisionBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        d, self.heads = s.vision_width, s.vision_heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, s.vision_mlp), nn.Linear(s.vision_mlp, d)

    def forward(self, x):
        t, n, d = x.shape
        hd = d // self.heads
        q, k, v = (
            self.qkv(self.norm1(x)).view(t, n, 3, self.heads, hd).permute(2, 0, 3, 1, 4).reshape(3, -1, n, hd)
        )
        weights = torch.softmax(torch.bmm(q * hd**-0.5, k.transpose(1, 2)), -1)
        mixed = torch.bmm(weights, v).view(t, self.heads, n, hd).transpose(1, 2).reshape(t, n, d)
        x = x + self.proj(mixed)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def sine_positions(width, amplitude):
    """2-D sine-cosine rows for the class token (zero) and each patch: half the width each axis."""
    quarter = width // 4
    frequency = 1.0 / 30.0 ** (torch.arange(quarter) / (quarter - 1))
    angle = torch.arange(SIDE)[:, None] * frequency
    axis = torch.cat([angle.sin(), angle.cos()], 1)
    rows = axis[:, None].expand(SIDE, SIDE, -1)
    columns = axis[None].expand(SIDE, SIDE, -1)
    table = amplitude * torch.cat([rows, columns], -1).reshape(SIDE * SIDE, width)
    return torch.cat([torch.zeros(1, width), table])[None]


class Vision(nn.Module):
    def __init__(self, s):
        super().__init__()
        d = s.vision_width
        self.patch = nn.Linear(3 * PATCH * PATCH, d)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.positions = nn.Parameter(sine_positions(d, amplitude=0.7))
        self.blocks = nn.ModuleList(VisionBlock(s) for _ in range(s.vision_layers))
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def forward(self, tiles):
        """uint8 [T, 112, 112, 3] to patch features [T, 64, d]."""
        t = tiles.shape[0]
        x = (tiles.float() / 255 - self.mean) / self.std
        x = x.view(t, SIDE, PATCH, SIDE, PATCH, 3).permute(0, 1, 3, 5, 2, 4).reshape(t, SIDE * SIDE, -1)
        x = torch.cat([self.cls.expand(t, -1, -1), self.patch(x)], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return x[:, 1:]


def group(x):
    """[T, 64, c] to [T, 16, 4 c]: the 2 x 2 blocks of patches, row-major inside (pixel shuffle v2)."""
    t, _, c = x.shape
    h = SIDE // 2
    return x.view(t, h, 2, h, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(t, h * h, 4 * c)


class Projector(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.norm = nn.LayerNorm(4 * s.vision_width, eps=1e-5)
        self.linear1 = nn.Linear(4 * s.vision_width, s.text_width)
        self.linear2 = nn.Linear(s.text_width, s.text_width)

    def forward(self, x):
        return self.linear2(F.gelu(self.linear1(self.norm(group(x)))))


class TextBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s, d, q, kv = s, s.text_width, s.query_heads * s.head_dim, s.kv_heads * s.head_dim
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.q_norm, self.k_norm = nn.RMSNorm(s.head_dim, eps=1e-6), nn.RMSNorm(s.head_dim, eps=1e-6)
        self.qkv = nn.Linear(d, q + 2 * kv, bias=False)
        self.proj = nn.Linear(q, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * s.text_mlp, bias=False)
        self.down = nn.Linear(s.text_mlp, d, bias=False)

    def attend(self, x, batch):
        s = self.s
        qk, v = self.qkv(x).split([(s.query_heads + s.kv_heads) * s.head_dim, s.kv_heads * s.head_dim], 1)
        q, k = qk.view(-1, s.query_heads + s.kv_heads, s.head_dim).split([s.query_heads, s.kv_heads], 1)
        qk = torch.cat([self.q_norm(q), self.k_norm(k)], 1)
        half = s.head_dim // 2
        qk = qk * batch.cos + torch.cat([-qk[..., half:], qk[..., :half]], -1) * batch.sin
        rows = torch.cat([qk.flatten(1), v], 1)
        return self.proj(torch.cat([self.mix(rows[g.rows], g) for g in batch.groups]))

    def mix(self, rows, g):
        """Attention of one group of sequences; rows hold q, k and v side by side."""
        s, b, length = self.s, g.count, g.length
        rows = rows.new_zeros(b * length, rows.shape[1]).index_copy(0, g.places, rows)
        rows = rows.view(b, length, -1, s.head_dim).transpose(1, 2)
        q, k, v = rows.split([s.query_heads, s.kv_heads, s.kv_heads], 1)
        share = s.query_heads // s.kv_heads
        q = q.reshape(b * s.kv_heads, share * length, s.head_dim)
        k, v = (a.reshape(b * s.kv_heads, length, s.head_dim) for a in (k, v))
        scores = torch.bmm(q * s.head_dim**-0.5, k.transpose(1, 2)).view(b, s.query_heads, length, length)
        weights = torch.softmax(scores + g.mask, -1).view(b * s.kv_heads, share * length, length)
        mixed = torch.bmm(weights, v).view(b, s.query_heads, length, s.head_dim).transpose(1, 2)
        return mixed.reshape(b * length, -1).index_select(0, g.places)

    def forward(self, x, batch):
        x = x + self.attend(self.norm1(x), batch)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, 1)
        return x + self.down(F.silu(gate) * up)


class Group:
    """Some sequences that follow each other, padded to the longest for attention."""

    def __init__(self, first_row, sequences):
        lengths = [len(q.ids) for q in sequences]
        self.rows = slice(first_row, first_row + sum(lengths))
        self.count, self.length = len(lengths), max(lengths)
        self.places = torch.cat([torch.arange(n) + i * self.length for i, n in enumerate(lengths)])
        dialogue = torch.cat([torch.from_numpy(q.dialogue) for q in sequences])
        grid = torch.full((self.count * self.length,), -1).index_copy(0, self.places, dialogue)
        grid = grid.view(self.count, 1, self.length)
        seen = (grid == 0) | (grid == grid.transpose(1, 2))
        seen &= torch.ones(self.length, self.length, dtype=torch.bool).tril()
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None]


class Batch:
    """Sequences packed row after row; attention takes them in groups (cheap if sorted by length)."""

    def __init__(self, sequences, s, image_id, group=5):
        join = lambda name: torch.cat([torch.from_numpy(getattr(q, name)) for q in sequences])
        self.ids, positions = join("ids"), join("positions")
        self.targets, self.weights, self.answer = join("targets"), join("weights"), join("answer")
        lengths = torch.tensor([len(q.ids) for q in sequences])
        self.sequence = torch.repeat_interleave(torch.arange(len(sequences)), lengths)
        self.image_rows = (self.ids == image_id).nonzero()[:, 0]
        self.groups = [
            Group(int(lengths[:i].sum()), sequences[i : i + group]) for i in range(0, len(sequences), group)
        ]
        frequency = s.rope_theta ** (-torch.arange(0, s.head_dim, 2) / s.head_dim)
        angle = positions[:, None].float() * frequency
        angle = torch.cat([angle, angle], 1)[:, None]
        self.cos, self.sin = angle.cos(), angle.sin()


class Model(nn.Module):
    def __init__(self, sizes=Sizes()):
        super().__init__()
        self.sizes = s = sizes
        self.vision, self.projector = Vision(s), Projector(s)
        self.embedding = nn.Embedding(VOCABULARY, s.text_width)
        self.blocks = nn.ModuleList(TextBlock(s) for _ in range(s.text_layers))
        self.norm = nn.RMSNorm(s.text_width, eps=1e-6)
        self.start()

    def start(self):
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "embedding" in name else p.shape[1] ** -0.5 * 0.8)
                if name.endswith(("proj.weight", "fc2.weight", "down.weight")):
                    p.data *= (2 * max(self.sizes.vision_layers, self.sizes.text_layers)) ** -0.5
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        nn.init.normal_(self.vision.patch.weight, std=0.02)

    def text(self, batch, pictures):
        """Final hidden rows [N, d]; pictures are the projector's tokens of all tiles in order."""
        x = self.embedding(batch.ids)
        if pictures is not None:
            x = x.index_copy(0, batch.image_rows, pictures.reshape(-1, x.shape[1]))
        for block in self.blocks:
            x = block(x, batch)
        return self.norm(x)

    def logits(self, rows):
        return F.linear(rows, self.embedding.weight)


class Helpers(nn.Module):
    """Heads that are dropped after training: what is in each patch, and where the patch is."""

    def __init__(self, s):
        super().__init__()
        self.sizes = list(LABELS.values())
        self.patch = nn.Linear(s.vision_width, sum(self.sizes) + 2 * SIDE)
        self.token = nn.Linear(s.text_width, 4 * sum(self.sizes))

    def forward(self, patches, tokens, labels):
        """labels [T, 64, 4]; returns the loss at the patches and at the projector's tokens."""
        whats, place = self.patch(patches).split([sum(self.sizes), 2 * SIDE], -1)
        there = torch.arange(SIDE).repeat(patches.shape[0], SIDE)
        row = there.view(-1, SIDE, SIDE).transpose(1, 2).reshape(-1)
        place = place.reshape(-1, 2 * SIDE)
        where = F.cross_entropy(place[:, :SIDE], row) + F.cross_entropy(place[:, SIDE:], there.view(-1))
        total = sum(self.sizes)
        at_patches = self.what(whats.reshape(-1, total), labels.view(-1, 4))
        at_tokens = self.what(self.token(tokens).view(-1, total), group(labels).view(-1, 4))
        return at_patches + 0.5 * where, at_tokens

    def what(self, logits, labels):
        loss = 0.0
        for i, part in enumerate(logits.split(self.sizes, 1)):
            weight = torch.ones(self.sizes[i])
            weight[0] = 0.3
            loss = loss + F.cross_entropy(part, labels[:, i], weight)
        return loss
