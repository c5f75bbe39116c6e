"""Judges answers that constraints let through: random JSON schemas by `jsonschema`, random regular expressions by `re`.

Not part of the tests of a push, which need no Python; their cases are in tests/golden/constraints.json, written here with
--golden. constraint_answers.cpp makes the answers:

    g++ -std=c++20 -O1 -I include tests/golden/constraint_answers.cpp -o constraint_answers -lpcre2-8 -lutf8proc
    pip install -r tests/golden/constraints_requirements.txt
    python tests/golden/check_constraints.py ./constraint_answers --schemas 100000 --regexes 20000

Prints counts, and fails where an answer is not valid, a schema of supported keywords alone is refused (but for size), or an
instance that the rules of docs/constraints.md allow is not taken.
"""
import argparse
import collections
import json
import random
import re
import signal
import subprocess
import sys
from importlib.metadata import version

import jsonschema

VERSION = "4.26.0"  # of jsonschema
WORDS = ["a", "b", "name", "x y", "é", "日本", "q\"t", "b\\s", "n\nl", "", "😀", "</a>", "\u0001", "-1", "true"]
PATTERNS = ["^[a-z]{1,4}$", "^\\d{2,3}$", "a", "^x|y$", "^[^\"\\\\]{1,3}$", "^(ab|c)*$", "^\\S+$", "^.{0,4}$", "^\\w-\\w$",
            "^[\\s\\S]{1,2}$", "^\\u00e9?[\\x41-\\x43]\\n$", "^[^\\d]{1,2}$", "^[^\\s]?$", "[0-9]$", "^\\D$", "^\\W$", "^[^\\W]$"]


def value(r, depth=2):
    kind = r.randrange(8 if depth else 6)
    if kind == 0:
        return None
    if kind == 1:
        return r.random() < 0.5
    if kind == 2:
        return r.randint(-100, 100)
    if kind == 3:
        return r.choice([0.5, -1.25, 1e20, 1.0, -0.0, 3e-7, 10**15, 2**53 + 1, 123456789.125])
    if kind in (4, 5):
        return r.choice(WORDS)
    if kind == 6:
        return [value(r, depth - 1) for _ in range(r.randrange(3))]
    return {r.choice(WORDS): value(r, depth - 1) for _ in range(r.randrange(3))}


def annotated(r, schema):
    for key, text in (("title", "T"), ("description", "d"), ("default", 1), ("examples", [1]), ("$comment", "c")):
        if r.random() < 0.05:
            schema[key] = text
    return schema


def bounds(r, schema, kind):
    low = r.choice([0, -5, 3, -1000, 17, 99, 10**6, -(10**12), 1.0])
    if kind == "integer" and r.random() < 0.2:
        low = r.choice([0.5, -2.5, 1e3])
    if r.random() < 0.6:
        schema[r.choice(["minimum", "exclusiveMinimum"])] = low
    if r.random() < 0.6:
        schema[r.choice(["maximum", "exclusiveMaximum"])] = int(low) + r.choice([2, 3, 10, 111, 12345])
    return schema


def kind_schema(r, depth, names):
    kind = r.choice(["string", "string", "integer", "number", "boolean", "null", "array", "object", "object"])
    if depth == 0 and kind in ("array", "object"):
        kind = "string"
    schema = {"type": kind}
    if kind == "string":
        choice = r.random()
        if choice < 0.25:
            schema["pattern"] = r.choice(PATTERNS)
        elif choice < 0.5:
            least = r.randrange(4)
            if r.random() < 0.5:
                schema["minLength"] = least
            if r.random() < 0.7:
                schema["maxLength"] = least + r.randrange(6)
    elif kind in ("integer", "number"):
        bounds(r, schema, kind)
    elif kind == "array":
        if r.random() < 0.25:
            schema["prefixItems"] = [any_schema(r, depth - 1, names) for _ in range(r.randrange(3))]
        if r.random() < 0.8:
            schema["items"] = any_schema(r, depth - 1, names) if r.random() < 0.9 else False
        least = r.randrange(3)
        if schema.get("items") is False:
            least = min(least, len(schema.get("prefixItems", [])))
        if r.random() < 0.4:
            schema["minItems"] = least
        if r.random() < 0.6:
            schema["maxItems"] = least + r.randrange(3)
        if r.random() < 0.1:
            schema["uniqueItems"] = False
    elif kind == "object":
        if r.random() < 0.15:
            if r.random() < 0.8:
                schema["additionalProperties"] = any_schema(r, depth - 1, names)
        else:
            keys = r.sample(WORDS, r.randrange(1, 5))
            schema["properties"] = {key: any_schema(r, depth - 1, names) for key in keys}
            if r.random() < 0.7:
                schema["required"] = [key for key in keys if r.random() < 0.6]
            if r.random() < 0.5:
                schema["additionalProperties"] = r.random() < 0.2
    return schema


