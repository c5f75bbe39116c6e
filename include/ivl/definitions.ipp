// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this (core/compiled.hpp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions.ipp: define IVL_COMPILED for every file of the program, as the CMake target ivl::compiled does"
#endif
#include "ivl/core/error.ipp"
#include "ivl/files/json.ipp"
#include "ivl/files/mapped_file.ipp"
#include "ivl/files/safetensors.ipp"
