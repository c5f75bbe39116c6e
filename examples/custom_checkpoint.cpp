// Your own sizes: a checkpoint is a value, and a wrong one does not compile.
#include <cstdio>

#include "ivl/ivl.hpp"

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
  constexpr int vocabulary = 151936;
  std::printf("%.0f M parameters, %d tokens a tile, %lld bytes of keys and values a token\n",
              double(parameters(my_checkpoint, vocabulary)) / 1e6, my_checkpoint.tokens_per_tile(),
              static_cast<long long>(kv_bytes_per_token(my_checkpoint.decoder)));
  if (argc < 2) {
    std::printf("give a folder to load as this type; any other structure is refused, difference by difference\n");
    return 0;
  }
  try {
    ivl::cpu::Context ctx;
    const auto checkpoint = ivl::load<my_checkpoint>(ctx, argv[1]);
    ivl::Runner runner(ctx, checkpoint.vlm);
    ivl::Chat chat(runner, checkpoint.processor);
    std::printf("%s\n", chat.ask("Who are you?").c_str());
  } catch (const ivl::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
