#include "backends/models/config.h"

#include "backends/formats/lora.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace quantfleet {

std::span<const Architecture* const> all_architectures() {
  static constexpr std::array kArchitectures = {&kLlama,  &kQwen2, &kQwen3,   &kQwen2Moe, &kQwen3Moe, &kGemma, &kGemma2,     &kGemma3,
                                                &kPhi2,   &kPhi3,  &kGpt2,    &kGptNeoX,  &kFalcon,   &kBloom, &kOlmo2,      &kStarcoder2};
  return kArchitectures;
}

Result<ModelConfig> read_model_config(const GgufFile& file) {
  if (const Status model = check_is_model(file); !model) return model.error();
  const auto name = file.get_string("general.architecture");
  if (!name) return name.error();
  std::string known;
  for (const Architecture* architecture : all_architectures()) {
    if (architecture->name == *name) return architecture->read_config(file);
    known += (known.empty() ? "" : ", ") + std::string(architecture->name);
  }
  return Error{Code::kUnknownArchitecture,
               fmt::format("{}: the architecture is '{}'; this program runs: {}", file.path().string(), *name, known)};
}

Result<double> read_number(const GgufFile& file, std::string_view architecture, std::string_view key, double fallback) {
  const std::string full = fmt::format("{}.{}", architecture, key);
  const auto value = file.float_or(full, fallback);
  if (value && !(*value >= 0 && *value < 1e9))
    return Error{Code::kBadValue, fmt::format("{}: {} is {}; 0 to 1e9 is possible", file.path().string(), full, *value)};
  return value;
}

Result<int> read_window(const GgufFile& file, std::string_view architecture, int fallback) {
  const std::string key = fmt::format("{}.attention.sliding_window", architecture);
  const auto value = file.int_or(key, fallback);
  if (!value) return value.error();
  if (*value < 0 || *value > 1 << 24)
    return Error{Code::kBadValue, fmt::format("{}: {} is {}; 0 to {} is possible", file.path().string(), key, *value, 1 << 24)};
  return static_cast<int>(*value);
}

