#include "backends/huggingface/config_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace quantfleet::huggingface {
namespace {

struct ClassName {
  std::string_view model_type, name;
};
constexpr ClassName kClasses[] = {
    {"llama", "LlamaForCausalLM"},        {"mistral", "MistralForCausalLM"},  {"qwen2", "Qwen2ForCausalLM"},       {"qwen3", "Qwen3ForCausalLM"},
    {"gemma", "GemmaForCausalLM"},        {"gemma2", "Gemma2ForCausalLM"},    {"gemma3_text", "Gemma3ForCausalLM"}, {"phi3", "Phi3ForCausalLM"},
    {"olmo2", "Olmo2ForCausalLM"},        {"starcoder2", "Starcoder2ForCausalLM"}, {"gpt2", "GPT2LMHeadModel"},   {"gpt_neox", "GPTNeoXForCausalLM"},
    {"mixtral", "MixtralForCausalLM"},    {"qwen2_moe", "Qwen2MoeForCausalLM"}, {"qwen3_moe", "Qwen3MoeForCausalLM"},
};

// Numbers of a model's keys under "<architecture>.".
class Keys {
 public:
  explicit Keys(const GgufFile& model) : model_(model) { prefix_ = take(model.string_or("general.architecture", ""), std::string()) + "."; }

  bool has(std::string_view key) const { return model_.find(prefix_ + std::string(key)) != nullptr; }
  std::int64_t integer(std::string_view key, std::int64_t fallback) { return take(model_.int_or(prefix_ + std::string(key), fallback), fallback); }
  double number(std::string_view key, double fallback) { return take(model_.float_or(prefix_ + std::string(key), fallback), fallback); }
  std::string text(std::string_view key) { return take(model_.string_or(prefix_ + std::string(key), ""), std::string()); }
  bool flag(std::string_view key, bool fallback) { return take(model_.bool_or(prefix_ + std::string(key), fallback), fallback); }
  const std::string& prefix() const { return prefix_; }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <class T>
  T take(const Result<T>& value, T fallback) {
    if (!value && !error_) error_ = value.error();
    return value ? *value : fallback;
  }
  const GgufFile& model_;
  std::string prefix_;
  std::optional<Error> error_;
};

// The shortest decimal that is this float again.
double shortest(double value) { return std::stod(fmt::format("{}", static_cast<float>(value))); }

std::optional<double> as_number(const GgufValue& value) {
  if (const auto* i = std::get_if<std::int64_t>(&value.data)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<std::uint64_t>(&value.data)) return static_cast<double>(*u);
  if (const auto* d = std::get_if<double>(&value.data)) return *d;
  if (const auto* b = std::get_if<bool>(&value.data)) return *b;
  return std::nullopt;
}

bool same(const GgufValue& a, const GgufValue& b) {
  if (const auto x = as_number(a), y = as_number(b); x && y) return static_cast<float>(*x) == static_cast<float>(*y) || std::abs(*x - *y) <= 1e-6 * std::abs(*x);
  return a.data == b.data;
}

// Keys that the engine reads and config.json, as written here, may lack.
constexpr std::string_view kChangingKeys[] = {"attention.scale", "attention.sliding_window", "rope.scaling.factor", "rope.scaling.attn_factor", "rope.scale_linear",
                                              "attn_logit_softcapping", "final_logit_softcapping", "expert_count", "expert_weights_scale"};

bool is_neutral(std::string_view key, const GgufValue& value) {
  const std::optional<double> number = as_number(value);
  return number && (*number == 0 || (*number == 1 && (key.starts_with("rope.scal") || key == "expert_weights_scale")));
}

Status compare(const GgufFile& model, const std::string& prefix, const Metadata& read_back) {
  const auto find = [&](const std::string& key) {
    const auto found = std::find_if(read_back.begin(), read_back.end(), [&](const auto& pair) { return pair.first == key; });
    return found == read_back.end() ? nullptr : &found->second;
  };
  for (const auto& [key, value] : model.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(key).substr(prefix.size());
    const GgufValue* again = find(key);
    const bool lost = !again && std::find(std::begin(kChangingKeys), std::end(kChangingKeys), name) != std::end(kChangingKeys) && !is_neutral(name, value);
    if (lost || (again && !same(value, *again)))
      return Error{Code::kUnsupported, fmt::format("{}: config.json as this program writes it cannot say what the key {} says", model.path().string(), key)};
  }
  return {};
}

}  // namespace

