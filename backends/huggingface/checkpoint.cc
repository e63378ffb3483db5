#include "backends/huggingface/checkpoint.h"

#include "backends/formats/catalog.h"
#include "backends/formats/mapped_file.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/architecture.h"
#include "backends/huggingface/linear_format.h"
#include "backends/huggingface/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <system_error>
#include <tuple>

namespace quantfleet {
namespace huggingface {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShardsMax = 1000;

// Where the rows of a tensor come from when they are not a view.
struct Source {
  const SafetensorsArray* array = nullptr;      // a plain array, or
  std::unique_ptr<LinearWeight> linear;         // a quantized matrix, or
  std::vector<float> values;                    // numbers of our own, or
  std::vector<Source> experts;                  // one matrix for each index of a third dimension
  RowOrder order = RowOrder::kAsStored;
  bool transposed = false, add_one = false;
  bool as_floats = false;                       // a quantized matrix among others that are stored in another way
};

const BlockFormat* format_of(const std::string& dtype) {
  if (dtype == "F32") return &kF32;
  if (dtype == "F16") return &kF16;
  if (dtype == "BF16") return &kBF16;
  return nullptr;
}

class Checkpoint final : public GgufFile {
 public:
  explicit Checkpoint(std::shared_ptr<const ModelFolder> folder) : folder_(std::move(folder)) {}

  const fs::path& path() const override { return folder_->path(); }
  const std::vector<fs::path>& parts() const override { return parts_; }
  std::uint64_t size_bytes() const override { return size_bytes_; }
  std::uint32_t version() const override { return 0; }
  std::uint64_t alignment() const override { return 32; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return metadata_; }
  const std::vector<GgufTensor>& tensors() const override { return tensors_; }
  void forget(std::span<const std::byte> bytes) const override { MappedFile::forget(bytes); }
  void forget_all() const override {
    for (const std::string& name : used_names_)
      if (const auto bytes = folder_->bytes(name)) MappedFile::forget(*bytes);
  }

  std::span<const std::byte> rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>& buffer) const override {
    if (!tensor.bytes.empty()) return GgufFile::rows(tensor, begin, end, buffer);
    const Source& source = sources_[static_cast<std::size_t>(&tensor - tensors_.data())];
    const std::int64_t columns = tensor.columns(), row_bytes = tensor.format->row_bytes(columns);
    buffer.resize(static_cast<std::size_t>((end - begin) * row_bytes));
    std::byte* target = buffer.data();
    for (std::int64_t row = begin; row < end; ++row, target += row_bytes) make_row(source, tensor, row, columns, target);
    return buffer;
  }

