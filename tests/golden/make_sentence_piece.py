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


def added_ids(folder: Path) -> dict[str, int]:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return {entry["content"]: int(token) for token, entry in config["added_tokens_decoder"].items()}


def golden(name: str, strings: list[str]) -> dict:
    model = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / name / "tokenizer.model"))
    id_of = added_ids(FOLDER / name)
    return {
        "tokenizer": name,
        "versions": {"sentencepiece": sentencepiece.__version__},
        "size": max(id_of.values()) + 1,
        "bos": model.bos_id(),
        "encode": encoded(strings, id_of, model.encode, model.decode),
    }


def golden_of_json(folder: Path, strings: list[str]) -> dict:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False)  # noqa: E731
    return {
        "tokenizer": folder.name,
        "versions": {"tokenizers": tokenizers.__version__},
        "size": tokenizer.get_vocab_size(),
        "bos": tokenizer.encode("").ids[0],
        "encode": encoded(strings, added_ids(folder), encode, decode),
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
