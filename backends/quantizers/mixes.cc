#include "backends/quantizers/mixes.h"

#include "backends/formats/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <tuple>

namespace quantfleet {

namespace {

const std::array kMixes = {
    Mix{"F32", &kF32, 0},     Mix{"F16", &kF16, 1},     Mix{"BF16", &kBF16, 32},  Mix{"Q8_0", &kQ8_0, 7},
    Mix{"Q4_0", &kQ4_0, 2},   Mix{"Q4_1", &kQ4_1, 3},   Mix{"Q5_0", &kQ5_0, 8},   Mix{"Q5_1", &kQ5_1, 9},
    Mix{"Q2_K", &kQ2_K, 10},  Mix{"Q2_K_S", &kQ2_K, 21}, Mix{"Q3_K_S", &kQ3_K, 11}, Mix{"Q3_K_M", &kQ3_K, 12},
    Mix{"Q3_K_L", &kQ3_K, 13}, Mix{"Q4_K_S", &kQ4_K, 14}, Mix{"Q4_K_M", &kQ4_K, 15}, Mix{"Q5_K_S", &kQ5_K, 16},
    Mix{"Q5_K_M", &kQ5_K, 17}, Mix{"Q6_K", &kQ6_K, 18},
    Mix{"IQ1_S", &kIQ1_S, 24}, Mix{"IQ1_M", &kIQ1_M, 31}, Mix{"IQ2_XXS", &kIQ2_XXS, 19}, Mix{"IQ2_XS", &kIQ2_XS, 20},
    Mix{"IQ2_S", &kIQ2_XS, 28}, Mix{"IQ2_M", &kIQ2_S, 29}, Mix{"IQ3_XXS", &kIQ3_XXS, 23}, Mix{"IQ3_XS", &kIQ3_S, 22},
    Mix{"IQ3_S", &kIQ3_S, 26}, Mix{"IQ3_M", &kIQ3_S, 27}, Mix{"IQ4_NL", &kIQ4_NL, 25}, Mix{"IQ4_XS", &kIQ4_XS, 30},
    Mix{"TQ1_0", &kTQ1_0, 36}, Mix{"TQ2_0", &kTQ2_0, 37}, Mix{"MXFP4_MOE", &kMXFP4, 38}, Mix{"NVFP4", &kNVFP4, 39},
    Mix{"MXFP4", &kMXFP4, kNoFileType}, Mix{"Q1_0", &kQ1_0, kNoFileType}, Mix{"Q2_0", &kQ2_0, kNoFileType},
};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// N of "blk.N.", or -1.
std::int64_t layer_of(std::string_view name) {
  if (!name.starts_with("blk.")) return -1;
  std::int64_t layer = -1;
  const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return error == std::errc() && layer >= 0 && end != name.data() + name.size() && *end == '.' ? layer : -1;
}

// Norms, gates of experts, positions and the recurrent state's small matrices stay as they are.
bool stays_as_it_is(const GgufTensor& tensor) {
  if (tensor.shape.size() < 2 || !tensor.name.ends_with("weight")) return true;
  static constexpr std::string_view kKept[] = {"_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "attn_rel_b"};
  static constexpr std::string_view kKeptNames[] = {"position_embd.weight", "token_types.weight"};
  static constexpr std::string_view kKeptMixes[] = {"time_mix_first.weight",    "time_mix_w1.weight", "time_mix_w2.weight",
                                                    "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
                                                    "time_mix_lerp_fused.weight"};
  const auto in_name = [&](std::string_view part) { return contains(tensor.name, part); };
  return std::any_of(std::begin(kKept), std::end(kKept), in_name) ||
         std::any_of(std::begin(kKeptMixes), std::end(kKeptMixes), in_name) ||
         std::find(std::begin(kKeptNames), std::end(kKeptNames), tensor.name) != std::end(kKeptNames);
}

// What the rules ask of a model.
struct Facts {
  std::string architecture;
  std::int64_t layers = 0, heads = 0, kv_heads = 0, experts = 0, count_attn_v = 0;
  bool has_output = false, has_importance = false;

  bool is_falcon() const { return architecture == "falcon"; }
  std::int64_t query_groups() const { return kv_heads > 0 ? heads / kv_heads : 0; }
  // Eighty layers: the models known as 70B, where attn_v is small and gets more bits.
  bool is_70b() const {
    if (layers != 80) return false;
    if (architecture == "llama") return heads != kv_heads && experts != 8;
    return architecture == "deci" || architecture == "qwen2" || architecture == "qwen2vl" || architecture == "olmo";
  }
};

// An integer, or the first of an array (some models have one value per layer).
Result<std::int64_t> first_int(const GgufFile& model, const std::string& key, std::int64_t fallback) {
  const GgufValue* value = model.find(key);
  if (!value || value->type != GgufValue::Type::kArray) return model.int_or(key, fallback);
  auto list = model.get_ints(key);
  if (!list) return list.error();
  return list->empty() ? fallback : list->front();
}

Result<Facts> read_facts(const GgufFile& model, bool has_importance) {
  Facts facts;
  facts.has_importance = has_importance;
  auto architecture = model.string_or("general.architecture", "");
  if (!architecture) return architecture.error();
  facts.architecture = *architecture;
  const struct { const char* key; std::int64_t* value; } kWanted[] = {
      {"block_count", &facts.layers}, {"attention.head_count", &facts.heads},
      {"attention.head_count_kv", &facts.kv_heads}, {"expert_count", &facts.experts}};
  for (const auto& [key, value] : kWanted) {
    // Without a number of key-value heads there are as many as heads.
    const std::int64_t fallback = value == &facts.kv_heads ? facts.heads : 0;
    auto number = first_int(model, facts.architecture + "." + key, fallback);
    if (!number) return number.error();
    *value = *number;
  }
  for (const GgufTensor& tensor : model.tensors()) {
    facts.has_output |= tensor.name == "output.weight";
    facts.count_attn_v += contains(tensor.name, "attn_v.weight") || contains(tensor.name, "attn_qkv.weight") ||
                          contains(tensor.name, "attn_kv_b.weight");
  }
  return facts;
}

// The first and last eighth of the layers and every third between.
bool gets_more(std::int64_t i, std::int64_t layers) {
  return i < layers / 8 || i >= 7 * layers / 8 || (i - layers / 8) % 3 == 2;
}

class Rules {
 public:
  Rules(const Facts& facts, const Mix& mix) : facts_(facts), mix_(mix) {}

  // Call in order of layers, then names: the classes count their tensors.
  const BlockFormat* choose(const GgufTensor& tensor) {
    const std::string_view name = tensor.name;
    if (name == "output.weight" || (name == "token_embd.weight" && !facts_.has_output)) return choose_output(tensor);
    if (is("MXFP4_MOE")) return tensor.shape.size() > 2 ? &kMXFP4 : &kQ8_0;
    if (name == "token_embd.weight") return choose_embedding();
    if (contains(name, "attn_v.weight")) return is_lowest() ? choose_attn_v_lowest() : choose_attn_v(count_attn_v_++);
    if (contains(name, "attn_k.weight")) return choose_attn_k_or_q(true);
    if (contains(name, "attn_q.weight")) return choose_attn_k_or_q(false);
    if (contains(name, "ffn_down")) {
      const std::int64_t counted = count_ffn_down_++;
      if (is_lowest()) return counted < facts_.layers / 8 ? raised_lowest() : mix_.format;
      return choose_ffn_down(facts_.experts > 1 ? std::max<std::int64_t>(layer_of(name), 0) : counted);
    }
    if (contains(name, "attn_output.weight")) return choose_attn_output();
    if (contains(name, "attn_qkv.weight")) return choose_attn_qkv();
    if (contains(name, "ffn_gate")) return choose_ffn_gate_or_up(name, count_ffn_gate_++);
    if (contains(name, "ffn_up")) return choose_ffn_gate_or_up(name, count_ffn_up_++);
    return mix_.format;
  }

 private:
  bool is(std::string_view name) const { return mix_.name == name; }
  bool is_1_bit() const { return is("IQ1_S") || is("IQ1_M"); }
  bool is_2_bit_large() const { return is("IQ2_S") || is("IQ2_M"); }
  // The mixes below three bits have rules of their own.
  bool is_lowest() const { return is_1_bit() || is_2_bit_large() || is("IQ2_XXS") || is("IQ2_XS"); }
  const BlockFormat* raised_lowest() const { return is_2_bit_large() ? &kIQ3_S : &kQ2_K; }

  const BlockFormat* choose_output(const GgufTensor& tensor) const {
    if (facts_.is_falcon() || tensor.columns() % mix_.format->values_per_block != 0 || is("MXFP4_MOE")) return &kQ8_0;
    if (is_lowest() || is("IQ3_XXS")) return &kQ5_K;
    return mix_.format == &kQ8_0 ? &kQ8_0 : &kQ6_K;
  }

  const BlockFormat* choose_embedding() const {
    if (is_1_bit() || is("IQ2_XXS") || is("IQ2_XS")) return &kQ2_K;
    if (is_2_bit_large() || is("IQ3_XXS")) return &kIQ3_S;
    if (is("TQ1_0") || is("TQ2_0")) return &kQ4_K;
    return mix_.format;
  }

  const BlockFormat* choose_attn_v_lowest() const {
    return facts_.query_groups() >= 4 || facts_.experts >= 4 ? &kQ4_K : raised_lowest();
  }

  const BlockFormat* choose_attn_k_or_q(bool is_key) const {
    if (is_key && facts_.experts == 8) return is_lowest() ? &kQ4_K : &kQ8_0;
    if (is("IQ3_XXS")) return &kIQ2_S;
    if (is("IQ3_XS")) return &kIQ3_XXS;
    return mix_.format;
  }

  const BlockFormat* choose_ffn_gate_or_up(std::string_view name, std::int64_t counted) const {
    const std::int64_t i = facts_.experts > 1 ? std::max<std::int64_t>(layer_of(name), 0) : counted;
    return is("IQ3_XS") && i >= facts_.layers / 8 && i < 7 * facts_.layers / 8 ? &kIQ3_XXS : mix_.format;
  }

  const BlockFormat* choose_attn_v(std::int64_t i) const {
    const BlockFormat* format = mix_.format;
    const bool few_heads = facts_.query_groups() >= 4;
    if (is("Q2_K")) format = few_heads ? &kQ4_K : &kQ3_K;
    else if (is("Q2_K_S") && few_heads) format = &kQ4_K;
    else if (is("Q3_K_M")) format = i < 2 ? &kQ5_K : &kQ4_K;
    else if (is("Q3_K_L")) format = &kQ5_K;
    else if ((is("Q4_K_M") || is("Q5_K_M")) && gets_more(i, facts_.count_attn_v)) format = &kQ6_K;
    else if (is("Q4_K_S") && i < 4) format = &kQ5_K;
    else if (is("IQ3_XXS")) format = few_heads ? &kQ4_K : facts_.has_importance ? &kIQ3_XXS : &kIQ3_S;
    else if ((is("IQ3_XS") || is("IQ3_S")) && few_heads) format = &kQ4_K;
    else if (is("IQ3_M")) format = &kQ4_K;
    else if ((is("IQ4_NL") || is("IQ4_XS")) && few_heads) format = &kQ5_K;
    if (facts_.is_70b() && (format == &kQ3_K || format == &kQ4_K)) format = &kQ5_K;
    return facts_.experts == 8 ? &kQ8_0 : format;
  }

  const BlockFormat* choose_ffn_down(std::int64_t i) const {
    const std::int64_t layers = facts_.layers;
    const bool more = gets_more(i, layers);
    if (is("Q2_K")) return &kQ3_K;
    if (is("Q2_K_S") && i < layers / 8) return &kQ4_K;
    if (is("Q3_K_M")) return i < layers / 16 ? &kQ5_K : !facts_.is_falcon() || more ? &kQ4_K : &kQ3_K;
    if (is("Q3_K_L")) return facts_.is_falcon() ? &kQ4_K : &kQ5_K;
    if (is("Q4_K_M") && facts_.is_falcon()) return i < layers / 16 ? &kQ6_K : more ? &kQ5_K : &kQ4_K;
    if ((is("Q4_K_M") || is("Q5_K_M")) && more) return &kQ6_K;
    if (is("Q4_K_S") && !facts_.is_falcon() && i < layers / 8) return &kQ5_K;
    if (is("Q4_0") && facts_.has_importance && i < layers / 8) return &kQ4_1;
    if (is("Q5_0") && facts_.has_importance && i < layers / 8) return &kQ5_1;
    if (is("IQ3_XXS") && !facts_.has_importance) return i < layers / 8 ? &kQ4_K : &kQ3_K;
    if (is("IQ3_M") && (i < layers / 8 || (facts_.experts == 8 && more))) return &kQ4_K;
    if ((is("IQ4_NL") || is("IQ4_XS")) && !facts_.has_importance && i < layers / 8) return &kQ5_K;
    return mix_.format;
  }

  const BlockFormat* choose_attn_output() const {
    if (facts_.is_falcon()) return is("Q3_K_L") ? &kQ4_K : mix_.format;
    if (facts_.experts == 8) {
      const bool raised = is("Q2_K") || is("Q3_K_S") || is("Q3_K_M") || is("Q4_K_S") || is("Q4_K_M") || is_lowest() || is("IQ3_XS") ||
                          is("IQ3_XXS") || is("IQ3_S") || is("IQ3_M") || is("IQ4_NL") || is("IQ4_XS");
      return raised ? &kQ5_K : mix_.format;
    }
    if (is("Q2_K")) return &kQ3_K;
    if (is("Q3_K_M") || is("IQ3_M")) return &kQ4_K;
    if (is("Q3_K_L")) return &kQ5_K;
    if (is_1_bit()) return &kIQ2_XXS;
    if (is_2_bit_large() || is("IQ3_XXS")) return &kIQ3_S;
    return mix_.format;
  }

  const BlockFormat* choose_attn_qkv() const {
    if (is("Q3_K_M") || is("Q3_K_L") || is("IQ3_M")) return &kQ4_K;
    if (is("Q4_K_M")) return &kQ5_K;
    if (is("Q5_K_M")) return &kQ6_K;
    return mix_.format;
  }

  const Facts& facts_;
  const Mix& mix_;
  std::int64_t count_attn_v_ = 0, count_ffn_down_ = 0, count_ffn_gate_ = 0, count_ffn_up_ = 0;
};

// A row that is not whole blocks gets a format of 32-blocks of about the same quality, or F16 when 32 does not fit either.
const BlockFormat* fit_to_row(const BlockFormat* format, std::int64_t columns) {
  if (columns % format->values_per_block == 0) return format;
  const BlockFormat* smaller = &kF16;
  if (format->name.starts_with("IQ")) smaller = &kIQ4_NL;
  else if (format->values_per_block > 32 && format->bits_per_value() < 4.5) smaller = &kQ4_0;  // Q2_K, Q3_K, ternary, Q1_0, Q2_0
  else if (format == &kNVFP4) smaller = &kMXFP4;
  else if (format == &kQ4_K) smaller = &kQ5_0;
  else if (format == &kQ5_K) smaller = &kQ5_1;
  else if (format == &kQ6_K) smaller = &kQ8_0;
  return columns % smaller->values_per_block == 0 ? smaller : &kF16;
}

}  // namespace

std::span<const Mix> all_mixes() { return kMixes; }

bool needs_importance(const BlockFormat& format, std::string_view tensor) {
  if (&format == &kIQ1_M) return tensor != "token_embd.weight" && tensor != "output.weight";
  return &format == &kIQ1_S || &format == &kIQ2_XXS || &format == &kIQ2_XS || &format == &kIQ2_S;
}

const Mix* find_mix(std::string_view name) {
  std::string wanted(name);
  for (char& c : wanted) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (wanted == "Q3_K" || wanted == "Q4_K" || wanted == "Q5_K") wanted += "_M";
  for (const Mix& mix : kMixes)
    if (mix.name == wanted) return &mix;
  return nullptr;
}

Result<std::vector<const BlockFormat*>> choose_formats(const GgufFile& model, const Mix& mix, bool has_importance) {
  const std::vector<GgufTensor>& tensors = model.tensors();
  std::vector<const BlockFormat*> chosen;
  for (const GgufTensor& tensor : tensors) chosen.push_back(tensor.format);
  if (mix.format == &kF32) {
    std::fill(chosen.begin(), chosen.end(), &kF32);
    return chosen;
  }
  auto facts = read_facts(model, has_importance);
  if (!facts) return facts.error();
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(layer_of(tensors[a].name), std::string_view(tensors[a].name)) <
           std::tuple(layer_of(tensors[b].name), std::string_view(tensors[b].name));
  });
  Rules rules(*facts, mix);
  for (const std::size_t i : order) {
    if (stays_as_it_is(tensors[i])) continue;
    const bool plain = mix.format->values_per_block == 1;  // F16, BF16: no rules
    chosen[i] = plain ? mix.format : fit_to_row(rules.choose(tensors[i]), tensors[i].columns());
  }
  return chosen;
}

}  // namespace quantfleet
