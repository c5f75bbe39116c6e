// Every body that IVL_COMPILED leaves out of the headers: one file of a program includes this (core/compiled.hpp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions.ipp: define IVL_COMPILED for every file of the program, as the CMake target ivl::compiled does"
#endif
#include "ivl/files/safetensors.ipp"
#include "ivl/text/jinja.ipp"
#include "ivl/text/jinja_expressions.ipp"
#include "ivl/text/jinja_filters.ipp"
#include "ivl/text/jinja_functions.ipp"
#include "ivl/text/jinja_interpreter.ipp"
#include "ivl/text/jinja_lexer.ipp"
#include "ivl/text/jinja_methods.ipp"
#include "ivl/text/jinja_operators.ipp"
#include "ivl/text/jinja_parser.ipp"
#include "ivl/text/jinja_print.ipp"
#include "ivl/text/jinja_scopes.ipp"
#include "ivl/text/jinja_tests.ipp"
#include "ivl/text/jinja_text.ipp"
#include "ivl/text/jinja_value.ipp"
