// make_random_model OUT.gguf [--format Q4_0] [--width 2048] [--layers 22] [--feed-forward 5632] [--heads 32] [--kv-heads 4]
// [--vocabulary 32000] [--context 2048] [--seed 1] [--tied]: a Llama model with random weights, for benches and streaming.
#include "contract/version.h"
#include "tests/random_model.h"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  using namespace quantfleet;
  test::RandomModel shape;
  shape.width = 2048, shape.layers = 22, shape.feed_forward = 5632, shape.heads = 32, shape.kv_heads = 4;
  shape.vocabulary = 32000, shape.context = 2048, shape.format = "Q4_0";
  std::string out;
  CLI::App app{"Writes a Llama model with random weights."};
  app.add_option("out", out, "GGUF file to write")->required();
  app.add_option("--format", shape.format, "weight format of the matrices")->capture_default_str();
  app.add_option("--width", shape.width)->capture_default_str()->check(CLI::Range(8, 1 << 16));
  app.add_option("--layers", shape.layers)->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--feed-forward", shape.feed_forward)->capture_default_str()->check(CLI::Range(8, 1 << 18));
  app.add_option("--heads", shape.heads)->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--kv-heads", shape.kv_heads)->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--vocabulary", shape.vocabulary)->capture_default_str()->check(CLI::Range(259, 1 << 20));
  app.add_option("--context", shape.context)->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app.add_option("--seed", shape.seed)->capture_default_str();
  app.add_flag("--tied", shape.tied, "the embedding is the output matrix, too");
  CLI11_PARSE(app, argc, argv);
  const Status status = test::write_random_model(out, shape);
  if (status) return 0;
  fmt::print(stderr, "make_random_model: {}\n", status.error().detail);
  return exit_code(status.error().code);
}
