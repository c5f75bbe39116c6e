// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this (core/compiled.hpp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions.ipp: define IVL_COMPILED for every file of the program, as the CMake target ivl::compiled does"
#endif
#include "ivl/checkpoint/bind.ipp"
#include "ivl/checkpoint/config_json.ipp"
#include "ivl/checkpoint/convert.ipp"
#include "ivl/checkpoint/place_part.ipp"
#include "ivl/checkpoint/place_weights.ipp"
#include "ivl/checkpoint/read_config.ipp"
#include "ivl/checkpoint/sources.ipp"
#include "ivl/config/fields.ipp"
#include "ivl/files/safetensors.ipp"
#include "ivl/formats/source_matrix.ipp"
#include "ivl/ops/outline.ipp"
#include "ivl/ops/rope.ipp"
#include "ivl/parallel/threads.ipp"
