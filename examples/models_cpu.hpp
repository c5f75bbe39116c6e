// What both ways of opening a model on the CPU share.
#pragma once
#include <memory>
#include <string>

#include "ivl/cpu/cpu.hpp"
#include "models.hpp"

inline std::unique_ptr<ivl::cpu::Context> open_context(const ModelChoice& choice) {
  return std::make_unique<ivl::cpu::Context>(choice.threads,
                                             choice.int8_products ? ivl::cpu::Numbers::int8 : ivl::cpu::Numbers::exact);
}

/// After the weights are placed. Nothing for exact numbers.
inline void say_what_stays_exact(const ivl::cpu::Context& ctx, const ivl::LoadOptions& options) {
  const std::string formats = exact_formats(ctx);
  if (!formats.empty() && options.note)
    options.note("--numbers int8: products with weights in " + formats + " stay exact");
}
