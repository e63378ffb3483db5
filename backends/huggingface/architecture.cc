#include "backends/huggingface/architecture.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>
#include <system_error>

namespace quantfleet::huggingface {
namespace {

constexpr auto kAsStored = RowOrder::kAsStored;

// Llama, Mistral.
constexpr Module kLlamaModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q", RowOrder::kQueryPairs},
    {"model.layers.{}.self_attn.k_proj", "attn_k", RowOrder::kKeyPairs},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
// Qwen 2, 2.5 and 3.
constexpr Module kQwenModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.q_norm", "attn_q_norm"},
    {"model.layers.{}.self_attn.k_norm", "attn_k_norm"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
constexpr Module kMixtralModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q", RowOrder::kQueryPairs},
    {"model.layers.{}.self_attn.k_proj", "attn_k", RowOrder::kKeyPairs},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.block_sparse_moe.gate", "ffn_gate_inp"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w1", "ffn_gate_exps"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w3", "ffn_up_exps"},
    {"model.layers.{}.block_sparse_moe.experts.{}.w2", "ffn_down_exps"},
};
// Qwen 2 and 3 with experts; layers without are as in the dense models.
constexpr Module kQwenMoeModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.q_norm", "attn_q_norm"},
    {"model.layers.{}.self_attn.k_norm", "attn_k_norm"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
    {"model.layers.{}.mlp.gate", "ffn_gate_inp"},
    {"model.layers.{}.mlp.experts.{}.gate_proj", "ffn_gate_exps"},
    {"model.layers.{}.mlp.experts.{}.up_proj", "ffn_up_exps"},
    {"model.layers.{}.mlp.experts.{}.down_proj", "ffn_down_exps"},
    {"model.layers.{}.mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"model.layers.{}.mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"model.layers.{}.mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"model.layers.{}.mlp.shared_expert.down_proj", "ffn_down_shexp"},
};
constexpr Module kGemmaModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm", kAsStored, false, true},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm", kAsStored, false, true},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm", kAsStored, false, true},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
// Gemma 2 and 3: post_attention_layernorm is of what attention adds.
constexpr Module kGemma2Modules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm", kAsStored, false, true},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm", kAsStored, false, true},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.q_norm", "attn_q_norm", kAsStored, false, true},
    {"model.layers.{}.self_attn.k_norm", "attn_k_norm", kAsStored, false, true},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "post_attention_norm", kAsStored, false, true},
    {"model.layers.{}.pre_feedforward_layernorm", "ffn_norm", kAsStored, false, true},
    {"model.layers.{}.post_feedforward_layernorm", "post_ffw_norm", kAsStored, false, true},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
constexpr Module kPhi3Modules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.qkv_proj", "attn_qkv"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.mlp.gate_up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
// Norms behind attention and feed-forward only.
constexpr Module kOlmo2Modules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.q_norm", "attn_q_norm"},
    {"model.layers.{}.self_attn.k_norm", "attn_k_norm"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "post_attention_norm"},
    {"model.layers.{}.post_feedforward_layernorm", "post_ffw_norm"},
    {"model.layers.{}.mlp.gate_proj", "ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "ffn_up"},
    {"model.layers.{}.mlp.down_proj", "ffn_down"},
};
constexpr Module kStarcoder2Modules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.o_proj", "attn_output"},
    {"model.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"model.layers.{}.mlp.c_fc", "ffn_up"},
    {"model.layers.{}.mlp.c_proj", "ffn_down"},
};
// Names without the prefix "transformer.", which some files have.
constexpr Module kGpt2Modules[] = {
    {"wte", "token_embd"},
    {"wpe", "position_embd"},
    {"ln_f", "output_norm"},
    {"lm_head", "output"},
    {"h.{}.ln_1", "attn_norm"},
    {"h.{}.attn.c_attn", "attn_qkv", kAsStored, true},
    {"h.{}.attn.c_proj", "attn_output", kAsStored, true},
    {"h.{}.ln_2", "ffn_norm"},
    {"h.{}.mlp.c_fc", "ffn_up", kAsStored, true},
    {"h.{}.mlp.c_proj", "ffn_down", kAsStored, true},
};
constexpr Module kGptNeoxModules[] = {
    {"gpt_neox.embed_in", "token_embd"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"embed_out", "output"},
    {"gpt_neox.layers.{}.input_layernorm", "attn_norm"},
    {"gpt_neox.layers.{}.attention.query_key_value", "attn_qkv", RowOrder::kInterleavedQkv},
    {"gpt_neox.layers.{}.attention.dense", "attn_output"},
    {"gpt_neox.layers.{}.post_attention_layernorm", "ffn_norm"},
    {"gpt_neox.layers.{}.mlp.dense_h_to_4h", "ffn_up"},
    {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "ffn_down"},
};

