"""MXFP4 as GPT-OSS stores it: E2M1 codes with a power of two for every 32 of them."""

import torch

BLOCK = 32
VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # codes 0 to 7; 8 more is the negative
BIAS = 127
EXPONENT_BITS = 0x7F800000


def power_of_two(exponents):
    return torch.ldexp(torch.ones(exponents.shape), exponents)


def split(weights):
    """E2M1 values [..., blocks, 32] and exponents [..., blocks, 1] of [..., 32 * blocks].

    The exponent brings the largest of a block to (3.5, 7]: values above 6 become 6, which loses less
    than the coarser steps of the next power of two.
    """
    blocks = weights.unflatten(-1, (-1, BLOCK))
    low, high = torch.aminmax(blocks, dim=-1, keepdim=True)
    exponents = torch.frexp(torch.maximum(high, -low).clamp(min=2.0**-100) / 7).exponent
    values = blocks * power_of_two(-exponents)
    # Beside 1.5 * 2^22 a float's last bit is 0.5, the step of values below 2; steps and powers of two double
    # together.
    shift = (values.view(torch.int32) & EXPONENT_BITS).view(torch.float32).clamp_(min=1).mul_(1.5 * 2**22)
    return values.add_(shift).sub_(shift).clamp_(-6, 6), exponents


class Nearest(torch.autograd.Function):
    """Rounds to MXFP4; the gradient passes as if nothing had been rounded (straight-through)."""

    @staticmethod
    def forward(ctx, weights):
        values, exponents = split(weights)
        return values.mul_(power_of_two(exponents)).view_as(weights)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def pack(weights):
    """uint8 blocks [..., blocks, 16], the even elements in the low halves, and scales [..., blocks]."""
    values, exponents = split(weights.float())
    codes = torch.bucketize(values.abs(), torch.tensor(VALUES)) + 8 * (values < 0)
    codes = codes.to(torch.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4, (exponents[..., 0] + BIAS).to(torch.uint8)


def unpack(blocks, scales):
    """float32 [..., 32 * blocks]."""
    table = torch.tensor(VALUES + tuple(-v for v in VALUES))
    codes = torch.stack([blocks & 15, blocks >> 4], -1).flatten(-2)
    return torch.ldexp(table[codes.int()], scales[..., None].int() - BIAS).flatten(-2)