Result<ModelConfig> read_common_config(const GgufFile& file, std::string_view architecture, Norm norm, RotaryPairing pairing,
                                       bool may_be_mixture) {
  ModelConfig config;
  config.architecture = architecture;
  config.norm = norm;
  config.rotary_pairing = pairing;
  const auto key = [&](std::string_view rest) { return fmt::format("{}.{}", architecture, rest); };
  const auto bad = [&](Code code, std::string sentence) { return Error{code, file.path().string() + ": " + std::move(sentence)}; };

  struct Field {
    int* value;
    std::string_view key;
    std::int64_t low, high, fallback;  // fallback -1: the key must be there
  };
  const auto read = [&](const Field& field) -> Status {
    const auto value = field.fallback < 0 ? file.get_int(key(field.key)) : file.int_or(key(field.key), field.fallback);
    if (!value) return value.error();
    if (*value < field.low || *value > field.high)
      return bad(Code::kBadValue, fmt::format("{} is {}; {} to {} is possible", key(field.key), *value, field.low, field.high));
    *field.value = static_cast<int>(*value);
    return {};
  };
  if (auto name = file.string_or("general.name", ""); name) config.name = *name;
  for (const Field& field : {Field{&config.context_tokens, "context_length", 1, 1 << 24, -1},
                             Field{&config.width, "embedding_length", 1, 1 << 17, -1},
                             Field{&config.layers, "block_count", 1, 1024, -1},
                             Field{&config.feed_forward, "feed_forward_length", 1, 1 << 20, -1},
                             Field{&config.heads, "attention.head_count", 1, 4096, -1}})
    if (auto status = read(field); !status) return status.error();
  if (auto s = read({&config.kv_heads, "attention.head_count_kv", 1, 4096, config.heads}); !s) return s.error();
  if (config.heads % config.kv_heads != 0)
    return bad(Code::kBadShape, fmt::format("{} query heads do not divide evenly among {} key-value heads", config.heads, config.kv_heads));
  if (!file.find(key("attention.key_length")) && config.width % config.heads != 0)
    return bad(Code::kBadShape, fmt::format("a width of {} does not divide into {} heads", config.width, config.heads));
  if (auto s = read({&config.head_width, "attention.key_length", 1, 1024, config.width / config.heads}); !s) return s.error();
  int value_width = 0;
  if (auto s = read({&value_width, "attention.value_length", 1, 1024, config.head_width}); !s) return s.error();
  if (value_width != config.head_width)
    return bad(Code::kUnsupported, fmt::format("keys are {} wide and values {}; this program needs them equal", config.head_width, value_width));
  if (auto s = read({&config.rotary_width, "rope.dimension_count", 2, 1024, config.head_width}); !s) return s.error();
  if (config.rotary_width % 2 != 0 || config.rotary_width > config.head_width)
    return bad(Code::kBadShape, fmt::format("{} is {}; it must be even and at most the head's width {}",
                                            key("rope.dimension_count"), config.rotary_width, config.head_width));

  const std::string epsilon_key = key(norm == Norm::kRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
  const auto epsilon = file.get_float(epsilon_key);
  if (!epsilon) return epsilon.error();
  if (!(*epsilon > 0 && *epsilon < 1))
    return bad(Code::kBadValue, fmt::format("{} is {}; it must lie between 0 and 1", epsilon_key, *epsilon));
  const auto experts = file.int_or(key("expert_count"), 0);
  if (!experts) return experts.error();
  if (*experts != 0 && !may_be_mixture)
    return bad(Code::kUnsupported, fmt::format("a mixture of {} experts; this program runs {} without", *experts, architecture));
  config.norm_epsilon = static_cast<float>(*epsilon);
  const auto base = file.float_or(key("rope.freq_base"), 10000.0);
  if (!base) return base.error();
  if (!(*base > 1 && *base < 1e12))
    return bad(Code::kBadValue, fmt::format("{} is {}; it must lie between 1 and 1e12", key("rope.freq_base"), *base));
  config.rotary_base = *base;
  const auto scale = file.float_or(key("attention.scale"), 0.0);
  if (!scale) return scale.error();
  if (!(*scale >= 0 && *scale < 1e6)) return bad(Code::kBadValue, fmt::format("{} is {}", key("attention.scale"), *scale));
  config.attention_scale =
      *scale > 0 ? static_cast<float>(*scale) : 1.0f / std::sqrt(static_cast<float>(config.head_width));

  const auto scaling = file.string_or(key("rope.scaling.type"), "linear");
  if (!scaling) return scaling.error();
  if (*scaling == "linear" || *scaling == "yarn") {
    auto factor = file.float_or(key("rope.scaling.factor"), 0.0);
    if (!factor) return factor.error();
    if (*factor == 0) factor = file.float_or(key("rope.scale_linear"), 1.0);  // the key of old files
    if (!factor) return factor.error();
    if (!(*factor >= 1e-3 && *factor <= 1e6))
      return bad(Code::kBadValue, fmt::format("{} is {}", key("rope.scaling.factor"), *factor));
    config.rotary_scale = *factor;
    if (*scaling == "yarn") {
      if (auto s = read({&config.yarn_original_context, "rope.scaling.original_context_length", 1, 1 << 24, config.context_tokens}); !s)
        return s.error();
      const auto magnitude = read_number(file, architecture, "rope.scaling.attn_factor", 1);
      if (!magnitude) return magnitude.error();
      config.rotary_magnitude = *magnitude * yarn_magnitude(*factor);
    }
  } else if (*scaling != "none" && !(*scaling == "longrope" && file.find_tensor("rope_factors_short.weight"))) {
    return bad(Code::kUnsupported, fmt::format("{} is '{}'; this program has 'none', 'linear', 'yarn', and 'longrope' with its tensors",
                                               key("rope.scaling.type"), *scaling));
  }

  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (!embedding) return bad(Code::kNotFound, "tensor token_embd.weight is missing");
  if (embedding->rows() < 1 || embedding->rows() > 1 << 24)
    return bad(Code::kBadShape, fmt::format("token_embd.weight has {} rows; 1 to 16777216 tokens are possible", embedding->rows()));
  config.vocabulary_tokens = static_cast<int>(embedding->rows());
  return config;
}

Status read_mixture(const GgufFile& file, ModelConfig& config, int expert_feed_forward_fallback, bool normalized_fallback) {
  const auto bad = [&](std::string sentence) { return Error{Code::kBadValue, file.path().string() + ": " + std::move(sentence)}; };
  const auto read = [&](int& value, std::string_view name, std::int64_t low, std::int64_t high, std::int64_t fallback) -> Status {
    const std::string key = fmt::format("{}.{}", config.architecture, name);
    const auto given = file.int_or(key, fallback);
    if (!given) return given.error();
    if (*given < low || *given > high) return bad(fmt::format("{} is {}; {} to {} is possible", key, *given, low, high));
    value = static_cast<int>(*given);
    return {};
  };
  if (auto s = read(config.experts, "expert_count", 0, 4096, 0); !s) return s;
  if (config.experts == 0) return {};
  if (auto s = read(config.experts_used, "expert_used_count", 1, config.experts, 0); !s) return s;
  if (auto s = read(config.expert_feed_forward, "expert_feed_forward_length", 1, 1 << 20, expert_feed_forward_fallback); !s) return s;
  if (auto s = read(config.shared_feed_forward, "expert_shared_feed_forward_length", 0, 1 << 20, 0); !s) return s;
  int gating = 0;
  if (auto s = read(gating, "expert_gating_func", 0, 1000, 1); !s) return s;
  if (gating > 1)
    return Error{Code::kUnsupported, fmt::format("{}: {}.expert_gating_func is {}; this program has 1, the softmax", file.path().string(),
                                                 config.architecture, gating)};
  const auto normalized = file.bool_or(config.architecture + ".expert_weights_norm", normalized_fallback);
  if (!normalized) return normalized.error();
  config.expert_weights_normalized = *normalized;
  const auto scale = read_number(file, config.architecture, "expert_weights_scale", 0);
  if (!scale) return scale.error();
  config.expert_weights_scale = *scale > 0 ? static_cast<float>(*scale) : 1.0f;
  return {};
}

}  // namespace quantfleet
