"""The InternVL3.5 topology at toy size, on Qwen3 or on GPT-OSS, written for training on CPUs.

Attention is plain matrix products (faster backwards than the fused kernels on CPUs), the decoder
works on packed rows, so padding costs nothing in the linear layers. Layer scale stays 1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mxfp4 import Nearest
from pixels import MEAN, PATCH, SIDE, STD
from prompts import CHATML, HARMONY, Template
from scenes import CHARACTERS, COLOURS, SHAPES

LABELS = {"part": 3, "shape": 1 + len(SHAPES), "colour": 1 + len(COLOURS), "character": 1 + len(CHARACTERS)}


@dataclass(frozen=True)
class Sizes:
    """The tower's and those that both decoders have."""

    vision_width: int = 192
    vision_layers: int = 5
    vision_heads: int = 3
    vision_mlp: int = 640
    text_width: int = 192
    text_layers: int = 4
    query_heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    rope_theta: float = 10000.0


@dataclass(frozen=True)
class Qwen3Sizes(Sizes):
    text_mlp: int = 448
    max_positions: int = 2048
    norm_eps: float = 1e-6
    template: Template = CHATML
    windows: tuple = (None,) * 4

    def rope(self):
        """Frequencies, and what cosine and sine are multiplied by."""
        return self.rope_theta ** (-torch.arange(0, self.head_dim, 2) / self.head_dim), 1.0

    def block(self, layer):
        return Qwen3Block(self)


@dataclass(frozen=True)
class GptOssSizes(Sizes):
    text_mlp: int = 160  # of one expert
    experts: int = 8
    active: int = 2
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0
    max_positions: int = 512
    norm_eps: float = 1e-5
    yarn_factor: float = 8.0
    yarn_context: int = 64
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    template: Template = HARMONY
    windows: tuple = (32, None, 32, None)  # how many tokens a layer sees, itself included

    def rope(self):
        """YaRN without rounding of the two corners (`truncate` false)."""
        half, base = self.head_dim // 2, math.log(self.rope_theta)
        low, high = (
            half * math.log(self.yarn_context / (turns * 2 * math.pi)) / base
            for turns in (self.yarn_beta_fast, self.yarn_beta_slow)
        )
        low, high = max(low, 0.0), min(high, self.head_dim - 1.0)
        slow = ((torch.arange(half) - low) / (high - low)).clamp(0, 1)
        plain = self.rope_theta ** (-torch.arange(half) / half)
        return plain * (1 - slow + slow / self.yarn_factor), 0.1 * math.log(self.yarn_factor) + 1

    def block(self, layer):
        return GptOssBlock(self, self.windows[layer])


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
    """Attention of a decoder layer; subclasses bring the feed-forward."""

    def __init__(self, s, window=None, bias=False):
        super().__init__()
        self.s, d, q, kv = s, s.text_width, s.query_heads * s.head_dim, s.kv_heads * s.head_dim
        self.window = window
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=s.norm_eps), nn.RMSNorm(d, eps=s.norm_eps)
        self.qkv = nn.Linear(d, q + 2 * kv, bias=bias)
        self.proj = nn.Linear(q, d, bias=bias)

    def head_norm(self, qk):
        return qk

    def softmax(self, scores):
        return torch.softmax(scores, -1)

    def attend(self, x, batch):
        s = self.s
        qk, v = self.qkv(x).split([(s.query_heads + s.kv_heads) * s.head_dim, s.kv_heads * s.head_dim], 1)
        qk = self.head_norm(qk.view(-1, s.query_heads + s.kv_heads, s.head_dim))
        half = s.head_dim // 2
        qk = qk * batch.cos + torch.cat([-qk[..., half:], qk[..., :half]], -1) * batch.sin
        rows = torch.cat([qk.flatten(1), v], 1)
        return self.proj(torch.cat([self.mix(rows, g) for g in batch.groups]))

    def mix(self, rows, g):
        """Attention of one group of sequences; rows hold q, k and v side by side."""
        s, b, length = self.s, g.count, g.length
        own = rows.new_zeros(b * length, rows.shape[1]).index_copy(0, g.places, rows[g.rows])
        own = own.view(b, length, -1, s.head_dim).transpose(1, 2)
        q, kv = own.split([s.query_heads, 2 * s.kv_heads], 1)
        if g.shared:
            shared = rows[: g.shared].view(1, g.shared, -1, s.head_dim).transpose(1, 2)
            kv = torch.cat([shared[:, s.query_heads :].expand(b, -1, -1, -1), kv], 2)
        q = q.reshape(b * s.kv_heads, -1, s.head_dim)
        k, v = (a.reshape(b * s.kv_heads, -1, s.head_dim) for a in kv.chunk(2, 1))
        scores = torch.bmm(q * s.head_dim**-0.5, k.transpose(1, 2)).view(b, s.query_heads, length, -1)
        weights = self.softmax(scores + g.masks[self.window]).view(*q.shape[:2], -1)
        mixed = torch.bmm(weights, v).view(b, s.query_heads, length, s.head_dim).transpose(1, 2)
        return mixed.reshape(b * length, -1).index_select(0, g.places)

    def forward(self, x, batch):
        x = x + self.attend(self.norm1(x), batch)
        return x + self.feed_forward(self.norm2(x))


