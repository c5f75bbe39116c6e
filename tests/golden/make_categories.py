"""The general categories that PCRE2 of Unicode 14 does not know, as the `tokenizers` library's expressions have them.

    python make_categories.py

Asks Oniguruma, the engine of that library, for the category of every code point, and writes those that Python 3.11 (its
tables are Unicode 14, as in PCRE2 10.40 to 10.42) calls unassigned to include/ivl/text/newer_categories.hpp. Then has that
library split texts of those code points into words by the published expressions: tokenizer/newer_categories.json.
"""

import json
import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

from make_tokenizer import FOLDER, write_lines

# InternVL's on Qwen2.5 and Qwen3, and on gpt-oss
PATTERNS = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\P{L}+|\d+|\D",
]
HEADER = Path(__file__).resolve().parents[2] / "include/ivl/text/newer_categories.hpp"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def matched(pattern: str) -> set[int]:
    """What the expression matches: normalising takes it away."""
    remove = normalizers.Replace(Regex(pattern), "")
    found = set()
    for start in range(0, len(CODE_POINTS), 4096):
        block = CODE_POINTS[start : start + 4096]
        found |= set(block) - set(map(ord, remove.normalize_str("".join(map(chr, block)))))
    return found


def newer_ranges() -> list[tuple[int, int, str]]:
    category = {c: name for name in CATEGORIES for c in matched(rf"\p{{{name}}}")}
    ranges: list[tuple[int, int, str]] = []
    for c in CODE_POINTS:
        name, before = category.get(c, "Cn"), unicodedata.category(chr(c))
        if before != "Cn":
            if name[0] != before[0]:
                raise SystemExit(f"U+{c:04X} went from {before} to {name}: the table cannot say so")
        elif name != "Cn":
            if ranges and ranges[-1][1:] == (c - 1, name):
                ranges[-1] = (ranges[-1][0], c, name)
            else:
                ranges.append((c, c, name))
    return ranges


def words(pattern: str, text: str) -> list[str]:
    return [word for word, _ in pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)]


def main() -> None:
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit(f"this Python knows Unicode {unicodedata.unidata_version}; 3.11 and its 14.0.0 are needed")
    ranges = newer_ranges()
    rows = [f'{{0x{first:04X}, 0x{last:04X}, "{name}"}},' for first, last, name in ranges]
    lines = ["    " + " ".join(rows[at : at + 4]) for at in range(0, len(rows), 4)]
    HEADER.write_text(
        "// General categories of code points that Unicode 15 to 16 assigned. Written by tests/golden/make_categories.py from\n"
        f"// tokenizers {tokenizers.__version__}, whose expressions know them; PCRE2 up to 10.42 does not.\n"
        "#pragma once\n\nnamespace ivl::detail {\n\n"
        "struct CategoryRange {\n  char32_t first, last;\n  char category[3];\n};\n\n"
        "// clang-format off\ninline constexpr CategoryRange newer_categories[] = {\n" + "\n".join(lines) + "\n};\n"
        "// clang-format on\n\n}  // namespace ivl::detail\n"
    )
    texts = []
    for at in range(0, len(ranges), 3):
        pairs = [(chr(first), chr(last)) for first, last, _ in ranges[at : at + 3]]
        texts.append("".join(f"a{first}{last}1 {last}B{first}. {last}" for first, last in pairs))
    entries = [{"pattern": n, "text": text, "words": words(pattern, text)} for n, pattern in enumerate(PATTERNS) for text in texts]
    write_lines(FOLDER / "newer_categories.json",
                {"versions": {"tokenizers": tokenizers.__version__}, "patterns": PATTERNS, "split": entries})  # fmt: skip
    print(f"{HEADER}: {len(rows)} ranges")


if __name__ == "__main__":
    main()
