// The bodies of the interface for OpenAI's clients (definitions.ipp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions_openai.ipp: every file of the program defines IVL_COMPILED, as ivl::compiled does"
#endif
#include "ivl/openai/answer.ipp"
#include "ivl/openai/api.ipp"
#include "ivl/openai/asked.ipp"
#include "ivl/openai/error.ipp"
#include "ivl/openai/fields.ipp"
#include "ivl/openai/generation_fields.ipp"
#include "ivl/openai/messages.ipp"
#include "ivl/openai/metrics.ipp"
#include "ivl/openai/pictures.ipp"
#include "ivl/openai/response.ipp"
#include "ivl/openai/response_format.ipp"
