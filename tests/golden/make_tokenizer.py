"""Token ids and decoded texts as the HF `tokenizers` library gives them.

    python make_tokenizer.py [--real ../../../shared/data/tokenizers]

Writes tokenizer/own*/ (one small tokenizer in three spellings) and tokenizer/<name>.json for it and for the real
tokenizers; where a real one is missing its golden file is left as it is. Only ids of the real ones are stored.
"""

import argparse
import codecs
import json
import random
import shutil
import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

import tiny_tokenizer

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "tokenizer"
OWN_MERGES = 600
REAL = ("internvl3", "internvl3_5", "internvl3_5_gpt_oss")
UNICODE = "14.0.0"  # of Python's tables here, and of PCRE2 10.42

CHINESE_SYSTEM = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)

WRITTEN = [
    "",
    # worked examples
    "hello", "Hello, world!", "Describe this image in detail.", "你好，世界", "I'm InternVL3.5; it's 2025-08-06.",
    "1234567", "  two  spaces\n\n\ttab", "naïve café", "cafe\u0301", "🙂👍🏽", "don't DON'T", "a\r\n\r\nb",
    "x = y/2 //c\n", "नमस्ते", "ก็", "  ", "   x", "\n", "\n\n", "\u00a0", "Hello world", " Hello world", "'ſ",
    "<|im_start|>user\nHi<|im_end|>\n", "<box>[[1, 2, 3, 4]]</box>", "<think>\n\n</think>\n\n", CHINESE_SYSTEM,
    f"<|im_start|>system\n{CHINESE_SYSTEM}<|im_end|>\n<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\n"
    "Describe this image.<|im_end|>\n<|im_start|>assistant\n",
    # contractions and apostrophes
    "I've you're they'll he'd it's I'm can't", "I'VE YOU'RE THEY'LL HE'D IT'S I'M CAN'T", "'s", "''s", "'S'T'RE'VE'M'LL'D",
    "it\u2019s", "'\u017f", "'\u017fx", "a'\u017fb", "x'\u212a", "'ré", "'lL", "'v", "'ve'", "rock'n'roll", "d'd'd", "'\u0073",
    "l'été", "o'clock's", "'re're", "\u02bcs",
    # letters of many scripts
    "Привет, как дела?", "ΑΒΓ αβγ ς", "שָׁלוֹם עולם", "مرحبا بالعالم", "السَّلامُ", "日本語のテキスト、カタカナ。", "한국어 텍스트",
    "ಕನ್ನಡ", "தமிழ் மொழி", "বাংলা ভাষা", "ไทยภาษา", "ພາສາລາວ", "ភាសាខ្មែរ", "မြန်မာ", "བོད་སྐད་", "ქართული", "Հայերեն", "አማርኛ", "ᏣᎳᎩ",
    "ᓀᐦᐃᔭᐍᐏᐣ", "𐍈𐌰𐌹", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𠀀𠀁𪚥", "ﬁ ﬂ ﬀ", "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ", "ⅣⅤ ⅷ", "①②③ ⑩", "½ ¼ ¾ ²³¹", "٠١٢٣٤", "०१२३", "０１２３", "𝟘𝟙𝟚", "〇一二三", "㊀㊁",
    "ªº", "ʰʱ", "ǅ ǈ ǋ", "İstanbul ıI", "ẞß", "Ĳĳ", "Ω Ω", "K K", "Å Å",
    # combining marks, NFC
    "e\u0301", "E\u0301\u0302", "a\u0323\u0302", "a\u0302\u0323", "\u1100\u1161\u11a8", "\u1100\u1161", "\uac00\u11a8", "q\u0307\u0323",
    "q\u0323\u0307", "\u0301", " \u0301", "a \u0301b", "1\u0301", "1\u20e3", "#\ufe0f\u20e3", ">\u0338", "<\u0338", "=\u0338", "\u212b", "\u2126",
    "\u0958", "\u0915\u093c", "\u2adc", "\ufb1d", "\u05d9\u05b4", "\u0344", "\u0374", "\u037e", "\u0387", "\u2000\u2001", "\uf900\ufa10",
    "\U0002f800", "\u0f73", "\u0fb2\u0f71\u0f80", "\u0cca", "\u0cc6\u0cc2", "\u1e9b\u0323", "n\u0303o", "o\u0308\u0304", "\u0041\u030a", "x\u0338\u0301y",
    "<|im_end|>\u0338", "<img>\u0301</img>", "a\u0301<img>e\u0301", "\u0301<img>",
    # emoji
    "👩‍👩‍👧‍👦", "🏳️‍🌈", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👨🏿‍🚀", "❤️", "❤", "☺︎", "🇩🇪🇫🇷", "🇩", "👋🏻👋🏼👋🏽👋🏾👋🏿", "🙂🙂🙂", "a🙂b", " 🙂", "🙂\n", "1️⃣2️⃣", "©️®™", "\u200d", "\ufe0f",
    # white space
    " ", "    ", "\t", "\t\t x", " \t ", "\r", "\r\n", "\n\r", "\r\r\n\n", " \n", "\n ", " \n ", "  \n  ", "\n\n\n", "a\n", "a \n", "a \n b", "a  \n\n  b",
    "a\n\n\nb", "a   b", "a    b     c", "\ta\tb", "a\t\tb", "\u00a0a", "a\u00a0b", "a\u00a0\u00a0b", "\u3000", "\u3000あ", "a\u3000\u3000b", "\u2003x", "\u1680x",
    "\u2028", "a\u2028b", "\u2029\u2029", "\u0085", "a\u0085b", "\u200b", "a\u200bb", "\ufeffa", "a\ufeff", "\u000b\u000c", "\x1c\x1d\x1e\x1f", "\u180e",
    "\u202fx", "\u205f\u205f", " \u00a0 ", "\n\u00a0\n", "   \n   x", "x   ", "x\t", "x\n\t", "x \r\n y", "...\n\n", "...\r\n\r\nx", "!\n \n!", ") \n(",
    # digits
    "0", "00", "12", "123", "1234", "12345.678", "1,000,000", "3.14159", "-1", "1e10", "0x1F", "a1b2c3", "v2.0.1", "2025-08-06T12:34:56Z", "١٢٣ abc", "1 2 3",
    "12 345", "½1", "x²", "H₂O", "10⁻³", "№5", "5%", "$5.00", "€10", "¥100",
    # code and punctuation
    "for (int i = 0; i < n; ++i) {\n    sum += a[i];\n}\n", "def f(x):\n\treturn x**2\n", "#include <vector>\n", "a->b::c()", "if(a&&b||!c)", "\"quoted\" 'single' `tick`",
    "{\"key\": [1, 2.5, null, true]}", "<html><body>Hi</body></html>", "SELECT * FROM t WHERE a='b';", "https://example.com/a?b=c&d=%20#e", "user@example.com", "C:\\path\\to",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "!!!", "???!!!", "...", "…", "—–-", "«»„“”‚‘’", "()[]{}<>", "+-*/=%", "~`@#$^&_|\\", "/* c */ // d\n", "\\n\\t",
    "$$\\frac{a}{b}$$", "a.b.c", "a,b", "a , b", " ,", " .", " (", "( ", "__init__", "!=", "===", "-->", "<!-- x -->", "\x00", "a\x00b", "\x01\x02\x7f", "\x1b[0m",
    # special tokens inside text
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<IMG_CONTEXT>" * 5, " <img> ", "a<img>b", "a <img> b", "\n<img>\n", "<img><img>",
    "<|im_start|><|im_end|>", "<|im_start|>assistant\n", "<|im_start|>\n", "<|im_end", "|im_end|>", "<|im_end|", "<|im_end|>>", "<<|im_end|>", "<|im_ start|>", "<|IM_START|>",
    "< img>", "<img >", "<IMG>", "<img_context>", "<IMG_CONTEXT", "<<IMG_CONTEXT>>", "<image>", "<image>\n<img>", "<video>", "<ref>cat</ref><box>[[1,2,3,4]]</box>",
    "<quad>1</quad>", "</quad>", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<tool_response>x</tool_response>", "<think>hmm</think>ok", "</think>\n\nyes", "<|vision_start|><|image_pad|><|vision_end|>",
    "<|object_ref_start|>a<|object_ref_end|>", "<|box_start|>(1,2)<|box_end|>", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "<|repo_name|>r<|file_sep|>f", "  <|im_end|>  ", "x  <|im_end|>",
    "x \n <|im_end|>\n", "<|im_end|>'s", "it<|im_end|>'s", "1<|im_end|>2", "你好<|im_end|>世界", "🙂<img>🙂", "<think", "think>", "<|endoftext|><|endoftext|>", "<|video_pad|> <|vision_pad|><|quad_start|><|quad_end|><|fim_pad|>",
    # runs
    "a" * 300, "ab" * 200, " " * 130, "\n" * 70, "!" * 150, "1" * 80, "é" * 90, "e\u0301" * 60, "漢" * 70, "🙂" * 40, "\u0301" * 50, "a\u0301\u0302\u0303\u0304" * 20,
    "ab " * 100, "the quick brown fox jumps over the lazy dog. " * 8, "\t \n" * 30, "<" * 60, "<|" * 40, "\u00a0" * 40, "'" * 41, "'s" * 40, "=" * 129, "\r\n" * 33, "- " * 50, "ÀÉ" * 50,
]  # fmt: skip

