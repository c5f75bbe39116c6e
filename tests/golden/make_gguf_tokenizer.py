"""Writes tokenizer/*.gguf: our own small tokenizers as keys of GGUF files, with the types and scores that llama.cpp's converter
gives to tokens; and tokenizer/own_smollm.json: ids of our vocabulary behind SmolLM2's pre-tokenizer, which GGUF files only name.

    python make_gguf_tokenizer.py

Rows of the embedding beyond the tokens are [PAD...] tokens that are unused. Added tokens that are special, or spelt <|...|>, are
control tokens, and other ones user-defined.
"""

import json
from pathlib import Path

import sentencepiece
import tokenizers
from gguf import GGUFWriter, TokenType
from tokenizers import pre_tokenizers

FOLDER = Path(__file__).resolve().parent / "tokenizer"
PADDING = 6


def type_of_added(content: str, special: bool) -> int:
    return TokenType.CONTROL if special or (content.startswith("<|") and content.endswith("|>")) else TokenType.USER_DEFINED


def write(name: str, model: str, pre: str, tokens: list[str], types: list[int], fill) -> None:
    writer = GGUFWriter(FOLDER / f"{name}.gguf", "qwen3" if model == "gpt2" else "llama")
    tokens += [f"[PAD{len(tokens) + n}]" for n in range(PADDING)]
    types += [TokenType.UNUSED] * PADDING
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_level() -> None:
    file = json.loads((FOLDER / "own/tokenizer.json").read_text())
    tokens = sorted(file["model"]["vocab"], key=file["model"]["vocab"].get)
    types = [TokenType.NORMAL] * len(tokens)
    for added in file["added_tokens"]:
        assert added["id"] == len(tokens)
        tokens.append(added["content"])
        types.append(type_of_added(added["content"], added["special"]))

    def fill(writer: GGUFWriter) -> None:
        writer.add_token_merges([" ".join(merge) for merge in file["model"]["merges"]])
        writer.add_bos_token_id(tokens.index("<|endoftext|>"))
        writer.add_add_bos_token(False)

    write("own", "gpt2", "qwen2", tokens, types, fill)


def sentence_piece() -> None:
    name = "sentence_piece"
    model = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / name / "tokenizer.model"))
    added = json.loads((FOLDER / name / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    size = model.get_piece_size()
    tokens = [model.id_to_piece(i) for i in range(size)]
    scores = [model.get_score(i) for i in range(size)]
    types = [
        TokenType.UNKNOWN if model.is_unknown(i) else TokenType.CONTROL if model.is_control(i)
        else TokenType.BYTE if model.is_byte(i) else TokenType.NORMAL for i in range(size)
    ]  # fmt: skip
    for number, token in sorted((int(number), token) for number, token in added.items()):
        entry = (token["content"], -1000.0, type_of_added(token["content"], token["special"]))
        for column, value in zip((tokens, scores, types), entry):
            column[number : number + 1] = [value]

    def fill(writer: GGUFWriter) -> None:
        writer.add_token_scores(scores + [-10000.0] * PADDING)
        writer.add_bos_token_id(1)
        writer.add_add_space_prefix(True)

    write(name, "llama", "default", tokens, types, fill)


def smollm() -> None:
    file = json.loads((FOLDER / "own/tokenizer.json").read_text()) | {"normalizer": None}
    # As SmolLM2's, this vocabulary lacks a byte: it becomes part of a token that nothing merges to.
    file["model"]["vocab"]["~~~~"] = file["model"]["vocab"].pop("~")
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(file))
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    texts = ["a  1", "1  2  3", " 12 ab  34 ", "x \n 5", "½ ²³ ٣ Ⅷ", "\t7\t\t8  a", "it's 3 o'clock 4", "1~2", "~3", "4 ~", "a~b~~~~c5", "t~he~ i~n 5"]
    texts += ["a~b" * 20 + "6"]
    texts += [entry["text"] for entry in json.loads((FOLDER / "own.json").read_text())["encode"]]
    with_digits = [text for text in texts if any(map(str.isnumeric, text)) and len(text) < 200]
    entries = [json.dumps({"text": text, "ids": tokenizer.encode(text).ids}) for text in with_digits]
    versions = json.dumps({"tokenizers": tokenizers.__version__})
    (FOLDER / "own_smollm.json").write_text(f'{{"versions": {versions}, "encode": [\n' + ",\n".join(entries) + "\n]}\n")


byte_level()
sentence_piece()
smollm()
