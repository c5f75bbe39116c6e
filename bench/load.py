"""Load for an OpenAI-compatible server: `serve`, or a peer such as llama-server, over the same requests.

    pip install openai==3.57.0
    python3 bench/load.py http://127.0.0.1:8000 --requests 64 --concurrency 8 --prompt-words 100 --max-tokens 64

Prints percentiles over the requests, by vLLM's definitions:
    ttft   time to first token: from the request's sending to the first piece of text
    tpot   time per output token: (last piece - first piece) / (tokens - 1)
    itl    inter-token latency: between two pieces of one answer
    e2e    from the request's sending to the end of its answer
and tokens a second of all requests together. Prompts are words drawn by a seed, so that two servers see the same ones,
and no two of a run begin alike unless --same-prompt.
"""

import argparse
import asyncio
import base64
import json
import mimetypes
import pathlib
import random
import time

import openai

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url", help="of the server, without /v1")
parser.add_argument("--requests", type=int, default=32)
parser.add_argument("--concurrency", type=int, default=8, help="requests that are under way at once")
parser.add_argument("--rate", type=float, help="requests a second instead, at random times (a Poisson process)")
parser.add_argument("--prompt-words", type=int, default=50)
parser.add_argument("--max-tokens", type=int, default=64)
parser.add_argument("--image", type=pathlib.Path, help="a picture in front of each prompt")
parser.add_argument("--same-prompt", action="store_true", help="the same for all: what the server's caches are worth")
parser.add_argument("--warm-up", type=int, default=2, help="requests before, which do not count")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--api-key", default="none")
parser.add_argument("--json", action="store_true", help="print one object")
arguments = parser.parse_args()

client = openai.AsyncOpenAI(api_key=arguments.api_key, base_url=arguments.url + "/v1", max_retries=0, timeout=3600)


def content_of(number):
    seed = arguments.seed if arguments.same_prompt else f"{arguments.seed} {number}"
    letters = random.Random(seed)
    words = ("".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(2, 7)))
             for _ in range(arguments.prompt_words))
    text = {"type": "text", "text": " ".join(words)}
    if not arguments.image:
        return [text]
    kind = mimetypes.guess_type(arguments.image)[0]
    data = base64.b64encode(arguments.image.read_bytes()).decode()
    return [{"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}, text]


async def ask(model, number):
    """When its pieces came, in seconds from its sending, and how many tokens they were."""
    content = content_of(number)
    begin = time.perf_counter()
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], stream=True,
        stream_options={"include_usage": True}, temperature=0, max_tokens=arguments.max_tokens,
        extra_body={"ignore_eos": True})
    times, usage = [], None
    async for chunk in stream:
        usage = chunk.usage or usage
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta and (delta.content or getattr(delta, "reasoning_content", None)):
            times.append(time.perf_counter() - begin)
    return {"end": time.perf_counter() - begin, "times": times, "usage": usage}


async def ask_all(model):
    free = asyncio.Semaphore(arguments.concurrency)
    gaps = random.Random(arguments.seed)

    async def when_free(number):
        async with free:
            return await ask(model, number)

    tasks = []
    for number in range(arguments.requests):
        if arguments.rate:
            tasks.append(asyncio.create_task(ask(model, number)))
            await asyncio.sleep(gaps.expovariate(arguments.rate))
        else:
            tasks.append(asyncio.create_task(when_free(number)))
    return await asyncio.gather(*tasks)


def percentiles(values_ms):
    values_ms = sorted(values_ms)
    if not values_ms:
        return None
    at = lambda share: round(values_ms[min(len(values_ms) - 1, int(share * len(values_ms)))], 2)
    return {"mean": round(sum(values_ms) / len(values_ms), 2), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99)}


async def main():
    model = (await client.models.list()).data[0].id
    for number in range(arguments.warm_up):
        await ask(model, -1 - number)
    begin = time.perf_counter()
    answers = await ask_all(model)
    seconds = time.perf_counter() - begin

    tokens = sum(answer["usage"].completion_tokens for answer in answers)
    with_text = [answer for answer in answers if answer["times"]]
    result = {
        "model": model,
        "requests": len(answers),
        "seconds": round(seconds, 3),
        "prompt_tokens": sum(answer["usage"].prompt_tokens for answer in answers),
        "new_tokens": tokens,
        "new_tokens_per_s": round(tokens / seconds, 2),
        "requests_per_s": round(len(answers) / seconds, 3),
        "ttft_ms": percentiles([1e3 * answer["times"][0] for answer in with_text]),
        "tpot_ms": percentiles([1e3 * (answer["times"][-1] - answer["times"][0]) /
                                (answer["usage"].completion_tokens - 1)
                                for answer in with_text if answer["usage"].completion_tokens > 1]),
        "itl_ms": percentiles([1e3 * (b - a) for answer in with_text
                               for a, b in zip(answer["times"], answer["times"][1:])]),
        "e2e_ms": percentiles([1e3 * answer["end"] for answer in answers]),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:18}", value if not isinstance(value, dict) else
              "  ".join(f"{at} {number:.2f}" for at, number in value.items()))


asyncio.run(main())