NEWER = [
    "\U0001fae8", "\U0001fa75 x", "a\U0001fa77b", "\U0001fabb\U0001fabc", "\U0001f6dc",  # emoji of Unicode 15
    "\U00031350", "\U00031350\U00031351 a", "x\U000323af",  # CJK extension H, Unicode 15
    "\U0002ebf0", "a\U0002ebf1b",  # CJK extension I, Unicode 15.1
    "\u0cf3", "\u0ecea", "\U0001b132", "\U0001b155x",  # marks and kana, Unicode 15
    "\U00011f00\U00011f04", "\U00011f50\U00011f51", "\U0001e4d0\U0001e4f0",  # Kawi, Nag Mundari, Unicode 15
    "\U0001d2c0\U0001d2c1 1", "\U00011f02 \U00011f12",
    "\ua7cb \ua7cc", "\u1c89\u1c8a", "\U00010d40\U00010d50", "\U0001e5d0",  # Unicode 16
    "\U000105c9", "\U000105c0\U000105d2\u0307", "\U0001612a", "\U00011382\U000113c9",
]  # fmt: skip

INVALID_UTF8 = [
    "80", "ff", "c0af", "c3", "c328", "e28a", "e28a61", "e28a28c3", "eda080", "edafbfedbfbf", "f09f98", "f09f9861", "f0808080", "f4908080", "f8888080", "61c3b6ff62", "e0808080", "f09f9882e2",
    "e282ac80", "c3a9c3", "20ff20", "3c7c696d5f656e647cff3e", "fe", "efbfbd", "f0ff9f98", "e1a0c080", "41c2", "c2c2a0",
]  # fmt: skip

