"""Times on a device the way bench/cuda/ceilings.cuh takes them: events, a cold second-level cache, a median and its noise."""

import time

import torch


def describe(device):
    """What runs, in one line."""
    text = f"PyTorch {torch.__version__}"
    if device.type == "cuda":
        text += f", cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name(device)}"
    return text


def summary(seconds):
    """The median, and half the distance of the quartiles over it."""
    seconds = sorted(seconds)
    quantile = lambda q: seconds[int(q * (len(seconds) - 1))]
    return quantile(0.5), (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5)


def measure(body, device, samples=25):
    """Seconds of `body`."""
    body()
    body()
    if device.type == "cuda":
        # Read, not written: what was written would leave the cache for memory on the sample's time.
        flushed = torch.ones(64 << 20, dtype=torch.float32, device=device)
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(samples)]
        for begin, end in events:
            flushed.sum()
            begin.record()
            body()
            end.record()
        torch.cuda.synchronize()
        return summary([1e-3 * begin.elapsed_time(end) for begin, end in events])
    seconds = []
    for _ in range(samples):
        begin = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - begin)
    return summary(seconds)
