"""A crowd of streaming clients on `serve` with the bundled toy; Python's standard library alone.

    python3 crowd_test.py build/release/bin/serve [--clients 1000]

A tenth of the clients reads slowly, and a tenth goes away in mid-answer. Everybody else gets, to the byte, the text that
his question gets alone; those that are told to come again (503) do. In the end nobody runs or waits, no page is used,
and the program's memory has not grown with the crowd.
"""
import argparse
import asyncio
import base64
import json
import pathlib
import random
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("serve")
parser.add_argument("--clients", type=int, default=1000)
parser.add_argument("flags", nargs="*", help="of serve")
arguments = parser.parse_args()
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples/drawn_scenes/demo"
TOKENS = 40


def body_of(number):
    """One of twenty questions, half of them with a picture."""
    content = [{"type": "text", "text": f"How many red circles are there? {number}"}]
    if number % 2:
        data = base64.b64encode((DEMO / "balloons.png").read_bytes()).decode()
        content.insert(0, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}})
    return json.dumps({"messages": [{"role": "user", "content": content}], "stream": True, "ignore_eos": True,
                       "max_tokens": TOKENS, "temperature": 1, "seed": number}).encode()


async def post(port, body):
    """Status and the two ends of a connection that has received the head of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), reader, writer


async def events(reader, pause_s=0.0):
    """The data of a chunked event stream."""
    text = b""
    while True:
        size = int(await reader.readline(), 16)
        if size == 0:
            return
        text += await reader.readexactly(size)
        await reader.readexactly(2)
        while b"\n\n" in text:
            event, text = text.split(b"\n\n", 1)
            if event.startswith(b"data: "):
                yield event[6:].decode()
        if pause_s:
            await asyncio.sleep(pause_s)


async def ask(port, number, pause_s=0.0, leaves_after=None):
    """The answer's text; comes again as long as there is no room. None where it has left."""
    body = body_of(number)
    while True:
        status, reader, writer = await post(port, body)
        if status == 503:
            writer.close()
            await asyncio.sleep(random.uniform(0.5, 1.5))
            continue
        assert status == 200, status
        text, seen, last = "", 0, None
        async for event in events(reader, pause_s):
            last = event
            if event == "[DONE]":
                break
            piece = json.loads(event)
            assert "error" not in piece, piece
            text += piece["choices"][0]["delta"].get("content", "")
            seen += 1
            if leaves_after is not None and seen > leaves_after:
                writer.transport.abort()
                return None
        assert last == "[DONE]", last
        writer.close()
        return text


async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


def gauge(metrics, name):
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"ivl:{name}{{"))


def resident_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def main(process, port):
    alone = [await ask(port, number) for number in range(20)]
    assert len(set(alone)) > 10, "too many answers are alike to tell them apart"
    random.seed(1)

    async def client(index):
        number = random.randrange(20)
        kind = index % 10
        text = await ask(port, number, pause_s=0.05 if kind == 3 else 0.0,
                         leaves_after=random.randrange(5) if kind == 7 else None)
        left.append(text is None)
        return text is None or text == alone[number]

    sizes, left = [], []
    for _ in range(2):
        right = await asyncio.gather(*(client(index) for index in range(arguments.clients)))
        assert all(right), f"{right.count(False)} of {len(right)} answers are wrong"
        sizes.append(resident_kb(process.pid))
    assert sum(left) > arguments.clients // 20, f"only {sum(left)} went away"
    for _ in range(100):
        metrics = await get(port, "/metrics")
        gauges = [gauge(metrics, name) for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")]
        if not any(gauges):
            break
        await asyncio.sleep(0.1)
    assert not any(gauges), gauges
    print(f"{arguments.clients} clients, twice; resident {sizes[0] // 1024} and {sizes[1] // 1024} MiB")
    assert sizes[1] < sizes[0] + (32 << 10), sizes


process = subprocess.Popen([arguments.serve, "--port", "0", "--quiet", "--max-sequences", "32", *arguments.flags],
                           stdout=subprocess.PIPE, text=True)
try:
    asyncio.run(main(process, int(process.stdout.readline().rsplit(":", 1)[1])))
finally:
    process.terminate()
    process.wait(timeout=60)
sys.exit(process.returncode)
