// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this (core/compiled.hpp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions.ipp: define IVL_COMPILED for every file of the program, as the CMake target ivl::compiled does"
#endif
#include "ivl/core/sha256.ipp"
#include "ivl/files/safetensors.ipp"
#include "ivl/image/decode.ipp"
#include "ivl/image/normalise.ipp"
#include "ivl/image/picture.ipp"
#include "ivl/image/resize.ipp"
#include "ivl/image/tiles.ipp"
#include "ivl/image/video.ipp"
#include "ivl/model/checkpoint.ipp"
#include "ivl/model/processor.ipp"
#include "ivl/model/whole_sequences.ipp"
#include "ivl/serve/chat.ipp"
#include "ivl/serve/engine.ipp"
#include "ivl/serve/feature_pool.ipp"
#include "ivl/serve/kv_pool.ipp"
#include "ivl/serve/sampling.ipp"
#include "ivl/serve/scheduler.ipp"
#include "ivl/serve/sequence.ipp"
