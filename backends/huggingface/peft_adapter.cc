#include "backends/huggingface/peft_adapter.h"

#include "backends/formats/catalog.h"
#include "backends/formats/mapped_file.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/architecture.h"
#include "backends/huggingface/config_json.h"
#include "backends/huggingface/json_file.h"
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

namespace quantfleet {
namespace huggingface {
namespace {

namespace fs = std::filesystem;

// Not null, false, "none" or empty.
bool is_given(const Json& config, std::string_view key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null() || (found->is_boolean() && !found->get<bool>()) || *found == "none") return false;
  return !((found->is_array() || found->is_object()) && found->empty());
}

// r or alpha of a module: what a pattern gives whose key is the module's path or its end, otherwise the general one.
Result<double> number_of(const Json& config, const std::string& place, const char* patterns, std::string_view module, double general) {
  const auto all = config.find(patterns);
  if (all == config.end() || all->is_null()) return general;
  const auto bad = [&](std::string sentence) { return Error{Code::kUnsupported, fmt::format("{}: {}: {}", place, patterns, sentence)}; };
  if (!all->is_object()) return bad("is not an object");
  std::optional<double> chosen;
  for (const auto& [key, value] : all->items()) {
    const bool literal = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
    if (!literal) return bad(fmt::format("'{:.80}' is a regular expression; this program reads paths of modules", key));
    if (!value.is_number() || !(value.get<double>() > 0)) return bad(fmt::format("'{:.80}' has no positive number", key));
    const bool matches = module == key || (module.size() > key.size() && module.ends_with(key) && module[module.size() - key.size() - 1] == '.');
    if (!matches) continue;
    if (chosen && *chosen != value.get<double>()) return bad(fmt::format("two different numbers for {}", module));
    chosen = value.get<double>();
  }
  return chosen.value_or(general);
}

struct Config {
  double rank = 0, alpha = 0;
  bool root_of_rank = false;  // rsLoRA (Kalajdzievski 2023): alpha / sqrt(r)
};

Result<Config> read_config_of(const Json& json, const std::string& place) {
  JsonReader reader(json, place);
  const std::string type = reader.text("peft_type", "");
  if (type != "LORA") return Error{Code::kUnsupported, fmt::format("{}: peft_type is '{}'; this program reads LORA", place, type)};
  for (const auto& [key, what] : {std::pair("use_dora", "DoRA"), {"bias", "trained biases"}, {"lora_bias", "biases of the adapter"}, {"modules_to_save", "modules that are trained as a whole"},
                                  {"target_parameters", "parameters without a module"}, {"trainable_token_indices", "single trained tokens"},
                                  {"layer_replication", "repeated layers"}, {"use_qalora", "QA-LoRA"}, {"alora_invocation_tokens", "adapters behind some tokens only"},
                                  {"megatron_config", "layers of Megatron"}, {"use_bdlora", "block-diagonal LoRA"}, {"arrow_config", "routing between adapters"}, {"kasa_config", "KaSA"},
                                  {"monteclora_config", "MonteCLoRA"}})
    if (is_given(json, key)) return Error{Code::kUnsupported, fmt::format("{}: {} is given; this program reads plain LoRA and lacks {}", place, key, what)};
  // Methods that begin by changing the base: the adapter is then for weights that nobody has.
  const std::string initial = text_of(json, "init_lora_weights");
  for (const std::string_view method : {"pissa", "olora", "corda", "loftq", "lora_ga"})
    if (initial.starts_with(method))
      return Error{Code::kUnsupported, fmt::format("{}: init_lora_weights is '{}', so the adapter is for changed base weights; save it with path_initial_model_for_weight_conversion", place, initial)};
  Config config;
  config.rank = static_cast<double>(reader.integer("r", 1, kLoraMaxRank));
  config.alpha = reader.number("lora_alpha", -1e6, 1e6, 8);
  config.root_of_rank = reader.flag("use_rslora", false);
  if (reader.error()) return *reader.error();
  return config;
}

std::vector<float> floats_of(const SafetensorsArray& array) {
  std::vector<float> values(static_cast<std::size_t>(array.count_values()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = float_at(array, static_cast<std::int64_t>(i));
  return values;
}

}  // namespace

Result<LoraAdapter> read_peft_adapter(std::string_view adapter_config, std::span<const std::byte> safetensors, const fs::path& folder, const GgufFile& base) {
  const std::string place = (folder / "adapter_config.json").string(), file_place = (folder / "adapter_model.safetensors").string();
  Json json;
  if (const Status parsed = parse_json(adapter_config, place, json); !parsed) return parsed.error();
  const auto config = read_config_of(json, place);
  if (!config) return config.error();
  const auto architecture = base.get_string("general.architecture");
  if (!architecture) return architecture.error();
  const auto shape = shape_of(base);
  if (!shape) return shape.error();
  const auto file = SafetensorsFile::parse(safetensors, file_place);
  if (!file) return file.error();

  const auto bad = [&](Code code, std::string sentence) { return Error{code, fmt::format("{}: {}", file_place, sentence)}; };
  struct Pair {
    const SafetensorsArray *a = nullptr, *b = nullptr;
    bool embedding = false;
  };
  std::map<std::string, Pair> pairs;  // by path of the module
  for (const SafetensorsArray& array : (*file)->arrays()) {
    constexpr std::string_view kBefore = "base_model.model.";
    constexpr std::array<std::string_view, 4> kEnds = {".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B"};
    const auto end = std::find_if(kEnds.begin(), kEnds.end(), [&](std::string_view one) { return array.name.ends_with(one); });
    if (!array.name.starts_with(kBefore) || end == kEnds.end() || array.name.size() <= kBefore.size() + end->size())
      return bad(Code::kUnsupported, fmt::format("array {}: a name like base_model.model.MODULE.lora_A.weight is expected", array.name));
    Pair& pair = pairs[array.name.substr(kBefore.size(), array.name.size() - kBefore.size() - end->size())];
    const bool is_b = (end - kEnds.begin()) % 2 == 1;
    (is_b ? pair.b : pair.a) = &array;
    pair.embedding = end - kEnds.begin() >= 2;
    if (kFloatDtypes.find(array.dtype) == std::string_view::npos || array.shape.size() != 2 || array.count_values() == 0)
      return bad(Code::kBadShape, fmt::format("array {} is no matrix of F32, F16 or BF16", array.name));
    if (const Status finite = check_finite(array); !finite) return bad(finite.error().code, finite.error().detail);
  }
  if (pairs.empty()) return bad(Code::kNotFound, "no array at all; an adapter has pairs of lora_A and lora_B");

  LoraAdapter adapter;
  adapter.place = folder.string();
  adapter.architecture = *architecture;
  for (const auto& [path, pair] : pairs) {
    if (!pair.a || !pair.b) return bad(Code::kNotFound, fmt::format("module {} has {} alone; A and B are needed", path, pair.a ? "lora_A" : "lora_B"));
    const Module* module = nullptr;
    int layer = -1, expert = -1;
    for (const HfArchitecture& one : all_hf_architectures())
      if (!module && one.gguf == *architecture) module = find_module(one, path, layer, expert);
    if (!module || layer >= shape->layers || pair.embedding != (module->gguf == "token_embd"))
      return bad(Code::kUnsupported, fmt::format("module {} is not one of {} with {} layers, the architecture of {}", path, *architecture, shape->layers, base.path().string()));
    const std::int64_t rank = pair.b->shape[1];
    const auto configured = number_of(json, place, "rank_pattern", path, config->rank), alpha = number_of(json, place, "alpha_pattern", path, config->alpha);
    if (!configured || !alpha) return (configured ? alpha : configured).error();
    if (pair.a->shape[0] != rank || static_cast<double>(rank) != *configured)
      return bad(Code::kBadShape, fmt::format("module {}: lora_A has rank {}, lora_B rank {}; adapter_config.json says {}", path, pair.a->shape[0], rank, *configured));
    LowRankUpdate& update = adapter.updates.emplace_back();
    update.tensor = (layer >= 0 ? fmt::format("blk.{}.", layer) : std::string()) + std::string(module->gguf) + ".weight";
    update.expert = expert;
    update.rank = rank;
    update.rows = pair.b->shape[0];
    update.columns = pair.a->shape[1];
    update.scale = static_cast<float>(*alpha / (config->root_of_rank ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank)));
    update.a = floats_of(*pair.a);
    update.b = floats_of(*pair.b);
    if (pair.embedding) {  // stored A [r, V]; its rows are looked up
      std::swap(update.rows, update.columns);
      for (std::int64_t r = 0; r < rank; ++r)
        for (std::int64_t v = 0; v < update.rows; ++v) update.a[static_cast<std::size_t>(v * rank + r)] = float_at(*pair.a, r * update.rows + v);
      continue;
    }
    if (module->order == RowOrder::kAsStored) continue;
    const std::int64_t heads = module->order == RowOrder::kQueryPairs ? shape->heads : module->order == RowOrder::kKeyPairs ? shape->kv_heads : shape->heads + 2 * shape->kv_heads;
    if (update.rows != heads * shape->head_width)
      return bad(Code::kBadShape, fmt::format("module {}: lora_B has {} rows; {} heads of {} have {}", path, update.rows, heads, shape->head_width, heads * shape->head_width));
    const std::vector<float> stored = update.b;
    for (std::int64_t row = 0; row < update.rows; ++row)
      std::copy_n(&stored[static_cast<std::size_t>(stored_row(module->order, *shape, row) * rank)], rank, &update.b[static_cast<std::size_t>(row * rank)]);
  }
  return adapter;
}

}  // namespace huggingface

Result<LoraAdapter> open_lora_adapter(const std::filesystem::path& path, const GgufFile& base) {
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) {
    const auto file = GgufFile::open(path);
    if (!file) return file.error();
    return read_lora_adapter(**file);
  }
  const std::filesystem::path config_path = path / "adapter_config.json";
  if (!std::filesystem::exists(config_path, code))
    return Error{Code::kNotFound, fmt::format("{}: no adapter_config.json; a GGUF adapter file or a PEFT folder is expected", path.string())};
  const auto config = MappedFile::open(config_path, "a JSON file");
  if (!config) return config.error();
  if (config->bytes().size() > huggingface::kJsonMaxBytes) return Error{Code::kTooLarge, fmt::format("{}: more than {} bytes", config_path.string(), huggingface::kJsonMaxBytes)};
  if (!std::filesystem::exists(path / "adapter_model.safetensors", code) && std::filesystem::exists(path / "adapter_model.bin", code))
    return Error{Code::kUnsupported, fmt::format("{}: adapter_model.bin is PyTorch's pickle, which is not read because opening one runs code; adapter_model.safetensors is needed", path.string())};
  const auto arrays = MappedFile::open(path / "adapter_model.safetensors", "a safetensors file");
  if (!arrays) return arrays.error();
  return huggingface::read_peft_adapter({reinterpret_cast<const char*>(config->bytes().data()), config->bytes().size()}, arrays->bytes(), path, base);
}

