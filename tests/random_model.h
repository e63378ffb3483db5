// Llama models with random weights, for tests, benches and streaming: any shape and weight format, a byte-level vocabulary
// (256 bytes, "th", "the", "tok258", ... and <|endoftext|> last). Rows repeat after 128, so that big ones are quick to make.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/quantizers/quantize_model.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet::test {

struct RandomModel {
  int width = 64, layers = 2, feed_forward = 128, heads = 4, kv_heads = 2, vocabulary = 300, context = 128;
  std::string format = "F32";
  bool tied = false;
  bool adds_bos = false;
  std::uint64_t seed = 1;
};

inline Status write_random_model(const std::filesystem::path& path, const RandomModel& shape) {
  const BlockFormat* format = find_format(shape.format);
  if (!format) return Error{Code::kUnknownFormat, "no weight format is called " + shape.format};
  const BlockFormat* f32 = find_format("F32");
  const std::int64_t C = shape.width, F = shape.feed_forward, V = shape.vocabulary, D = C / shape.heads;
  if (V < 259) return Error{Code::kBadShape, "the vocabulary needs at least 259 tokens"};

  std::vector<GgufWriter::TensorPlan> plans;
  const auto matrix = [&](std::string name, std::int64_t rows, std::int64_t columns) {
    plans.push_back({std::move(name), columns % format->values_per_block ? find_format("F16") : format, {columns, rows}});
  };
  matrix("token_embd.weight", V, C);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const auto name = [&](const char* rest) { return fmt::format("blk.{}.{}.weight", layer, rest); };
    plans.push_back({name("attn_norm"), f32, {C}});
    matrix(name("attn_q"), C, C);
    matrix(name("attn_k"), shape.kv_heads * D, C);
    matrix(name("attn_v"), shape.kv_heads * D, C);
    matrix(name("attn_output"), C, C);
    plans.push_back({name("ffn_norm"), f32, {C}});
    matrix(name("ffn_gate"), F, C);
    matrix(name("ffn_up"), F, C);
    matrix(name("ffn_down"), C, F);
  }
  plans.push_back({"output_norm.weight", f32, {C}});
  if (!shape.tied) matrix("output.weight", V, C);

  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  for (int byte = 0, next = 0x100; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int c = itself ? byte : next++;
    tokens.push_back(c < 0x80 ? std::string(1, char(c)) : std::string{char(0xc0 | c >> 6), char(0x80 | (c & 0x3f))});
  }
  tokens.insert(tokens.end(), {"th", "the"});
  while (static_cast<std::int64_t>(tokens.size()) + 1 < V) tokens.push_back(fmt::format("tok{}", tokens.size()));
  tokens.push_back("<|endoftext|>");
  types.assign(tokens.size(), 1);
  types.back() = 3;
  const auto u32 = [](std::int64_t value) { return gguf_uint32(static_cast<std::uint32_t>(value)); };
  const std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.architecture", gguf_string("llama")}, {"general.name", gguf_string("random")},
      {"llama.context_length", u32(shape.context)}, {"llama.embedding_length", u32(C)}, {"llama.block_count", u32(shape.layers)},
      {"llama.feed_forward_length", u32(F)}, {"llama.attention.head_count", u32(shape.heads)},
      {"llama.attention.head_count_kv", u32(shape.kv_heads)}, {"llama.rope.dimension_count", u32(D)},
      {"llama.attention.layer_norm_rms_epsilon", gguf_float32(1e-5f)}, {"llama.vocab_size", u32(V)},
      {"tokenizer.ggml.model", gguf_string("gpt2")}, {"tokenizer.ggml.pre", gguf_string("gpt-2")},
      {"tokenizer.ggml.tokens", gguf_strings(tokens)}, {"tokenizer.ggml.token_type", gguf_int32s(types)},
      {"tokenizer.ggml.merges", gguf_strings({"t h", "th e"})}, {"tokenizer.ggml.bos_token_id", u32(V - 1)},
      {"tokenizer.ggml.eos_token_id", u32(V - 1)}, {"tokenizer.ggml.add_bos_token", gguf_bool(shape.adds_bos)}};

  auto writer = GgufWriter::create(path, metadata, plans);
  if (!writer) return writer.error();
  std::uint64_t state = shape.seed * 0x9e3779b97f4a7c15ull + 1;
  const auto next_value = [&] {  // nearly Gaussian: the sum of four uniform bytes
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (static_cast<float>((state & 255) + (state >> 16 & 255) + (state >> 32 & 255) + (state >> 48 & 255)) - 510.0f) / 147.8f;
  };
  for (const auto& plan : plans) {
    const bool norm = plan.shape.size() == 1;
    const std::int64_t columns = plan.shape[0], rows = norm ? 1 : plan.shape[1], distinct = std::min<std::int64_t>(rows, 128);
    const bool embedding = plan.name == "token_embd.weight";
    const float scale = norm ? 0.1f : embedding ? 1.0f : (plan.name == "output.weight" ? 3.0f : 1.0f) / std::sqrt(static_cast<float>(columns));
    std::vector<float> row(static_cast<std::size_t>(columns));
    std::vector<std::byte> bytes(static_cast<std::size_t>(plan.format->row_bytes(columns) * distinct));
    for (std::int64_t r = 0; r < distinct; ++r) {
      for (float& value : row) value = scale * next_value() + (norm ? 1.0f : 0.0f);
      encode_row(*plan.format, row.data(), columns, nullptr, bytes.data() + r * plan.format->row_bytes(columns));
    }
    for (std::int64_t r = 0; r < rows; r += distinct) {
      const std::int64_t take = std::min(distinct, rows - r);
      if (auto status = (*writer)->write(std::span(bytes).first(static_cast<std::size_t>(take * plan.format->row_bytes(columns)))); !status)
        return status;
    }
  }
  return (*writer)->finish();
}

}  // namespace quantfleet::test
