"""Tokens a second of the toy for several numbers of threads, beside other programs that want the CPUs.

    python3 bench/threads_beside_load.py build/release/bin/bench_model [--rounds 5]

All cases run in turns, and a row is the median over the rounds, beside that of one thread under the same load. The toy
is the hardest case: its runs of the thread pool take microseconds, so a worker that is not running costs most.
Python 3.11, nothing else.
"""

import argparse
import json
import statistics
import subprocess

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("bench_model")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--loads", type=int, nargs="*", default=[0, 1, 2, 4], help="how many `yes` run beside")
parser.add_argument("--threads", type=int, nargs="*", default=[1, 2, 4, 8, 64])
arguments = parser.parse_args()

names = ["decode", "decode_8_sequences"]
speeds = {}
for _ in range(arguments.rounds):
    for load in arguments.loads:
        others = [subprocess.Popen("yes", stdout=subprocess.DEVNULL) for _ in range(load)]
        try:
            for threads in arguments.threads:
                command = [arguments.bench_model, "--checkpoint-type", "drawn_scenes", "--only", "decode", "--json"]
                output = subprocess.run(command + ["--threads", str(threads)], check=True, capture_output=True).stdout
                for line in output.splitlines():
                    row = json.loads(line)
                    speeds.setdefault((load, row["name"], threads), []).append(row["median"])
        finally:
            for other in others:
                other.kill()
                other.wait()

print("load  name                threads    tok/s  lowest  of one thread")
for load in arguments.loads:
    for name in names:
        one = statistics.median(speeds[load, name, arguments.threads[0]])
        for threads in arguments.threads:
            taken = speeds[load, name, threads]
            median = statistics.median(taken)
            print(f"{load:4}  {name:18} {threads:8} {median:8.0f} {min(taken):7.0f} {median / one:14.2f}")