Result<const HfArchitecture*> find_hf_architecture(const GgufFile& model) {
  const auto name = model.get_string("general.architecture");
  if (!name) return name.error();
  std::string known;
  const bool windowed = Keys(model).integer("attention.sliding_window", 0) > 0, mixture = Keys(model).integer("expert_count", 0) > 0;
  for (const ClassName& one : kClasses)
    for (const HfArchitecture& architecture : all_hf_architectures()) {
      if (architecture.model_type != one.model_type) continue;
      if (architecture.gguf == "llama" && mixture != (architecture.model_type == "mixtral")) continue;
      if (architecture.model_type == "llama" && windowed) continue;  // Mistral
      if (architecture.gguf == *name) return &architecture;
      if (known.find(architecture.gguf) == std::string::npos) known += (known.empty() ? "" : ", ") + std::string(architecture.gguf);
    }
  return Error{Code::kUnsupported, fmt::format("{}: the architecture {} has no Hugging Face names in this program; these have: {}", model.path().string(), *name, known)};
}

Result<Shape> shape_of(const GgufFile& model) {
  Keys keys(model);
  Shape shape;
  shape.layers = static_cast<int>(keys.integer("block_count", 0));
  shape.heads = static_cast<int>(keys.integer("attention.head_count", 0));
  shape.kv_heads = static_cast<int>(keys.integer("attention.head_count_kv", shape.heads));
  const std::int64_t width = keys.integer("embedding_length", 0);
  if (shape.heads < 1 || shape.layers < 1 || width < 1)
    return Error{Code::kNotFound, fmt::format("{}: block_count, embedding_length or attention.head_count of {} is missing or 0", model.path().string(), keys.prefix())};
  shape.head_width = static_cast<int>(keys.integer("attention.key_length", width / shape.heads));
  shape.rotary_width = static_cast<int>(keys.integer("rope.dimension_count", shape.head_width));
  const GgufTensor* embedding = model.find_tensor("token_embd.weight");
  if (!embedding) return Error{Code::kNotFound, fmt::format("{}: tensor token_embd.weight is missing", model.path().string())};
  shape.vocabulary = embedding->rows();
  shape.tied = !model.find_tensor("output.weight");
  shape.experts = static_cast<int>(keys.integer("expert_count", 0));
  if (keys.error()) return *keys.error();
  return shape;
}

