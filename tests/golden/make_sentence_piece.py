"""Token ids and decoded texts of SentencePiece models, as InternLM's tokenizers give them.

    python make_sentence_piece.py [--real ../../../shared/data/tokenizers]

Trains two small BPE models with the sentencepiece library (tokenizer/sentence_piece: spaces as in the text, a space before
it; tokenizer/sentence_piece_trimmed: no space before, runs of spaces joined, a user-defined piece) and writes what that
library makes of many strings. As in InternLM3's tokenizer class, added tokens are cut out first, and SentencePiece sees
each piece of text between them. tokenizer/internlm2_base.json is made by the `tokenizers` library from the real
tokenizer.json where it is there; only its ids are stored.
"""

import argparse
import io
import json
import random
import re
import shutil
from pathlib import Path

import sentencepiece
import tokenizers

import tiny_tokenizer
from make_tokenizer import FOLDER, HERE, all_strings, write_lines

MODELS = {
    "sentence_piece": {"add_dummy_prefix": True, "remove_extra_whitespaces": False},
    "sentence_piece_trimmed": {
        "add_dummy_prefix": False, "remove_extra_whitespaces": True, "user_defined_symbols": ["<sep>", "ab"],
    },
}  # fmt: skip
SPECIAL = ["<|im_start|>", "<|im_end|>", *tiny_tokenizer.VISUAL]
NOT_SPECIAL = ["<think>", "</think>"]


def train(folder: Path, strings: list[str], options: dict) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = (tiny_tokenizer.CORPUS + "\n".join(strings)).splitlines()
    model = io.BytesIO()  # a model that is trained from files keeps their paths
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line.replace("\x00", " ") for line in lines]), model_writer=model, model_type="bpe",
        vocab_size=900, character_coverage=0.98, byte_fallback=True, normalization_rule_name="identity", split_digits=True,
        num_threads=1, allow_whitespace_only_pieces=True, max_sentence_length=100000, minloglevel=2, **options,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    size = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    added = {
        str(token): {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                     "special": special}
        for token, content, special in [(0, "<unk>", True), (1, "<s>", True), (2, "</s>", True)]
        + [(size + n, content, content in SPECIAL) for n, content in enumerate(SPECIAL + NOT_SPECIAL)]
    }  # fmt: skip
    tiny_tokenizer.write_json(folder / "tokenizer_config.json", {"add_bos_token": True, "added_tokens_decoder": added})


def encoded(strings: list[str], id_of: dict[str, int], encode, decode) -> list[dict]:
    """Ids of each string, added tokens cut out first; its decoded text where it has none."""
    cut = re.compile("(" + "|".join(map(re.escape, sorted(id_of, key=len, reverse=True))) + ")")
    entries = []
    for text in strings:
        if "\x00" in text:  # sentencepiece's C++ strings are cut there
            continue
        ids = []
        for piece in cut.split(text):
            ids += [id_of[piece]] if piece in id_of else encode(piece) if piece else []
        entry = {"text": text, "ids": ids}
        if not any(content in text for content in id_of):
            entry["decoded"] = decode(ids)
        entries.append(entry)
    return entries


def id_lists(pieces: list[int], bytes_: list[int], spaces: list[int], added: list[int], seed: int) -> list[list[int]]:
    """Bytes that are UTF-8 in part or not at all, spaces at the start, added tokens between them; then anything."""
    draw = random.Random(seed)
    of = lambda text: [bytes_[byte] for byte in bytes.fromhex(text)]  # noqa: E731
    some = [draw.choice(pieces) for _ in range(4)]
    lists = [of(text) for text in ["F09F99", "8B50E794A681411B", "E4BD", "E4BD61", "E4BDA0E4", "F09F9982", "EDA080", "F4919293"]]
    lists += [of("F09F") + some[:1] + of("9982"), of("C3") + added[:1] + of("A9"), of("20") + some[:1], of("202061")]
    lists += [spaces + some[:1], spaces * 2 + some[:1], added[:1] + spaces + some, added + spaces * 2, of("41") + spaces + some]
    while len(lists) < 150:
        sources = draw.choices([pieces, bytes_, bytes_[0x80:], spaces, added], weights=[4, 1, 3, 2, 2], k=draw.randrange(1, 9))
        lists.append([token for source in sources for token in draw.choices(source, k=draw.randrange(1, 4))])
    return lists


def decoded_runs(ids: list[int], contents: dict[int, str], decode) -> str:
    """As InternLM3's tokenizer class decodes: each run between added tokens on its own."""
    text, run = "", []
    for token in ids:
        if token in contents:
            text, run = text + decode(run) + contents[token], []
        else:
            run.append(token)
    return text + decode(run)


def added_ids(folder: Path) -> dict[str, int]:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return {entry["content"]: int(token) for token, entry in config["added_tokens_decoder"].items()}


def golden(name: str, strings: list[str]) -> dict:
    model = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / name / "tokenizer.model"))
    id_of = added_ids(FOLDER / name)
    contents = {token: content for content, token in id_of.items()}
    special = {token for content, token in id_of.items() if content not in NOT_SPECIAL}
    bytes_ = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    pieces = [token for token in range(model.get_piece_size()) if token not in contents and not model.is_byte(token)]
    spaces = [token for token in pieces if not model.id_to_piece(token).strip("\u2581")]
    lists = id_lists(pieces, bytes_, spaces, list(contents), seed=1)
    return {
        "tokenizer": name,
        "versions": {"sentencepiece": sentencepiece.__version__},
        "size": max(id_of.values()) + 1,
        "bos": model.bos_id(),
        "encode": encoded(strings, id_of, model.encode, model.decode),
        "decode": [
            {"ids": ids, "text": decoded_runs(ids, contents, model.decode),
             "skip_special_tokens": decoded_runs([token for token in ids if token not in special], contents, model.decode)}
            for ids in lists
        ],
    }  # fmt: skip


def golden_of_json(folder: Path, strings: list[str]) -> dict:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False)  # noqa: E731
    bytes_ = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    pieces = [token for token in range(max(bytes_) + 1, 10000) if "UNUSED" not in tokenizer.id_to_token(token)]
    lists = id_lists(pieces, bytes_, [tokenizer.token_to_id("\u2581")], [1, 2], seed=2)
    return {
        "tokenizer": folder.name,
        "versions": {"tokenizers": tokenizers.__version__},
        "size": tokenizer.get_vocab_size(),
        "bos": tokenizer.encode("").ids[0],
        "encode": encoded(strings, added_ids(folder), encode, decode),
        "decode": [{"ids": ids, "text": decode(ids)} for ids in lists],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=Path, default=HERE / "../../../shared/data/tokenizers")
    real = parser.parse_args().real
    strings = all_strings() + ["ab<sep> a  b", "<sep>", "\u2581a\u2581\u2581b", "x <s>y</s> z", "<unk>"]
    contents = {}
    for name, options in MODELS.items():
        train(FOLDER / name, strings, options)
        contents[name] = golden(name, strings)
    folder = real / "internlm2_base"
    if (folder / "tokenizer.json").exists():
        contents["internlm2_base"] = golden_of_json(folder, strings)
    else:
        print(f"internlm2_base: {folder} is not there, its golden file stays as it is")
    for name, content in contents.items():
        write_lines(FOLDER / f"{name}.json", content)
        print(f"{name}: {len(content['encode'])} strings")


if __name__ == "__main__":
    main()