def any_schema(r, depth, names):
    choice = r.random()
    if choice < 0.55:
        schema = kind_schema(r, depth, names)
        if r.random() < 0.1 and schema["type"] != "null":
            schema["type"] = [schema["type"], "null"]
    elif choice < 0.63:
        schema = {"enum": [value(r) for _ in range(r.randrange(1, 5))]}
    elif choice < 0.67:
        schema = {"type": "string", "enum": r.sample(WORDS, 3)}
    elif choice < 0.71:
        schema = {"const": value(r)}
    elif choice < 0.80 and depth:
        schema = {"anyOf": [any_schema(r, depth - 1, names) for _ in range(r.randrange(1, 4))]}
    elif choice < 0.83 and depth:
        kinds = r.sample(["string", "number", "boolean", "null", "array", "object"], 3)
        schema = {"oneOf": [{"type": kind} for kind in kinds]}
    elif choice < 0.86 and depth:
        schema = {"allOf": [any_schema(r, depth - 1, names)]}
    elif choice < 0.96 and names:
        schema = {"$ref": r.choice(names)}
    elif choice < 0.97:
        return True
    elif choice < 0.98:
        schema = {}
    else:
        schema = kind_schema(r, depth, names)
        if r.random() < 0.7:
            del schema["type"]  # then it is one of the kinds that its keywords speak of
    return annotated(r, schema)


def schema_of(seed):
    r = random.Random(seed)
    names = ["#/$defs/" + name for name in ("first", "second", "with~1slash")[: r.randrange(4)]]
    if r.random() < 0.2:
        names.append("#")
    schema = kind_schema(r, 3, names) if r.random() < 0.7 else any_schema(r, 3, names)
    if schema is True:
        schema = {}
    if names:
        schema["$defs"] = {name.split("/")[-1].replace("~1", "/"): any_schema(r, 2, names) for name in names if name != "#"}
    return schema


def regex_of(r, depth=3):
    choice = r.random()
    if depth == 0 or choice < 0.35:
        return r.choice(["a", "b", "é", "日", "\\.", "\\\\", "\"", " ", "[a-c]", "[^a]", "[^é\\d]", ".", "\\d", "\\w", "\\s", "\\S", "\\D",
                         "\\W", "[\\w-]", "\\x41", "\\u00e9", "[b\\-x]", "\\n", "[\\]^]", "😀", "[à-ü]", "[ࠀ-😀]"])
    if choice < 0.6:
        return regex_of(r, depth - 1) + regex_of(r, depth - 1)
    if choice < 0.8:
        return "(" + r.choice(["", "?:"]) + regex_of(r, depth - 1) + "|" + regex_of(r, depth - 1) + ")"
    repeat = r.choice(["*", "+", "?", "{2}", "{1,3}", "{0,1}", "{2,}", "*?", "+?"])
    return "(" + regex_of(r, depth - 1) + ")" + repeat


def run(program, tasks):
    text = "\n".join(json.dumps(task) for task in tasks) + "\n"
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def judge_schema(schema, answer):
    try:
        instance = json.loads(answer)
    except ValueError as error:
        return f"no JSON: {error}"
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(instance))
    if error:
        return error.message
    return None


