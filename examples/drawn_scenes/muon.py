"""Muon for the matrices inside the blocks: momentum, made orthogonal by Newton-Schulz steps.

The processes share the work: each makes its part of the updates, a sum over processes joins them.
Updates have the size that Adam's have (0.2 an entry), so both take the same learning rate.
"""

import torch
import torch.distributed as dist


def orthogonal(matrix, steps=5):
    """The nearest (nearly) orthogonal matrix."""
    flip = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if flip else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.T if flip else x


class Muon(torch.optim.Optimizer):
    """`pieces` says into how many rows each parameter splits (fused q, k, v are three matrices).
    Parameters without a gradient stay as they are."""

    def __init__(self, parameters, pieces, weight_decay=0.05, momentum=0.95):
        super().__init__(
            [{"params": parameters, "weight_decay": weight_decay}], {"lr": 0.0, "momentum": momentum}
        )
        self.pieces = pieces

    @torch.no_grad()
    def step(self):
        [group] = self.param_groups
        moving = [(p, rows) for p, rows in zip(group["params"], self.pieces) if p.grad is not None]
        updates, turn = [torch.zeros_like(p) for p, _ in moving], 0
        for (p, rows), update in zip(moving, updates):
            buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
            buffer.lerp_(p.grad, 1 - group["momentum"])
            ahead = p.grad.lerp(buffer, group["momentum"])
            for part, out in zip(ahead.split(rows), update.split(rows)):
                if turn % dist.get_world_size() == dist.get_rank():
                    out.copy_(orthogonal(part)).mul_(0.2 * max(part.shape) ** 0.5)
                turn += 1
        flat = torch.cat([u.view(-1) for u in updates])
        dist.all_reduce(flat)
        for (p, _), update in zip(moving, flat.split([p.numel() for p, _ in moving])):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.view_as(p), alpha=-group["lr"])


def matrices(model):
    """Parameters for Muon with the rows of their pieces; everything else is for Adam."""
    s, chosen = model.sizes, {}
    for name, p in model.named_parameters():
        if p.dim() == 2 and ("blocks" in name or "linear" in name) and "router" not in name:
            rows = [p.shape[0]]
            if name.endswith("qkv.weight"):
                heads = [s.query_heads * s.head_dim] + 2 * [s.kv_heads * s.head_dim]
                rows = 3 * [s.vision_width] if name.startswith("vision") else heads
            elif "gate_up" in name:  # of one expert or of many
                rows = p.shape[0] // s.text_mlp * [s.text_mlp]
            elif name.endswith("down"):
                rows = s.experts * [s.text_width]
            chosen[p] = rows
    return chosen