// One norm for attention and feed-forward; biases everywhere.
constexpr Module kPhiModules[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.final_layernorm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "attn_q"},
    {"model.layers.{}.self_attn.k_proj", "attn_k"},
    {"model.layers.{}.self_attn.v_proj", "attn_v"},
    {"model.layers.{}.self_attn.dense", "attn_output"},
    {"model.layers.{}.mlp.fc1", "ffn_up"},
    {"model.layers.{}.mlp.fc2", "ffn_down"},
};
// Names without the prefix "transformer.".
constexpr Module kBloomModules[] = {
    {"word_embeddings", "token_embd"},
    {"word_embeddings_layernorm", "token_embd_norm"},
    {"ln_f", "output_norm"},
    {"lm_head", "output"},
    {"h.{}.input_layernorm", "attn_norm"},
    {"h.{}.self_attention.query_key_value", "attn_qkv", RowOrder::kInterleavedQkv},
    {"h.{}.self_attention.dense", "attn_output"},
    {"h.{}.post_attention_layernorm", "ffn_norm"},
    {"h.{}.mlp.dense_h_to_4h", "ffn_up"},
    {"h.{}.mlp.dense_4h_to_h", "ffn_down"},
};
// Falcon 40B has a norm for attention and one for the feed-forward.
constexpr Module kFalconModules[] = {
    {"word_embeddings", "token_embd"},
    {"ln_f", "output_norm"},
    {"lm_head", "output"},
    {"h.{}.input_layernorm", "attn_norm"},
    {"h.{}.ln_attn", "attn_norm_2"},
    {"h.{}.ln_mlp", "attn_norm"},
    {"h.{}.self_attention.query_key_value", "attn_qkv", RowOrder::kInterleavedQkv},
    {"h.{}.self_attention.dense", "attn_output"},
    {"h.{}.mlp.dense_h_to_4h", "ffn_up"},
    {"h.{}.mlp.dense_4h_to_h", "ffn_down"},
};

constexpr HfArchitecture kArchitectures[] = {
    {"llama", "llama", kLlamaModules},
    {"mistral", "llama", kLlamaModules},
    {"mixtral", "llama", kMixtralModules},
    {"qwen2", "qwen2", kQwenModules},
    {"qwen3", "qwen3", kQwenModules},
    {"qwen2_moe", "qwen2moe", kQwenMoeModules},
    {"qwen3_moe", "qwen3moe", kQwenMoeModules},
    {"gemma", "gemma", kGemmaModules},
    {"gemma2", "gemma2", kGemma2Modules},
    {"gemma3_text", "gemma3", kGemma2Modules},
    {"gemma3", "gemma3", kGemma2Modules},
    {"phi", "phi2", kPhiModules},
    {"phi3", "phi3", kPhi3Modules},
    {"olmo2", "olmo2", kOlmo2Modules},
    {"starcoder2", "starcoder2", kStarcoder2Modules},
    {"gpt2", "gpt2", kGpt2Modules},
    {"gpt_neox", "gptneox", kGptNeoxModules},
    {"bloom", "bloom", kBloomModules},
    {"falcon", "falcon", kFalconModules},
};

// Where the classes of the architectures differ in what an absent key means, and which keys they use.
struct Defaults {
  double norm_epsilon, rope_theta;
  bool tied;
  int head_width;  // 0: width / heads
};
Defaults defaults_of(std::string_view type) {
  if (type == "gemma") return {1e-6, 1e4, true, 256};
  if (type == "gemma2") return {1e-6, 1e4, true, 256};
  if (type == "gemma3" || type == "gemma3_text") return {1e-6, 1e6, true, 256};
  if (type == "qwen3") return {1e-6, 1e4, false, 128};
  if (type == "phi3" || type == "olmo2") return {1e-5, 1e4, false, 0};
  if (type == "starcoder2") return {1e-5, 1e4, true, 0};
  if (type == "gpt2") return {1e-5, 1e4, true, 0};
  if (type == "gpt_neox" || type == "phi") return {1e-5, 1e4, false, 0};
  if (type == "bloom" || type == "falcon") return {1e-5, 1e4, true, 0};
  if (type == "mixtral") return {1e-5, 1e6, false, 0};
  return {1e-6, 1e4, false, 0};
}