class TooLong(Exception):
    """re goes back and forth for ever in some repeats of repeats."""


def matches(regex, text):
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        return bool(re.fullmatch(regex, text))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def give_up(*_):
    raise TooLong


def changed(r, text):
    """`text` with one character more, less or other."""
    at = r.randrange(len(text) + 1)
    other = r.choice("0129-.e\"\\,: []{}abctnu\u00e9")
    return r.choice([text[:at] + other + text[at:], text[:at] + text[at + 1:], text[:at] + other + text[at + 1:]])


def write_golden(path, cases):
    """Cases of (kind, text, valid answers, judge): beside them go texts that the judge refuses."""
    golden = {"jsonschema": VERSION, "python": sys.version.split()[0], "cases": []}
    for kind, text, answers, judge in cases:
        r = random.Random(text)
        valid = sorted({a for a in answers if len(a) < 100})[:4]
        invalid = {changed(r, a) for a in valid for _ in range(6)}
        try:
            invalid = sorted(t for t in invalid if judge(t))[:6]
        except TooLong:
            continue
        if valid and len(text) < 600:
            golden["cases"].append({kind: text, "valid": valid, "invalid": invalid})
    with open(path, "w") as file:
        file.write(json.dumps(golden, ensure_ascii=True).replace('{"schema": ', '\n{"schema": ').replace('{"regex": ', '\n{"regex": '))
        file.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--regexes", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--golden", help="write cases to this file")
    args = parser.parse_args()
    assert version("jsonschema") == VERSION, f"expected jsonschema {VERSION}, found {version('jsonschema')}"
    counts = collections.Counter()
    signal.signal(signal.SIGALRM, give_up)
    bad = 0
    cases = []
    batch = 500
    for first in range(args.first, args.first + args.schemas, batch):
        seeds = range(first, min(first + batch, args.first + args.schemas))
        schemas = [schema_of(seed) for seed in seeds]
        results = run(args.program, [{"schema": json.dumps(s), "answers": args.answers, "seed": seed}
                                     for s, seed in zip(schemas, seeds)])
        for schema, result in zip(schemas, results):
            if "refused" in result:
                counts["schemas refused: " + re.sub(r"#\S*:|found .*", "", result["refused"])[:90]] += 1
                continue
            counts["schemas"] += 1
            cases.append(("schema", json.dumps(schema), result["answers"], lambda t, schema=schema: judge_schema(schema, t)))
            counts["answers cut"] += result["cut"]
            counts["states of the largest"] = max(counts["states of the largest"], result["states"])
            for answer in result["answers"]:
                counts["answers"] += 1
                wrong = judge_schema(schema, answer)
                if wrong:
                    bad += 1
                    print("INVALID", json.dumps(schema), answer, wrong, sep="\n  ")
    for first in range(args.first, args.first + args.regexes, batch):
        seeds = range(first, min(first + batch, args.first + args.regexes))
        regexes = [regex_of(random.Random(seed)) for seed in seeds]
        results = run(args.program, [{"regex": s, "answers": args.answers, "seed": seed} for s, seed in zip(regexes, seeds)])
        for regex, result in zip(regexes, results):
            if "refused" in result:
                counts["regexes refused: " + result["refused"]] += 1
                continue
            counts["regexes"] += 1
            cases.append(("regex", regex, result["answers"], lambda t, regex=regex: not matches(regex, t)))
            counts["regex answers cut"] += result["cut"]
            for answer in result["answers"]:
                try:
                    matched = matches(regex, answer)
                except TooLong:
                    counts["regex answers not judged: re takes too long"] += 1
                    continue
                counts["regex answers"] += 1
                if not matched:
                    bad += 1
                    print("NO MATCH", regex, repr(answer), sep="\n  ")
    if args.golden and not bad:
        write_golden(args.golden, cases)
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    print(f"{bad:8} bad")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
