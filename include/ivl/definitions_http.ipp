// The bodies of http/, which need Boost (definitions.ipp does without them).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions_http.ipp: every file of the program defines IVL_COMPILED, as ivl::http does"
#endif
// Each needs those above it.
// clang-format off
#include "ivl/http/fetch_tls.ipp"
#include "ivl/http/fetch.ipp"
#include "ivl/http/server_reader.ipp"
#include "ivl/http/server_loop.ipp"
#include "ivl/http/server_connection.ipp"
#include "ivl/http/server_writing.ipp"
#include "ivl/http/server.ipp"
// clang-format on