FRAGMENTS = [
    " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "a", "The", " the", "image", " picture", "ing", "'s", "'LL", "'", "don't", "1", "42", " 7", "2025", ".", ",", "!", " (", ")", "...", "::", "->", "==",
    "你好", "图片", "日本", "カナ", "한글", "é", "e\u0301", "ñ", "ß", "Привет", "мир", "αβ", "שלום", "سلام", "हिन्दी", "ไทย", "🙂", "👩‍💻", "👍🏽", "🇯🇵", "❤️", "\u0301", "\u200d", "\ufe0f", "½", "Ⅷ", "٣", "_", "/", "\\", "\"", "{", "}",
    "<img>", "</img>", "<IMG_CONTEXT>", "<|im_end|>", "<|im_start|>", "<think>", "</think>", "<box>", "<|", "|>", "<", ">", "\x00", "\ufeff", "\u2028", "𝒳", "𠮷", "\u1100", "\u1161", "\u11a8", "\uac00", "if", "return", "x_1", "0.5",
]  # fmt: skip


def all_strings() -> list[str]:
    draw = random.Random(11)
    composed = ["".join(draw.choices(FRAGMENTS, k=draw.randint(2, 14))) for _ in range(260)]
    strings = list(dict.fromkeys(WRITTEN + composed))
    for text in strings:
        if any(unicodedata.category(char) == "Cn" for char in text):
            raise SystemExit(f"{text!r} has a code point that Unicode {UNICODE} does not know")
    return strings


# --- our own tokenizer, three spellings --------------------------------------------------------------------------------


def write_own(strings: list[str]) -> Path:
    content = tiny_tokenizer.tokenizer_json("qwen3", OWN_MERGES, tiny_tokenizer.CORPUS + "\n".join(strings))
    paths = [FOLDER / name for name in ("own", "own_files", "own_old_merges")]
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    own, files, old_merges = paths
    tiny_tokenizer.write_tokenizer_json(own, content)
    tiny_tokenizer.write_vocab_and_merges(files, content)
    tiny_tokenizer.write_json(files / "tokenizer_config.json", tiny_tokenizer.tokenizer_config(content))
    old = {**content, "model": {**content["model"], "merges": [" ".join(pair) for pair in content["model"]["merges"]]}}
    tiny_tokenizer.write_tokenizer_json(old_merges, old)

    spellings = [Tokenizer.from_file(str(old_merges / "tokenizer.json")), tokenizer_of_files(files)]
    reference = Tokenizer.from_file(str(own / "tokenizer.json"))
    for text in strings:
        if any(spelling.encode(text).ids != reference.encode(text).ids for spelling in spellings):
            raise SystemExit(f"the spellings of our own tokenizer disagree on {text!r}")
    return own