Status write_lora_adapter(const LoraAdapter& adapter, const std::filesystem::path& path) {
  if (adapter.updates.empty()) return Error{Code::kBadValue, fmt::format("{}: an adapter without updates", adapter.place)};
  const double alpha = static_cast<double>(adapter.updates.front().scale) * static_cast<double>(adapter.updates.front().rank);
  const BlockFormat* f32 = find_format("F32");
  std::vector<GgufWriter::TensorPlan> plans;
  for (std::size_t i = 0; i < adapter.updates.size(); ++i) {
    const LowRankUpdate& update = adapter.updates[i];
    if (static_cast<float>(static_cast<float>(alpha) / static_cast<double>(update.rank)) != update.scale)
      return Error{Code::kUnsupported, fmt::format("{}: tensor {} has scale {} at rank {}, others have alpha {}; a GGUF adapter has one alpha", adapter.place, update.tensor,
                                                   update.scale, update.rank, alpha)};
    if (update.expert >= 0)
      return Error{Code::kUnsupported, fmt::format("{}: tensor {} is of single experts; a GGUF adapter of this program has none", adapter.place, update.tensor)};
    const bool embedding = update.tensor == kAdaptedEmbedding;
    plans.push_back({update.tensor + ".lora_a", f32, embedding ? std::vector<std::int64_t>{update.rank, update.rows} : std::vector<std::int64_t>{update.columns, update.rank}});
    plans.push_back({update.tensor + ".lora_b", f32, {update.rank, embedding ? update.columns : update.rows}});
  }
  auto writer = GgufWriter::create(path, {{"general.type", gguf_string("adapter")}, {"general.architecture", gguf_string(adapter.architecture)},
                                          {"adapter.type", gguf_string("lora")}, {"adapter.lora.alpha", gguf_float32(static_cast<float>(alpha))}}, plans);
  if (!writer) return writer.error();
  for (const LowRankUpdate& update : adapter.updates)
    for (const std::vector<float>* values : {&update.a, &update.b})
      if (Status written = (*writer)->write(std::as_bytes(std::span(*values))); !written) return written;
  return (*writer)->finish();
}

}  // namespace quantfleet