class Qwen3Block(TextBlock):
    def __init__(self, s):
        super().__init__(s)
        self.q_norm, self.k_norm = nn.RMSNorm(s.head_dim, eps=1e-6), nn.RMSNorm(s.head_dim, eps=1e-6)
        self.gate_up = nn.Linear(s.text_width, 2 * s.text_mlp, bias=False)
        self.down = nn.Linear(s.text_mlp, s.text_width, bias=False)

    def head_norm(self, qk):
        q, k = qk.split([self.s.query_heads, self.s.kv_heads], 1)
        return torch.cat([self.q_norm(q), self.k_norm(k)], 1)

    def feed_forward(self, x):
        gate, up = self.gate_up(x).chunk(2, 1)
        return self.down(F.silu(gate) * up)


class Permute(torch.autograd.Function):
    """Rows in another order; unlike index_select it also goes back without adding up."""

    @staticmethod
    def forward(ctx, rows, order, inverse):
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.index_select(0, *ctx.saved_tensors), None, None


class GptOssBlock(TextBlock):
    """Attention with sinks, experts in MXFP4; `balance` is 1 if every expert gets as many rows."""

    def __init__(self, s, window):
        super().__init__(s, window, bias=True)
        self.sinks = nn.Parameter(torch.zeros(s.query_heads))
        self.router = nn.Linear(s.text_width, s.experts)
        # Rows of expert after expert: all gates of an expert before its ups.
        self.gate_up = nn.Parameter(torch.empty(s.experts * 2 * s.text_mlp, s.text_width))
        self.gate_up_bias = nn.Parameter(torch.empty(s.experts * 2 * s.text_mlp))
        self.down = nn.Parameter(torch.empty(s.experts * s.text_width, s.text_mlp))
        self.down_bias = nn.Parameter(torch.empty(s.experts * s.text_width))

    def softmax(self, scores):
        b, heads, length, _ = scores.shape
        sinks = self.sinks.view(1, heads, 1, 1).expand(b, heads, length, 1)
        return torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]

    def feed_forward(self, x):
        s = self.s
        logits = self.router(x)
        best, chosen = logits.topk(s.active, 1)
        chosen = chosen.flatten()
        order = chosen.argsort(stable=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
        counts = torch.bincount(chosen, minlength=s.experts)
        self.balance = s.experts * (logits.softmax(1).mean(0) * counts / len(chosen)).sum()
        rows = Permute.apply(x.repeat_interleave(s.active, 0), order, inverse)
        each = zip(
            rows.split(counts.tolist()),
            Nearest.apply(self.gate_up).chunk(s.experts),
            self.gate_up_bias.chunk(s.experts),
            Nearest.apply(self.down).chunk(s.experts),
            self.down_bias.chunk(s.experts),
        )
        said = torch.cat([self.expert(*parts) for parts in each])
        said = Permute.apply(said, inverse, order).view(-1, s.active, s.text_width)
        return (said * best.softmax(1)[..., None]).sum(1)

    def expert(self, x, gate_up, gate_up_bias, down, down_bias):
        gate, up = F.linear(x, gate_up, gate_up_bias).chunk(2, 1)
        gate, up = gate.clamp(max=self.s.swiglu_limit), up.clamp(-self.s.swiglu_limit, self.s.swiglu_limit)
        return F.linear(gate * torch.sigmoid(self.s.swiglu_alpha * gate) * (up + 1), down, down_bias)


class Group:
    """Some sequences that follow each other, padded to the longest for attention; they also see the
    `shared` rows that all sequences of the batch begin with."""

    def __init__(self, first_row, sequences, shared, windows):
        lengths = [len(q.ids) for q in sequences]
        self.rows = slice(first_row, first_row + sum(lengths))
        self.count, self.length, self.shared = len(lengths), max(lengths), shared
        self.places = torch.cat([torch.arange(n) + i * self.length for i, n in enumerate(lengths)])
        dialogue, position = self.grid(sequences, "dialogue"), self.grid(sequences, "positions")
        before = torch.arange(shared).expand(self.count, 1, shared)
        key_dialogue = torch.cat([torch.zeros_like(before), dialogue], 2)
        key_position = torch.cat([before, position], 2)
        seen = (key_dialogue == 0) | (key_dialogue == dialogue.transpose(1, 2))
        seen &= torch.ones(seen.shape[1:], dtype=torch.bool).tril(shared)
        self.masks = {}
        for window in set(windows):
            near = seen & (position.transpose(1, 2) - key_position < window) if window else seen
            self.masks[window] = torch.zeros(seen.shape).masked_fill(~near, -1e9)[:, None]

    def grid(self, sequences, name):
        """[sequences, 1, longest], -1 where there is nothing."""
        rows = torch.cat([torch.from_numpy(getattr(q, name)) for q in sequences])
        grid = torch.full((self.count * self.length,), -1).index_copy(0, self.places, rows)
        return grid.view(self.count, 1, self.length)


class Batch:
    """Sequences packed row after row, what all begin with only once; attention takes them in groups
    (cheap if sorted by length)."""

    def __init__(self, sequences, s, image_id, group=5):
        shared = min(np.argmax(q.ids == image_id) for q in sequences)
        same = np.all([q.ids[:shared] == sequences[0].ids[:shared] for q in sequences], 0)
        shared = int(np.argmin([*same, False]))
        tails = [q.part(shared) for q in sequences]
        parts = [sequences[0].part(0, shared), *tails]
        join = lambda name: torch.from_numpy(np.concatenate([getattr(q, name) for q in parts]))
        self.ids, positions = join("ids"), join("positions")
        self.targets, self.weights, self.answer = join("targets"), join("weights"), join("answer")
        lengths = torch.tensor([len(q.ids) for q in parts])
        self.sequence = torch.repeat_interleave(torch.arange(len(parts)) - 1, lengths)
        self.image_rows = (self.ids == image_id).nonzero()[:, 0]
        self.groups = [Group(0, parts[:1], 0, s.windows)]
        for i in range(0, len(tails), group):
            first = int(lengths[: i + 1].sum())
            self.groups.append(Group(first, tails[i : i + group], shared, s.windows))
        frequency, scale = s.rope()
        angle = positions[:, None].float() * frequency
        angle = torch.cat([angle, angle], 1)[:, None]
        self.cos, self.sin = scale * angle.cos(), scale * angle.sin()


class Model(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = s = sizes
        self.vision, self.projector = Vision(s), Projector(s)
        self.embedding = nn.Embedding(s.template.vocabulary, s.text_width)
        self.blocks = nn.ModuleList(s.block(layer) for layer in range(s.text_layers))
        self.norm = nn.RMSNorm(s.text_width, eps=s.norm_eps)
        self.start()

    def start(self):
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "embedding" in name else p.shape[1] ** -0.5 * 0.8)
                if name.endswith(("proj.weight", "fc2.weight", "down.weight", "down")):
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
