"""Times on a device the way bench/cuda/ceilings.cuh takes them: events, a cold second-level cache, a median and its noise."""

import time

import torch


def measure(body, device, samples=25, cold=True):
    """Median seconds of `body` and half the distance of the quartiles over it."""
    body()
    body()
    seconds = []
    if device.type == "cuda":
        flushed = torch.empty(256 << 20, dtype=torch.uint8, device=device)
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(samples)]
        for i, (begin, end) in enumerate(events):
            flushed.fill_(i)
            if not cold:
                body()
            begin.record()
            body()
            end.record()
        torch.cuda.synchronize()
        seconds = [1e-3 * begin.elapsed_time(end) for begin, end in events]
    else:
        for _ in range(samples):
            begin = time.perf_counter()
            body()
            seconds.append(time.perf_counter() - begin)
    seconds.sort()
    quantile = lambda q: seconds[int(q * (len(seconds) - 1))]
    return quantile(0.5), (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5)
