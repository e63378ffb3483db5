#include "backends/training/model_shape.h"

#include <fmt/format.h>

namespace quantfleet::training {

Status check(const ModelShape& s) {
  struct Limit {
    const char* name;
    std::int32_t value, most, multiple;
  };
  const Limit limits[] = {{"vocabulary", s.vocabulary, 65536, 16}, {"width", s.width, 16384, 16},
                          {"layers", s.layers, 256, 1},            {"heads", s.heads, 256, 1},
                          {"kv_heads", s.kv_heads, 256, 1},        {"head_width", s.head_width, 512, 16},
                          {"feed_forward", s.feed_forward, 65536, 16}, {"context", s.context, 16384, 1}};
  for (const Limit& limit : limits)
    if (limit.value < 1 || limit.value > limit.most || limit.value % limit.multiple != 0)
      return Error{Code::kBadShape, fmt::format("{} is {}, expected a multiple of {} from {} to {}", limit.name, limit.value,
                                                limit.multiple, limit.multiple, limit.most)};
  if (s.heads % s.kv_heads != 0)
    return Error{Code::kBadShape, fmt::format("{} heads cannot share {} kv_heads evenly", s.heads, s.kv_heads)};
  if (!(s.rope_base > 1.0f && s.rope_base < 1e9f))
    return Error{Code::kBadValue, fmt::format("rope_base is {}, expected more than 1 and less than 1e9", s.rope_base)};
  if (!(s.norm_eps > 0.0f && s.norm_eps < 1.0f))
    return Error{Code::kBadValue, fmt::format("norm_eps is {}, expected more than 0 and less than 1", s.norm_eps)};
  return {};
}

WeightPlaces place_weights(const ModelShape& s) {
  WeightPlaces places;
  std::int64_t next = 0;
  const auto add = [&](std::string name, std::int64_t rows, std::int64_t columns, bool norm = false, bool residual = false) {
    const std::int64_t offset = next;
    places.tensors.push_back({std::move(name), offset, rows, columns, norm, residual});
    next += rows * columns;
    return offset;
  };
  places.embedding = add("token_embd.weight", s.vocabulary, s.width);
  for (std::int32_t l = 0; l < s.layers; ++l) {
    const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", l, part); };
    LayerPlaces layer{};
    layer.attention_norm = add(name("attn_norm"), 1, s.width, true);
    layer.qkv = add(name("attn_q"), s.query_width(), s.width);
    add(name("attn_k"), s.kv_width(), s.width);
    add(name("attn_v"), s.kv_width(), s.width);
    layer.attention_output = add(name("attn_output"), s.width, s.query_width(), false, true);
    layer.ffn_norm = add(name("ffn_norm"), 1, s.width, true);
    layer.gate_up = add(name("ffn_gate"), s.feed_forward, s.width);
    add(name("ffn_up"), s.feed_forward, s.width);
    layer.down = add(name("ffn_down"), s.width, s.feed_forward, false, true);
    places.layers.push_back(layer);
  }
  places.output_norm = add("output_norm.weight", 1, s.width, true);
  places.output = add("output.weight", s.vocabulary, s.width);
  places.count = next;
  return places;
}

}  // namespace quantfleet::training