// Llama 3: slow frequencies are divided by `factor`, fast ones stay, with a ramp between (Grattafiori et al. 2024).
std::vector<float> llama3_divisors(int width, double base, double factor, double low, double high, double context) {
  std::vector<float> divisors;
  for (int i = 0; i < width / 2; ++i) {
    const double frequency = std::pow(base, -2.0 * i / width);
    const double wavelength = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wavelength > context / low) divisor = factor;
    else if (wavelength >= context / high) {
      const double t = (context / wavelength - low) / (high - low);
      divisor = 1 / ((1 - t) / factor + t);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

// rope_scaling, or what files of newer versions call rope_parameters.
void read_rope_scaling(JsonReader& reader, const std::string& prefix, const Json& object, double theta, Metadata& metadata, Shape& shape) {
  if (!object.is_object()) return reader.fail(Code::kBadValue, "rope_scaling is not an object");
  JsonReader scaling(object, reader.place() + ": rope_scaling");
  const std::string type = scaling.text("rope_type", scaling.text("type", "default"));
  const bool yarn = type == "yarn" && prefix != "phi3.";  // Phi-3 means LongRoPE by it
  if (type == "linear" || yarn) {
    metadata.emplace_back(prefix + "rope.scaling.type", gguf_string(type));
    metadata.emplace_back(prefix + "rope.scaling.factor", gguf_float32(static_cast<float>(scaling.number("factor", 1e-3, 1e6))));
  }
  if (yarn) {
    for (const char* key : {"beta_fast", "beta_slow"})
      if (scaling.find(key) && scaling.number(key, 0, 1e6) != (key[5] == 'f' ? 32 : 1))
        reader.fail(Code::kUnsupported, fmt::format("rope_scaling.{} is not the usual one; this program has beta_fast 32, beta_slow 1", key));
    if (scaling.find("mscale") || scaling.find("mscale_all_dim")) reader.fail(Code::kUnsupported, "rope_scaling has mscale, which this program lacks");
    const auto original = scaling.integer("original_max_position_embeddings", 1, 1 << 24, 0);
    if (original > 0)
      metadata.emplace_back(prefix + "rope.scaling.original_context_length", gguf_uint32(static_cast<std::uint32_t>(original)));
    if (scaling.find("attention_factor")) {
      // What the engine multiplies by is attn_factor (1 + 0.1 ln factor); here the whole product is given.
      const double factor = scaling.number("factor", 1e-3, 1e6), whole = scaling.number("attention_factor", 0, 1e3);
      metadata.emplace_back(prefix + "rope.scaling.attn_factor", gguf_float32(static_cast<float>(whole / (1 + 0.1 * std::log(factor)))));
    }
  } else if (type == "llama3") {
    const double low = scaling.number("low_freq_factor", 1e-3, 1e6, 1), high = scaling.number("high_freq_factor", 1e-3, 1e6, 4);
    if (!(high > low)) reader.fail(Code::kBadValue, "rope_scaling: high_freq_factor must be above low_freq_factor");
    shape.rotary_divisors = llama3_divisors(shape.rotary_width, theta, scaling.number("factor", 1e-3, 1e6, 8), low, high,
                                            static_cast<double>(scaling.integer("original_max_position_embeddings", 1, 1 << 24, 8192)));
  } else if (prefix == "phi3." && (type == "longrope" || type == "su" || type == "yarn")) {
    // Divisors for short and for long contexts; cosines and sines grow with the share of contexts that training did not see.
    const auto context = static_cast<double>(reader.integer("max_position_embeddings", 1, 1 << 24, 2048));
    const auto original = scaling.integer("original_max_position_embeddings", 2, 1 << 24, reader.integer("original_max_position_embeddings", 2, 1 << 24, 4096));
    const double ratio = context / static_cast<double>(original);
    const double magnitude = ratio <= 1 ? 1 : type == "yarn" ? 0.1 * std::log(ratio) + 1 : std::sqrt(1 + std::log(ratio) / std::log(static_cast<double>(original)));
    metadata.emplace_back(prefix + "rope.scaling.original_context_length", gguf_uint32(static_cast<std::uint32_t>(original)));
    metadata.emplace_back(prefix + "rope.scaling.attn_factor", gguf_float32(static_cast<float>(scaling.number("attention_factor", 0, 1e3, magnitude))));
    for (auto& [key, divisors] : {std::pair("short_factor", &shape.short_divisors), std::pair("long_factor", &shape.long_divisors)}) {
      const Json* list = scaling.find(key);
      if (!list || !list->is_array() || list->size() != static_cast<std::size_t>(shape.rotary_width / 2))
        return reader.fail(Code::kBadShape, fmt::format("rope_scaling.{} is not a list of {} numbers", key, shape.rotary_width / 2));
      for (const Json& one : *list) {
        if (!one.is_number() || !(one.get<double>() > 0)) return reader.fail(Code::kBadValue, fmt::format("rope_scaling.{} has something else than positive numbers", key));
        divisors->push_back(one.get<float>());
      }
    }
  } else if (type != "default" && type != "linear" && type != "yarn") {
    reader.fail(Code::kUnsupported, fmt::format("rope_scaling is of type '{}'; this program has linear, yarn and llama3", type));
  }
  if (scaling.error()) reader.fail(scaling.error()->code, scaling.error()->detail.substr(std::min(scaling.error()->detail.size(), reader.place().size() + 2)));
}

// The number at the beginning of a text, which it is cut off; -1 where there is none, or one with a leading zero.
int take_number(std::string_view& text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || (text[0] == '0' && end != text.data() + 1)) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

}  // namespace

std::span<const HfArchitecture> all_hf_architectures() { return kArchitectures; }

const Module* find_module(const HfArchitecture& architecture, std::string_view name, int& layer, int& expert) {
  for (const std::string_view prefix : {"language_model.", "transformer."})
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  for (const Module& module : architecture.modules) {
    std::string_view pattern = module.name, rest = name;
    layer = expert = -1;
    bool matches = true;
    for (int* number : {&layer, &expert}) {
      const std::size_t place = pattern.find("{}");
      if (place == std::string_view::npos) break;
      matches = matches && rest.starts_with(pattern.substr(0, place));
      if (!matches) break;
      rest.remove_prefix(place);
      pattern.remove_prefix(place + 2);
      matches = (*number = take_number(rest)) >= 0;
    }
    if (matches && pattern == rest) return &module;
  }
  return nullptr;
}

std::int64_t stored_row(RowOrder order, const Shape& shape, std::int64_t row) {
  const std::int64_t D = shape.head_width, H = shape.heads;
  switch (order) {
    case RowOrder::kAsStored: return row;
    case RowOrder::kQueryPairs:
    case RowOrder::kKeyPairs: return row / D * D + row % 2 * (D / 2) + row % D / 2;
    case RowOrder::kInterleavedQkv: {
      const std::int64_t G = shape.kv_heads, queries = H / G, head = row / D;  // of a group: its queries, one key, one value
      const std::int64_t group = head < H ? head / queries : (head - H) % G;
      const std::int64_t place = head < H ? head % queries : queries + (head - H) / G;
      return (group * (queries + 2) + place) * D + row % D;
    }
  }
  return row;
}

Result<const HfArchitecture*> read_config(const Json& whole, const std::string& place, Metadata& metadata, Shape& shape) {
  JsonReader outer(whole, place);
  std::string type = outer.text("model_type");
  const Json* text_config = outer.find("text_config");
  const Json& config = text_config && text_config->is_object() ? *text_config : whole;
  JsonReader reader(config, place);
  if (text_config) type = reader.text("model_type", type);
  if (outer.error()) return *outer.error();
  const HfArchitecture* architecture = nullptr;
  std::string known;
  for (const HfArchitecture& one : kArchitectures) {
    if (one.model_type == type) architecture = &one;
    known += (known.empty() ? "" : ", ") + std::string(one.model_type);
  }
  if (!architecture)
    return Error{Code::kUnknownArchitecture, fmt::format("{}: model_type is '{}'; this program reads: {}", place, type, known)};
  const Defaults defaults = defaults_of(type);
  const bool gpt2 = type == "gpt2", neox = type == "gpt_neox", gemma = type.starts_with("gemma"), bloom = type == "bloom", falcon = type == "falcon";
  const bool layer_norm = gpt2 || neox || bloom || falcon || type == "phi" || type == "starcoder2";

  const std::string prefix = std::string(architecture->gguf) + ".";
  const auto put = [&](const std::string& key, GgufValue value) { metadata.emplace_back(prefix + key, std::move(value)); };
  const auto put_int = [&](const std::string& key, std::int64_t value) { put(key, gguf_uint32(static_cast<std::uint32_t>(value))); };
  const auto put_float = [&](const std::string& key, double value) { put(key, gguf_float32(static_cast<float>(value))); };
  metadata.emplace_back("general.architecture", gguf_string(std::string(architecture->gguf)));

  // Names that older files of some models have.
  const auto either = [&](const char* usual, const char* older) { return reader.find(usual) || !reader.find(older) ? usual : older; };
  const std::int64_t width = reader.integer(gpt2 ? "n_embd" : either("hidden_size", "n_embed"), 1, 1 << 17);
  shape.layers = static_cast<int>(reader.integer(gpt2 ? "n_layer" : either("num_hidden_layers", "n_layer"), 1, 1024));
  shape.heads = static_cast<int>(reader.integer(gpt2 ? "n_head" : either("num_attention_heads", "n_head"), 1, 4096));
  shape.kv_heads = gpt2 || neox || bloom ? shape.heads
                   : !falcon             ? static_cast<int>(reader.integer("num_key_value_heads", 1, 4096, shape.heads))
                   : reader.flag("new_decoder_architecture", false) || !reader.flag("multi_query", true)
                       ? static_cast<int>(reader.integer(either("num_kv_heads", "n_head_kv"), 1, 4096, shape.heads))
                       : 1;
  shape.vocabulary = reader.integer("vocab_size", 1, 1 << 24);
  if (reader.error()) return *reader.error();
  if (!reader.find("head_dim") && defaults.head_width == 0 && width % shape.heads != 0)
    reader.fail(Code::kBadShape, fmt::format("a hidden_size of {} does not divide into {} heads", width, shape.heads));
  shape.head_width = static_cast<int>(gpt2 || neox || bloom || falcon ? width / shape.heads : reader.integer("head_dim", 1, 1024, defaults.head_width ? defaults.head_width : width / shape.heads));
  shape.tied = reader.flag("tie_word_embeddings", outer.flag("tie_word_embeddings", defaults.tied));

  put_int("context_length", gpt2 ? reader.integer("n_positions", 1, 1 << 24, reader.integer("n_ctx", 1, 1 << 24, 1024))
                                 : reader.integer("max_position_embeddings", 1, 1 << 24, 2048));
  put_int("embedding_length", width);
  put_int("block_count", shape.layers);
  put_int("feed_forward_length", bloom ? 4 * width : gpt2 || falcon ? reader.integer(gpt2 ? "n_inner" : "ffn_hidden_size", 1, 1 << 20, 4 * width)
                                                                     : reader.integer("intermediate_size", 1, 1 << 20));
  put_int("attention.head_count", shape.heads);
  put_int("attention.head_count_kv", shape.kv_heads);
  put_int("attention.key_length", shape.head_width);
  put_int("attention.value_length", shape.head_width);
  const std::string epsilon = gpt2 || bloom || falcon ? "layer_norm_epsilon" : neox || type == "phi" ? "layer_norm_eps" : layer_norm ? "norm_epsilon" : "rms_norm_eps";
  put_float(layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", reader.number(epsilon, 1e-30, 1, defaults.norm_epsilon));

  if (type == "mixtral" || type.ends_with("_moe")) {
    shape.experts = static_cast<int>(reader.integer(either("num_experts", "num_local_experts"), 1, 4096, type == "mixtral" ? 8 : type == "qwen2_moe" ? 60 : 128));
    put_int("expert_count", shape.experts);
    put_int("expert_used_count", reader.integer("num_experts_per_tok", 1, shape.experts, type == "mixtral" ? 2 : type == "qwen2_moe" ? 4 : 8));
  }
  if (type.ends_with("_moe")) {
    put_int("expert_feed_forward_length", reader.integer("moe_intermediate_size", 1, 1 << 20, type == "qwen2_moe" ? 1408 : 768));
    if (type == "qwen2_moe") put_int("expert_shared_feed_forward_length", reader.integer("shared_expert_intermediate_size", 1, 1 << 20, 5632));
    put("expert_weights_norm", gguf_bool(reader.flag("norm_topk_prob", false)));
  }
  if (falcon && (reader.flag("alibi", false) || !reader.flag("parallel_attn", true)))
    reader.fail(Code::kUnsupported, "alibi is true or parallel_attn is false; this program has Falcon with rotary positions and attention beside the feed-forward");
  if (bloom && reader.flag("apply_residual_connection_post_layernorm", false))
    reader.fail(Code::kUnsupported, "apply_residual_connection_post_layernorm is true, which this program lacks");
  if (type == "phi" && reader.flag("qk_layernorm", false)) reader.fail(Code::kUnsupported, "qk_layernorm is true, which this program lacks");

  shape.rotary_width = shape.head_width;
  if (!gpt2 && !bloom) {
    // Newer files keep all of it in rope_parameters.
    const Json* parameters = reader.find("rope_parameters");
    if (parameters && parameters->is_object() && parameters->contains("full_attention")) {
      if (parameters->contains("sliding_attention") && (*parameters)["sliding_attention"].is_object() &&
          (*parameters)["sliding_attention"].contains("rope_theta") && (*parameters)["sliding_attention"]["rope_theta"] != 1e4)
        reader.fail(Code::kUnsupported, "rope_parameters.sliding_attention.rope_theta is not 10000");
      parameters = &(*parameters)["full_attention"];
    }
    const Json empty = Json::object();
    JsonReader rope(parameters && parameters->is_object() ? *parameters : empty, place + ": rope_parameters");
    const double theta = rope.number("rope_theta", 1, 1e12, reader.number("rope_theta", 1, 1e12, reader.number("rotary_emb_base", 1, 1e12, defaults.rope_theta)));
    put_float("rope.freq_base", theta);
    const double share = rope.number("partial_rotary_factor", 0, 1, reader.number("partial_rotary_factor", 0, 1, reader.number("rotary_pct", 0, 1, neox ? 0.25 : type == "phi" ? 0.5 : 1)));
    shape.rotary_width = static_cast<int>(share * shape.head_width);
    put_int("rope.dimension_count", shape.rotary_width);
    if (rope.error()) return *rope.error();
    if (const Json* scaling = reader.find("rope_scaling")) read_rope_scaling(reader, prefix, *scaling, theta, metadata, shape);
    else if (parameters) read_rope_scaling(reader, prefix, *parameters, theta, metadata, shape);
    if (neox) put("use_parallel_residual", gguf_bool(reader.flag("use_parallel_residual", true)));
  }

  // Activations other than the architecture's own would silently be another model.
  const std::string activation_key = gpt2 ? "activation_function" : falcon ? "activation" : reader.find("hidden_activation") ? "hidden_activation" : "hidden_act";
  const std::string activation = reader.text(activation_key, gpt2 ? "gelu_new" : gemma ? "gelu_pytorch_tanh" : neox || falcon ? "gelu" : layer_norm ? "gelu_pytorch_tanh" : "silu");
  const bool gelu = activation == "gelu" || activation == "gelu_new" || activation == "gelu_pytorch_tanh" || activation == "gelu_fast";
  if (gemma || layer_norm ? !gelu : activation != "silu" && activation != "swish")
    reader.fail(Code::kUnsupported, fmt::format("{} is '{}', which {} does not have in this program", activation_key, activation, type));

  // Windows. Gemma's pattern follows from the architecture.
  const std::int64_t window = reader.integer("sliding_window", 0, 1 << 24, 0);
  if (gemma && type != "gemma") put_int("attention.sliding_window", window > 0 ? window : type == "gemma2" ? 4096 : 1024);
  if ((type == "mistral" || type == "mixtral" || type == "phi3" || type == "starcoder2") && window > 0) put_int("attention.sliding_window", window);
  if (type == "phi3" && window == 0) put_int("attention.sliding_window", 0);
  if (type.starts_with("qwen") && reader.flag("use_sliding_window", false))
    reader.fail(Code::kUnsupported, "use_sliding_window is true; this program runs Qwen with full attention only");
  if (type == "gemma2") {
    put_float("attn_logit_softcapping", reader.number("attn_logit_softcapping", 0, 1e6, reader.find("attn_logit_softcapping") ? 0 : 50));
    put_float("final_logit_softcapping", reader.number("final_logit_softcapping", 0, 1e6, 30));
  }
  if (gemma && reader.find("query_pre_attn_scalar"))
    put_float("attention.scale", 1.0 / std::sqrt(reader.number("query_pre_attn_scalar", 1, 1e6)));
  for (const char* key : {"attention_multiplier", "residual_multiplier", "logits_scaling", "embedding_multiplier"})
    if (reader.find(key)) reader.fail(Code::kUnsupported, fmt::format("{} is given; this program does not know it for {}", key, type));
  if (reader.error()) return *reader.error();
  return architecture;
}

}  // namespace quantfleet::huggingface
