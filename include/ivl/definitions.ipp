// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this (core/compiled.hpp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions.ipp: define IVL_COMPILED for every file of the program, as the CMake target ivl::compiled does"
#endif
#include "ivl/core/error.ipp"
#include "ivl/files/json.ipp"
#include "ivl/files/mapped_file.ipp"
#include "ivl/files/safetensors.ipp"
#include "ivl/text/bpe.ipp"
#include "ivl/text/chat_template.ipp"
#include "ivl/text/detokenizer.ipp"
#include "ivl/text/nfc.ipp"
#include "ivl/text/sentence_piece_file.ipp"
#include "ivl/text/split_regex.ipp"
#include "ivl/text/stream_decoder.ipp"
#include "ivl/text/tokenizer.ipp"
#include "ivl/text/tokenizer_file.ipp"
#include "ivl/text/vocabulary.ipp"