  Status read() {
    Json config;
    if (Status status = read_json_file(*folder_, "config.json", config); !status) return status;
    const std::string place = folder_->place("config.json");
    auto architecture = read_config(config, place, metadata_, shape_);
    if (!architecture) return architecture.error();
    architecture_ = *architecture;
    metadata_.emplace_back("general.name", gguf_string(folder_->name()));
    if (Status status = open_shards(); !status) return status;

    std::optional<Json> separate;  // of AutoGPTQ
    if (Status status = read_optional_json_file(*folder_, "quantize_config.json", separate); !status) return status;
    const Json empty = Json::object();
    const auto inner = config.find("quantization_config");
    const bool has_inner = inner != config.end() && inner->is_object();
    JsonReader quantization(has_inner ? *inner : separate ? *separate : empty, has_inner ? place + ": quantization_config" : folder_->place("quantize_config.json"));
    if (has_inner || separate) {
      if (Status status = choose_format(quantization); !status) return status;
    }
    if (Status status = read_modules(quantization); !status) return status;
    if (Status status = check_rows(); !status) return status;
    const std::int64_t rows = find_embedding_rows();
    if (rows == 0) return bad(Code::kNotFound, "the token embedding is missing");
    if (Status status = read_tokenizer(*folder_, config, rows, metadata_); !status) return status;
    if (Status status = read_chat_template(); !status) return status;
    // All that was read, for the model's hash.
    for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "added_tokens.json", "tokenizer_config.json", "chat_template.jinja", "quantize_config.json"})
      if (folder_->contains(name)) used_names_.push_back(name);
    used_names_.insert(used_names_.end(), shard_names_.begin(), shard_names_.end());
    parts_ = folder_->holders(used_names_);
    for (std::size_t i = 0; i < metadata_.size(); ++i) key_index_.emplace(metadata_[i].first, i);
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      if (!tensor_index_.emplace(tensors_[i].name, i).second)
        return bad(Code::kBadValue, fmt::format("two arrays become tensor {}", tensors_[i].name));
    return {};
  }

 private:
  Error bad(Code code, std::string sentence) const { return {code, path().string() + ": " + std::move(sentence)}; }

  // Reads only what read() checked.
  void make_row(const Source& source, const GgufTensor& tensor, std::int64_t row, std::int64_t columns, std::byte* target) const {
    if (!source.experts.empty()) {
      const std::int64_t rows = tensor.shape[1];
      return make_row(source.experts[static_cast<std::size_t>(row / rows)], tensor, row % rows, columns, target);
    }
    const std::int64_t stored = tensor.shape.size() == 1 ? 0 : stored_row(source.order, shape_, row);
    if (source.linear && source.as_floats) {
      std::vector<float> values(static_cast<std::size_t>(columns));
      source.linear->decode(stored, values.data());
      std::memcpy(target, values.data(), values.size() * sizeof(float));
    } else if (source.linear) {
      source.linear->store(stored, target);
    } else if (!source.values.empty()) {
      std::memcpy(target, source.values.data(), source.values.size() * sizeof(float));
    } else if (tensor.shape.size() == 1) {  // F32 always
      for (std::int64_t k = 0; k < columns; ++k) {
        const float value = float_at(*source.array, stored_row(source.order, shape_, k)) + (source.add_one ? 1.0f : 0.0f);
        std::memcpy(target + 4 * k, &value, 4);
      }
    } else if (source.transposed) {
      const std::int64_t size = tensor.format->bytes_per_block, count_rows = tensor.rows();
      for (std::int64_t k = 0; k < columns; ++k)
        std::memcpy(target + k * size, source.array->bytes.data() + (k * count_rows + stored) * size, static_cast<std::size_t>(size));
    } else {
      const std::int64_t row_bytes = tensor.format->row_bytes(columns);
      std::memcpy(target, source.array->bytes.data() + stored * row_bytes, static_cast<std::size_t>(row_bytes));
    }
  }

  Status open_shards() {
    std::set<std::string> names;
    const std::string index_place = folder_->place("model.safetensors.index.json");
    std::optional<Json> index;
    if (Status status = read_optional_json_file(*folder_, "model.safetensors.index.json", index); !status) return status;
    if (index) {
      const auto map = index->find("weight_map");
      if (map == index->end() || !map->is_object()) return Error{Code::kBadValue, fmt::format("{}: weight_map is not an object", index_place)};
      for (const auto& [array, file] : map->items()) {
        const std::string name = file.is_string() ? file.get<std::string>() : "";
        if (name.empty() || name.find('/') != std::string::npos || !name.ends_with(".safetensors"))
          return Error{Code::kBadValue, fmt::format("{}: weight_map names '{}' where a safetensors file of the same folder is expected", index_place, name)};
        names.insert(name);
      }
    } else {
      for (const std::string& name : folder_->names())
        if (name.ends_with(".safetensors")) names.insert(name);
    }
    if (names.empty()) return bad(Code::kNotFound, "no *.safetensors file; PyTorch's pickled *.bin files are not read, because opening one runs code");
    if (names.size() > kShardsMax) return bad(Code::kTooLarge, fmt::format("{} safetensors files; the limit is {}", names.size(), kShardsMax));
    for (const std::string& name : names) {
      const auto bytes = folder_->bytes(name);
      if (!bytes) return bytes.error();
      auto shard = SafetensorsFile::parse(*bytes, folder_->place(name));
      if (!shard) return shard.error();
      for (const SafetensorsArray& array : (*shard)->arrays())
        if (!arrays_.emplace(array.name, &array).second) return bad(Code::kBadValue, fmt::format("array {} is in two files", array.name));
      if (index)
        for (const SafetensorsArray& array : (*shard)->arrays()) {
          if (!(*index)["weight_map"].contains(array.name)) return bad(Code::kBadValue, fmt::format("array {} of {} is not in model.safetensors.index.json", array.name, name));
        }
      size_bytes_ += (*shard)->size_bytes();
      shard_names_.push_back(name);
      shards_.push_back(std::move(*shard));
    }
    if (index)
      for (const auto& [array, file] : (*index)["weight_map"].items())
        if (!arrays_.contains(array)) return bad(Code::kNotFound, fmt::format("array {} is not in {}, where model.safetensors.index.json has it", array, text_of((*index)["weight_map"], array)));
    return {};
  }

  Status choose_format(JsonReader& quantization) {
    const std::string method = quantization.text("quant_method", quantization.find("bits") ? "gptq" : "");  // old AutoGPTQ files
    std::string known;
    for (const LinearFormat* format : all_linear_formats()) {
      if (format->quant_method == method) format_ = format;
      known += (known.empty() ? "" : ", ") + std::string(format->quant_method);
    }
    if (!format_) return Error{Code::kUnknownFormat, fmt::format("{}: quant_method is '{}'; this program reads: {}", quantization.place(), method, known)};
    auto name = format_->describe(quantization);
    if (!name) return name.error();
    metadata_.emplace_back("quantfleet.source_format", gguf_string(*name));
    return read_provenance(quantization);
  }

  // What quantize says of itself in a folder (quantization_config.meta), as the keys that its GGUF files have.
  Status read_provenance(JsonReader& quantization) {
    const Json* meta = quantization.find("meta");
    if (!meta || !meta->is_object() || text_of(*meta, "quantizer") != "quantfleet") return {};
    JsonReader made_by(*meta, quantization.place() + ".meta");
    const std::string method = made_by.text("method", made_by.flag("error_feedback", true) ? std::string(format_->quant_method) : "round_to_nearest");
    metadata_.emplace_back("quantfleet.quantizer", gguf_string(method));
    metadata_.emplace_back("quantfleet.program_version", gguf_string(made_by.text("version", "")));
    for (const auto& [key, name] : {std::pair("calibration_text", "quantfleet.calibration_text"), std::pair("calibration_sha256", "quantfleet.calibration_sha256")})
      metadata_.emplace_back(name, gguf_string(made_by.text(key, "")));
    for (const auto& [key, name] : {std::pair("calibration_seed", "quantfleet.calibration_seed"), std::pair("calibration_windows", "quantfleet.calibration_windows"),
                                    std::pair("calibration_context", "quantfleet.calibration_context")})
      if (const Json* value = made_by.find(key); value && value->is_number_unsigned()) metadata_.emplace_back(name, gguf_string(std::to_string(value->get<std::uint64_t>())));
    if (made_by.error()) return *made_by.error();
    return {};
  }

  // Buffers that carry no weights, and what a text model does not need.
  static bool is_ignored(std::string_view name) {
    for (const std::string_view end : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias"})
      if (name.ends_with(end)) return true;
    return name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.") || name.starts_with("model.vision_tower.");
  }

  Status read_modules(JsonReader& quantization) {
    std::vector<std::string_view> suffixes = {"weight", "bias"};
    if (format_) suffixes.insert(suffixes.end(), format_->suffixes.begin(), format_->suffixes.end());
    std::sort(suffixes.begin(), suffixes.end(), [](auto a, auto b) { return a.size() > b.size(); });
    std::map<std::string, ModuleArrays> modules;
    for (const auto& [name, array] : arrays_) {
      if (is_ignored(name)) continue;
      std::string_view found;
      for (const std::string_view suffix : suffixes)
        if (found.empty() && name.size() > suffix.size() + 1 && name.ends_with(suffix) && name[name.size() - suffix.size() - 1] == '.') found = suffix;
      if (found.empty()) return bad(Code::kUnsupported, fmt::format("array {} is not part of {} as this program knows it", name, architecture_->model_type));
      const std::string module = name.substr(0, name.size() - found.size() - 1);
      modules[module].name = module;
      modules[module].arrays.emplace(found, array);
    }
    struct Placed {
      int layer;
      std::ptrdiff_t order;
      int expert;
      const Module* module;
      const ModuleArrays* arrays;
    };
    std::vector<Placed> placed;
    for (const auto& [name, arrays] : modules) {
      int layer = -1, expert = -1;
      const Module* module = find_module(*architecture_, name, layer, expert);
      if (!module || layer >= shape_.layers || expert >= shape_.experts)
        return bad(Code::kUnsupported, fmt::format("array {}.{} is not part of {} with {} layers as this program knows it", name, arrays.arrays.begin()->first,
                                                   architecture_->model_type, shape_.layers));
      if (shape_.tied && module->gguf == "output") continue;  // a copy of the embedding
      placed.push_back({layer, module - architecture_->modules.data(), expert, module, &arrays});
    }
    std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return std::tuple(a.layer, a.order, a.expert) < std::tuple(b.layer, b.order, b.expert); });
    for (std::size_t i = 0; i < placed.size(); ++i) {
      const Placed& one = placed[i];
      const std::size_t first = tensors_.size();
      if (Status status = add_module(*one.module, one.layer, *one.arrays, quantization); !status) return status;
      if (one.expert < 0) continue;
      // The experts of a matrix follow each other.
      for (int expert = 0; expert < shape_.experts; ++expert) {
        const Placed* next = i < placed.size() ? &placed[i] : nullptr;
        if (!next || next->module != one.module || next->layer != one.layer || next->expert != expert)
          return bad(Code::kNotFound, fmt::format("layer {}: {} of expert {} is missing; config.json has {} experts", one.layer, one.module->name, expert, shape_.experts));
        if (expert > 0)
          if (Status status = add_module(*next->module, next->layer, *next->arrays, quantization); !status) return status;
        if (expert + 1 < shape_.experts) ++i;
      }
      if (Status status = join_experts(first); !status) return status;
    }
    if (!shape_.tied && std::none_of(tensors_.begin(), tensors_.end(), [](const GgufTensor& tensor) { return tensor.name == "output.weight"; }))
      return bad(Code::kNotFound, "the output matrix (lm_head) is missing, and tie_word_embeddings is not true");
    for (const auto& [name, divisors] : {std::pair("rope_freqs.weight", &shape_.rotary_divisors), std::pair("rope_factors_short.weight", &shape_.short_divisors),
                                         std::pair("rope_factors_long.weight", &shape_.long_divisors)}) {
      if (divisors->empty()) continue;
      Source source;
      source.values = *divisors;
      add(name, &kF32, {static_cast<std::int64_t>(divisors->size())}, {}, std::move(source));
    }
    return {};
  }

  // The matrices from tensor `first` on, one of each expert, become one tensor.
  Status join_experts(std::size_t first) {
    GgufTensor joined = tensors_[first];
    Source source;
    // Quantized experts whose groups or activation scales differ have one type only as floats.
    bool differ = false, quantized = true;
    for (std::size_t i = first; i < tensors_.size(); ++i) {
      differ = differ || tensors_[i].format != joined.format;
      quantized = quantized && sources_[i].linear;
    }
    if (differ && quantized) {
      joined.format = &kF32;
      for (std::size_t i = first; i < tensors_.size(); ++i) tensors_[i].format = &kF32, sources_[i].as_floats = true;
    }
    for (std::size_t i = first; i < tensors_.size(); ++i) {
      if (tensors_[i].shape != joined.shape || tensors_[i].format != joined.format || joined.shape.size() != 2)
        return bad(Code::kBadShape, fmt::format("{}: expert {} has another shape or type than expert 0, or a bias", joined.name, i - first));
      source.experts.push_back(std::move(sources_[i]));
    }
    joined.shape.push_back(static_cast<std::int64_t>(source.experts.size()));
    joined.bytes = {};
    tensors_.resize(first);
    sources_.resize(first);
    tensors_.push_back(std::move(joined));
    sources_.push_back(std::move(source));
    return {};
  }

  void add(std::string name, const BlockFormat* format, std::vector<std::int64_t> shape, std::span<const std::byte> bytes, Source source) {
    tensors_.push_back({std::move(name), format, std::move(shape), bytes});
    sources_.push_back(std::move(source));
  }

  Status add_module(const Module& module, int layer, const ModuleArrays& arrays, JsonReader& quantization) {
    const std::string name = (layer >= 0 ? fmt::format("blk.{}.", layer) : std::string()) + std::string(module.gguf);
    if (const SafetensorsArray* bias = arrays.find("bias"))
      if (Status status = add_vector(name + ".bias", *bias, module, false); !status) return status;
    if (format_) {
      auto linear = format_->read(arrays, quantization);
      if (!linear) return at(path().string(), linear.error());
      if (*linear) {
        Source source;
        source.order = module.order;
        const std::vector<std::int64_t> shape = {(*linear)->columns(), (*linear)->rows()};
        source.linear = std::move(*linear);
        const BlockFormat* format = source.linear->format();
        add(name + ".weight", format, shape, {}, std::move(source));
        return {};
      }
    }
    const SafetensorsArray* weight = arrays.find("weight");
    if (!weight) return arrays.arrays.size() == 1 && arrays.find("bias") ? Status() : bad(Code::kNotFound, fmt::format("array {}.weight is missing", arrays.name));
    for (const auto& [suffix, array] : arrays.arrays)
      if (suffix != "weight" && suffix != "bias" && suffix != "input_scale")
        return bad(Code::kUnsupported, fmt::format("array {} stands beside a weight that is not quantized", array->name));
    if (weight->shape.size() == 1 || (module.gguf == "ffn_gate_inp_shexp" && weight->shape.size() == 2 && weight->shape[0] == 1)) return add_vector(name + ".weight", *weight, module, module.add_one);
    const BlockFormat* format = format_of(weight->dtype);
    if (!format) return bad(Code::kUnsupported, fmt::format("array {} is of {}; F32, F16, BF16 or a quantization_config that says how to read it is needed", weight->name, weight->dtype));
    if (weight->shape.size() != 2 || weight->count_values() == 0)
      return bad(Code::kBadShape, fmt::format("array {} has {} dimensions; a matrix is needed", weight->name, weight->shape.size()));
    std::vector<std::int64_t> shape = {weight->shape[1], weight->shape[0]};
    Source source;
    source.array = weight;
    source.order = module.order;
    source.transposed = module.transposed;
    if (module.transposed) std::swap(shape[0], shape[1]);
    const bool view = module.order == RowOrder::kAsStored && !module.transposed;
    add(name + ".weight", format, std::move(shape), view ? weight->bytes : std::span<const std::byte>(), std::move(source));
    return {};
  }

  // Vectors become F32, as converters write them.
  Status add_vector(std::string name, const SafetensorsArray& array, const Module& module, bool add_one) {
    if (!format_of(array.dtype) || array.count_values() == 0 || array.count_values() != array.shape.back())
      return bad(Code::kBadShape, fmt::format("array {} is not a vector of F32, F16 or BF16", array.name));
    Source source;
    source.array = &array;
    source.order = module.order;
    source.add_one = add_one;
    add(std::move(name), &kF32, {array.shape.back()}, {}, std::move(source));
    return {};
  }

  // Orders of rows are defined for exactly as many rows as the heads have.
  Status check_rows() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const RowOrder order = sources_[i].order;
      if (order == RowOrder::kAsStored) continue;
      const GgufTensor& tensor = tensors_[i];
      const std::int64_t heads = order == RowOrder::kQueryPairs ? shape_.heads : order == RowOrder::kKeyPairs ? shape_.kv_heads : shape_.heads + 2 * shape_.kv_heads;
      const std::int64_t rows = tensor.shape.size() == 1 ? tensor.shape[0] : tensor.shape[1];
      if (rows != heads * shape_.head_width || shape_.head_width % 2 != 0)
        return bad(Code::kBadShape, fmt::format("tensor {} has {} rows; {} heads of an even width, here {}, need {}", tensor.name, rows, heads,
                                                shape_.head_width, heads * shape_.head_width));
    }
    return {};
  }

  std::int64_t find_embedding_rows() const {
    for (const GgufTensor& tensor : tensors_)
      if (tensor.name == "token_embd.weight" && tensor.shape.size() == 2) return tensor.rows();
    return 0;
  }

  // chat_template.jinja, where tokenizer_config.json has none.
  Status read_chat_template() {
    const std::string name = "chat_template.jinja";
    const bool given = std::any_of(metadata_.begin(), metadata_.end(), [](const auto& pair) { return pair.first == "tokenizer.chat_template"; });
    if (given || !folder_->contains(name)) return {};
    const auto bytes = folder_->bytes(name);
    if (!bytes) return bytes.error();
    if (bytes->size() > 1u << 20) return Error{Code::kTooLarge, fmt::format("{}: more than 1 MiB", folder_->place(name))};
    metadata_.emplace_back("tokenizer.chat_template", gguf_string({reinterpret_cast<const char*>(bytes->data()), bytes->size()}));
    return {};
  }

  std::shared_ptr<const ModelFolder> folder_;
  std::vector<std::string> shard_names_, used_names_;
  std::vector<fs::path> parts_;
  std::uint64_t size_bytes_ = 0;
  std::vector<std::shared_ptr<const SafetensorsFile>> shards_;
  std::map<std::string, const SafetensorsArray*> arrays_;
  const HfArchitecture* architecture_ = nullptr;
  const LinearFormat* format_ = nullptr;
  Shape shape_;
  Metadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<Source> sources_;  // of each tensor
};

}  // namespace

Result<std::shared_ptr<const GgufFile>> open_checkpoint(const fs::path& path) {
  auto folder = ModelFolder::open(path);
  if (!folder) return folder.error();
  auto checkpoint = std::make_shared<Checkpoint>(std::move(*folder));
  if (Status status = checkpoint->read(); !status) return status.error();
  return std::shared_ptr<const GgufFile>(std::move(checkpoint));
}

}  // namespace huggingface

Result<std::shared_ptr<const GgufFile>> open_model_file(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) return huggingface::is_model_archive(path) ? huggingface::open_checkpoint(path) : GgufFile::open(path);
  if (std::filesystem::exists(path / "config.json", code)) return huggingface::open_checkpoint(path);
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(path, code)) {
    const std::string name = entry.path().filename().string();
    const bool later_part = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (name.ends_with(".gguf") && !later_part) found.push_back(entry.path());
  }
  if (code) return Error{Code::kIo, fmt::format("{}: reading the folder failed: {}", path.string(), code.message())};
  if (found.size() == 1) return GgufFile::open(found.front());
  return Error{Code::kUsage, fmt::format("{}: holds {} GGUF models and no config.json of a Hugging Face checkpoint; name one file", path.string(), found.size())};
}

}  // namespace quantfleet
