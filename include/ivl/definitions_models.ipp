// The bodies of models and what serves them (definitions.ipp).
#pragma once
#ifndef IVL_COMPILED
#error "ivl/definitions_models.ipp: every file of the program defines IVL_COMPILED, as ivl::compiled does"
#endif
#include "ivl/model/checkpoint.ipp"
#include "ivl/model/convert_checkpoint.ipp"
#include "ivl/model/gguf_pair.ipp"
#include "ivl/model/processor.ipp"
#include "ivl/model/whole_sequences.ipp"
#include "ivl/ops/outline.ipp"
#include "ivl/ops/rope.ipp"
#include "ivl/parallel/threads.ipp"
#include "ivl/serve/batch_chat.ipp"
#include "ivl/serve/chat.ipp"
#include "ivl/serve/engine.ipp"
#include "ivl/serve/engine_room.ipp"
#include "ivl/serve/feature_pool.ipp"
#include "ivl/serve/kv_pool.ipp"
#include "ivl/serve/sampling.ipp"
#include "ivl/serve/scheduler.ipp"
#include "ivl/serve/sequence.ipp"
#include "ivl/serve/service.ipp"
#include "ivl/serve/token_rules.ipp"