Status make_config(const GgufFile& model, const HfArchitecture& architecture, Json& config) {
  auto shape = shape_of(model);
  if (!shape) return shape.error();
  Keys keys(model);
  const std::string type(architecture.model_type);
  const bool gpt2 = type == "gpt2", neox = type == "gpt_neox", gemma = type.starts_with("gemma"), starcoder = type == "starcoder2";
  config = {{"model_type", type}, {"vocab_size", shape->vocabulary}, {"tie_word_embeddings", shape->tied}, {"dtype", "bfloat16"}};
  for (const ClassName& one : kClasses)
    if (one.model_type == type) config["architectures"] = Json::array({std::string(one.name)});
  config[gpt2 ? "n_embd" : "hidden_size"] = keys.integer("embedding_length", 0);
  config[gpt2 ? "n_layer" : "num_hidden_layers"] = shape->layers;
  config[gpt2 ? "n_head" : "num_attention_heads"] = shape->heads;
  config[gpt2 ? "n_inner" : "intermediate_size"] = keys.integer("feed_forward_length", 0);
  config[gpt2 ? "n_positions" : "max_position_embeddings"] = keys.integer("context_length", 2048);
  if (!gpt2 && !neox) config["num_key_value_heads"] = shape->kv_heads;
  if (!gpt2 && !neox) config["head_dim"] = shape->head_width;
  const bool layer_norm = gpt2 || neox || starcoder;
  config[gpt2 ? "layer_norm_epsilon" : neox ? "layer_norm_eps" : layer_norm ? "norm_epsilon" : "rms_norm_eps"] =
      shortest(keys.number(layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5));
  config[gpt2 ? "activation_function" : gemma ? "hidden_activation" : "hidden_act"] = layer_norm ? (neox ? "gelu" : gpt2 ? "gelu_new" : "gelu_pytorch_tanh") : gemma ? "gelu_pytorch_tanh" : "silu";
  if (type == "llama") config["attention_bias"] = model.find_tensor("blk.0.attn_q.bias") != nullptr, config["mlp_bias"] = model.find_tensor("blk.0.ffn_up.bias") != nullptr;
  if (starcoder) config["use_bias"] = model.find_tensor("blk.0.attn_q.bias") != nullptr;
  if (!gpt2) {
    const double theta = shortest(keys.number("rope.freq_base", 10000));
    config["rope_theta"] = theta;
    if (neox) config["rotary_emb_base"] = theta;
    if (shape->rotary_width != shape->head_width)
      config[neox ? "rotary_pct" : "partial_rotary_factor"] = static_cast<double>(shape->rotary_width) / shape->head_width;
    else if (neox) config["rotary_pct"] = 1.0;
    const std::string scaling = keys.text("rope.scaling.type");
    const double factor = shortest(keys.number("rope.scaling.factor", 1));
    if (scaling == "yarn" || (scaling == "linear" && factor != 1)) config["rope_scaling"] = {{"rope_type", scaling}, {"factor", factor}};
    if (scaling == "yarn") config["rope_scaling"]["original_max_position_embeddings"] = keys.integer("rope.scaling.original_context_length", 0);
    if (scaling == "yarn" && keys.has("rope.scaling.attn_factor"))
      config["rope_scaling"]["attention_factor"] = shortest(keys.number("rope.scaling.attn_factor", 1) * (1 + 0.1 * std::log(factor)));
    if (neox && keys.has("use_parallel_residual")) config["use_parallel_residual"] = keys.flag("use_parallel_residual", true);
  }
  if (const GgufTensor* divisors = model.find_tensor("rope_freqs.weight")) {
    // Llama 3's: the largest divisor is the factor; the rest is as Meta published it, which reading back proves.
    std::vector<std::byte> buffer;
    std::vector<float> values(static_cast<std::size_t>(divisors->count_values()));
    divisors->format->decode(model.rows(*divisors, 0, divisors->rows(), buffer).data(), divisors->count_values() / divisors->format->values_per_block, values.data());
    const double factor = *std::max_element(values.begin(), values.end());
    std::optional<int> found;
    for (const int original : {8192, 4096, 2048, 1024, 512, 256, 128, 64}) {
      config["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", shortest(factor)}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                                {"original_max_position_embeddings", original}};
      Metadata ignored;
      Shape again;
      if (!read_config(config, "config.json", ignored, again) || again.rotary_divisors.size() != values.size()) continue;
      bool equal = true;
      for (std::size_t i = 0; i < values.size(); ++i) equal = equal && std::abs(values[i] - again.rotary_divisors[i]) <= 1e-5f * values[i];
      if (equal) found = original;
      if (found) break;
    }
    if (!found) return Error{Code::kUnsupported, fmt::format("{}: tensor rope_freqs.weight is not made as Llama 3's; config.json cannot say it", model.path().string())};
  }
  if (model.find_tensor("rope_factors_short.weight"))
    return Error{Code::kUnsupported, fmt::format("{}: rope_factors_short.weight (Phi-3's long context): config.json as this program writes it cannot say it", model.path().string())};
  if (shape->experts > 0) {
    config[type == "mixtral" ? "num_local_experts" : "num_experts"] = shape->experts;
    config["num_experts_per_tok"] = keys.integer("expert_used_count", 0);
  }
  if (type.ends_with("_moe")) {
    // Widths as the tensors have them: old files lack the keys. Layers without a router are dense.
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = Json::array();
    for (int layer = 0; layer < shape->layers; ++layer) {
      if (!model.find_tensor(fmt::format("blk.{}.ffn_gate_inp.weight", layer))) config["mlp_only_layers"].push_back(layer);
      const GgufTensor* expert = model.find_tensor(fmt::format("blk.{}.ffn_up_exps.weight", layer));
      if (expert && expert->shape.size() == 3) config["moe_intermediate_size"] = expert->shape[1];
      const GgufTensor* shared = model.find_tensor(fmt::format("blk.{}.ffn_up_shexp.weight", layer));
      if (shared && shared->shape.size() == 2 && type == "qwen2_moe") config["shared_expert_intermediate_size"] = shared->shape[1];
    }
    config["norm_topk_prob"] = keys.flag("expert_weights_norm", type == "qwen3_moe");
  }
  const std::int64_t window = keys.integer("attention.sliding_window", 0);
  if (window > 0) config["sliding_window"] = window;
  if (type == "gemma2") {
    config["attn_logit_softcapping"] = shortest(keys.number("attn_logit_softcapping", 50));
    config["final_logit_softcapping"] = shortest(keys.number("final_logit_softcapping", 30));
  }
  if (gemma && type != "gemma") {
    const double scale = keys.number("attention.scale", 1.0 / std::sqrt(shape->head_width));
    const double scalar = 1 / (scale * scale);
    config["query_pre_attn_scalar"] = std::abs(scalar - std::round(scalar)) < 1e-3 * scalar ? std::round(scalar) : scalar;
  }
  for (const auto& [key, name] : {std::pair("bos_token_id", "bos"), std::pair("eos_token_id", "eos")}) {
    const auto id = model.int_or(fmt::format("tokenizer.ggml.{}_token_id", name), -1);
    config[key] = id && *id >= 0 && *id < shape->vocabulary ? Json(*id) : Json(nullptr);
  }
  if (keys.error()) return *keys.error();

  Metadata metadata;
  Shape again;
  auto read_back = read_config(config, "config.json as written", metadata, again);
  if (!read_back) return at(model.path().string(), read_back.error());
  // Gemma's scale is written for all models that have one; the model may leave its own default out.
  return compare(model, keys.prefix(), metadata);
}

}  // namespace quantfleet::huggingface