def tokenizer_of_files(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(tiny_tokenizer.PRE_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for entry in config["added_tokens_decoder"].values():
        token = AddedToken(entry["content"], normalized=False, special=entry["special"])
        (tokenizer.add_special_tokens if entry["special"] else tokenizer.add_tokens)([token])
    return tokenizer


# --- golden values -----------------------------------------------------------------------------------------------------


def id_lists(tokenizer: Tokenizer, strings: list[str]) -> list[list[int]]:
    """Whole and cut encodings, so that characters break in the middle, and lists drawn at random."""
    draw = random.Random(12)
    lists: list[list[int]] = [[]]
    for text in strings[::6]:
        ids = tokenizer.encode(text).ids[:60]
        start = draw.randrange(len(ids) + 1)
        lists += [ids, ids[:start], ids[start:]]
    rows = tokenizer.get_vocab_size()
    first_added = min(tokenizer.get_added_tokens_decoder())
    for _ in range(60):
        kind = draw.choice(["any", "bytes", "bytes", "added"])
        limits = {"any": (0, rows), "bytes": (0, 256), "added": (first_added, rows)}[kind]
        lists.append([draw.randrange(*limits) for _ in range(draw.randint(1, 12))])
    lists += [[rows], [rows + 100, 72, rows], [32, rows + 1, 33]]  # ids without a token decode to nothing
    return [list(ids) for ids in dict.fromkeys(map(tuple, lists))]


def bytes_of(tokenizer: Tokenizer, token: int) -> bytes:
    added = tokenizer.get_added_tokens_decoder()
    if token in added:
        return added[token].content.encode()
    byte_of = {letter: byte for byte, letter in tiny_tokenizer.byte_alphabet().items()}
    return bytes(byte_of[letter] for letter in tokenizer.id_to_token(token) or "")


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What may be shown after each id, and at last what is left over, by Python's incremental UTF-8 decoder."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [decoder.decode(bytes_of(tokenizer, token)) for token in ids] + [decoder.decode(b"", final=True)]


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[dict]:
    return [{"text": text, "ids": tokenizer.encode(text).ids} for text in texts]


def golden(name: str, tokenizer: Tokenizer, strings: list[str]) -> dict:
    with_special = [text for text in strings if "<" in text]
    entries = encoded(tokenizer, strings)
    tokenizer.encode_special_tokens = True
    as_text = encoded(tokenizer, with_special)
    tokenizer.encode_special_tokens = False

    decoded = []
    for ids in id_lists(tokenizer, strings):
        text = tokenizer.decode(ids, skip_special_tokens=False)
        pieces = streamed(tokenizer, ids)
        if "".join(pieces) != text:
            raise SystemExit(f"{name}: streaming {ids} gives another text than decoding")
        without = tokenizer.decode(ids, skip_special_tokens=True)
        decoded.append({"ids": ids, "text": text, "skip_special_tokens": without, "streamed": pieces})

    invalid = []
    for data in INVALID_UTF8:
        text = bytes.fromhex(data).decode("utf-8", "replace")
        invalid.append({"bytes": data, "text": text, "ids": tokenizer.encode(text).ids})
    return {
        "tokenizer": name,
        "versions": {"tokenizers": tokenizers.__version__, "unicode": UNICODE},
        "size": tokenizer.get_vocab_size(),
        "encode": entries,
        "encode_special_as_text": as_text,
        "encode_newer_than_unicode_14": encoded(tokenizer, NEWER),
        "encode_invalid_utf8": invalid,
        "decode": decoded,
    }


def write_lines(path: Path, value: dict) -> None:
    """JSON, ASCII only, one entry of a list on a line."""
    parts = []
    for key, item in value.items():
        lines = (
            [json.dumps(entry, ensure_ascii=True, separators=(",", ":")) for entry in item]
            if isinstance(item, list)
            else None
        )
        text = "[\n" + ",\n".join(lines) + "\n]" if lines is not None else json.dumps(item)
        parts.append(f"{json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=Path, default=HERE / "../../../shared/data/tokenizers")
    real = parser.parse_args().real
    if unicodedata.unidata_version != UNICODE:
        raise SystemExit(f"this Python knows Unicode {unicodedata.unidata_version}; 3.11 and its {UNICODE} are needed")
    strings = all_strings()
    folders = {"own": write_own(strings), **{name: real / name for name in REAL}}
    for name, folder in folders.items():
        if not (folder / "tokenizer.json").exists():
            print(f"{name}: {folder} is not there, its golden file stays as it is")
            continue
        content = golden(name, Tokenizer.from_file(str(folder / "tokenizer.json")), strings)
        write_lines(FOLDER / f"{name}.json", content)
        print(f"{name}: {len(content['encode'])} strings, {len(content['decode'])} id lists")


if __name__ == "__main__":
    main()
