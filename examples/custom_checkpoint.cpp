// Your own sizes: a checkpoint is a value, and a wrong one does not compile.
#include <cstdio>

#include "ivl/ivl.hpp"
#include "program.hpp"

// InternVL3.5-1B's tower in front of a decoder of your own.
constexpr ivl::VlmConfig my_checkpoint{
    .vit = ivl::intern_vit_300m,
    .projector = {},
    .decoder = {.layers = 12,
                .hidden = 768,
                .attention = {.heads = 12, .kv_heads = 4, .head_dim = 64, .head_norm = true},
                .mlp_hidden = 2048}};

// With .heads = 10 above, the compiler says:
//   AttentionConfig: heads must be a multiple of kv_heads, so that each group shares one
static_assert(ivl::checked<my_checkpoint>());

int main(int argc, char** argv) {
  CLI::App app("Says what a type of one's own needs, and loads a folder as it.");
  std::string folder;
  app.add_option("folder", folder, "to load as this type; any other structure is refused, difference by difference");

  return run_program(app, argc, argv, [&] {
    constexpr int vocabulary = 151936;
    std::printf("%.0f M parameters, %d tokens a tile, %lld bytes of keys and values a token\n",
                double(parameters(my_checkpoint, vocabulary)) / 1e6, my_checkpoint.tokens_per_tile(),
                static_cast<long long>(kv_bytes_per_token(my_checkpoint.decoder)));
    if (folder.empty()) return;
    ivl::cpu::Context ctx;
    const auto checkpoint = ivl::load<my_checkpoint>(ctx, folder);
    ivl::Runner runner(ctx, checkpoint.vlm);
    ivl::Chat chat(runner, checkpoint.processor);
    print_text(chat.ask("Who are you?") + "\n");
  });
}
