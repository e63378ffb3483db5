#include "backends/huggingface/checkpoint_writer.h"

#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/huggingface/config_json.h"
#include "backends/huggingface/tokenizer_json.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <system_error>

namespace quantfleet::huggingface {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kArraysPerModule = 10;  // room in the header: more than any format has
constexpr std::int64_t kRowsAtOnce = 256;

Error failed(const fs::path& path, std::string_view doing, const std::error_code& code) {
  const bool full = code == std::errc::no_space_on_device;
  const bool denied = code == std::errc::permission_denied || code == std::errc::read_only_file_system || code == std::errc::operation_not_permitted;
  return {full ? Code::kDiskFull : denied ? Code::kPermission : code == std::errc::no_such_file_or_directory ? Code::kNotFound : Code::kIo,
          fmt::format("{}: {} failed: {}", path.string(), doing, code.message())};
}

void sync(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

// Vectors are F32 in the model, whatever they were: back to the narrowest of BF16 and F16 that holds all of them.
StoredArray narrowest(std::string suffix, std::vector<std::int64_t> shape, const std::vector<float>& values) {
  const bool bf16 = std::all_of(values.begin(), values.end(), [](float v) { return bfloat16_to_float(float_to_bfloat16(v)) == v; });
  if (bf16) {
    std::vector<std::uint16_t> narrow;
    for (const float value : values) narrow.push_back(float_to_bfloat16(value));
    return stored_array(std::move(suffix), "BF16", std::move(shape), narrow);
  }
  const bool f16 = std::all_of(values.begin(), values.end(), [](float v) { return half_to_float(float_to_half(v)) == v; });
  if (f16) return stored_halves(std::move(suffix), std::move(shape), values);
  return stored_array(std::move(suffix), "F32", std::move(shape), values);
}

// A mixture's routers stay as they are: so other loaders are told.
void except_routers(Json& quantization) {
  const std::string method = text_of(quantization, "quant_method");
  const bool patterns = method == "compressed-tensors";
  Json& list = quantization[patterns ? "ignore" : method == "bitsandbytes" ? "llm_int8_skip_modules" : "modules_to_not_convert"];
  if (!list.is_array()) list = Json::array({"lm_head"});
  if (patterns) list.push_back("re:.*gate$");
  else for (const char* name : {"gate", "shared_expert_gate"}) list.push_back(name);
}

}  // namespace

Result<std::unique_ptr<CheckpointWriter>> CheckpointWriter::create(const fs::path& directory, std::shared_ptr<const GgufFile> model, CheckpointOptions options) {
  std::unique_ptr<CheckpointWriter> writer(new CheckpointWriter(directory, std::move(model), std::move(options)));
  if (Status status = writer->prepare(); !status) return status.error();
  return writer;
}

CheckpointWriter::~CheckpointWriter() {
  shard_.reset();
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

Status CheckpointWriter::prepare() {
  std::error_code code;
  if (fs::exists(directory_, code) && !(fs::is_directory(directory_, code) && fs::is_empty(directory_, code)))
    return Error{Code::kUsage, fmt::format("{}: exists; name a folder that does not, or an empty one", directory_.string())};
  auto shape = shape_of(*model_);
  if (!shape) return shape.error();
  shape_ = *shape;
  if (model_->version() == 0) {  // a directory: its own config.json, which says more than GGUF's keys
    Json whole;
    auto folder = ModelFolder::open(model_->path());
    if (!folder) return folder.error();
    source_ = std::move(*folder);
    if (Status status = read_json_file(*source_, "config.json", whole); !status) return status;
    const auto inner = whole.find("text_config");
    config_ = inner != whole.end() && inner->is_object() ? *inner : whole;
    config_.erase("quantization_config");
    if (!config_.contains("model_type")) config_["model_type"] = whole["model_type"];
    for (const HfArchitecture& one : all_hf_architectures())
      if (one.model_type == text_of(config_, "model_type")) architecture_ = &one;
    if (!architecture_) return Error{Code::kUnknownArchitecture, fmt::format("{}: model_type is '{}'", model_->path().string(), text_of(config_, "model_type"))};
  } else {
    auto architecture = find_hf_architecture(*model_);
    if (!architecture) return architecture.error();
    architecture_ = *architecture;
    if (Status status = make_config(*model_, *architecture_, config_); !status) return status;
  }
  config_["tie_word_embeddings"] = shape_.tied;
  if (!options_.quantization_config.is_null()) {
    if (shape_.experts > 0) except_routers(options_.quantization_config);
    config_["quantization_config"] = options_.quantization_config;
  }
  // Rows in pairs and groups need heads that explain all rows.
  for (const GgufTensor& tensor : model_->tensors()) {
    if (is_of_config(tensor)) continue;
    const auto place = place_of(tensor);
    if (!place) return place.error();
    header_bytes_ += static_cast<std::uint64_t>(count_matrices(tensor)) * kArraysPerModule * safetensors_header_bytes(place->name + ".weight.quant_state.bitsandbytes__nf4");
    const std::int64_t heads = place->module->order == RowOrder::kQueryPairs ? shape_.heads : place->module->order == RowOrder::kKeyPairs ? shape_.kv_heads : shape_.heads + 2 * shape_.kv_heads;
    const std::int64_t rows = tensor.shape.size() == 1 ? tensor.shape[0] : tensor.rows();
    if (place->module->order != RowOrder::kAsStored && (rows != heads * shape_.head_width || shape_.head_width % 2 != 0))
      return Error{Code::kBadShape, fmt::format("{}: tensor {} has {} rows; {} heads of {} need {}", model_->path().string(), tensor.name, rows, heads, shape_.head_width, heads * shape_.head_width)};
  }
  for (const auto& [key, value] : options_.metadata) header_bytes_ += 6 * (key.size() + value.size()) + 64;

  const fs::path parent = directory_.has_parent_path() ? directory_.parent_path() : fs::path(".");
  std::string name = (parent / ("." + directory_.filename().string() + ".XXXXXX")).string();
  if (!::mkdtemp(name.data())) return failed(directory_, "creating a temporary folder beside it", std::error_code(errno, std::generic_category()));
  temporary_ = name;
  fs::permissions(temporary_, fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add, code);
  if (Status status = write_text("config.json", config_.dump(2)); !status) return status;
  return write_tokenizer();
}

Status CheckpointWriter::write_tokenizer() {
  if (model_->version() != 0) {
    const auto files = make_tokenizer(*model_);
    if (!files) return files.error();
    if (Status status = write_text("tokenizer.json", files->tokenizer.dump(1, ' ', false, Json::error_handler_t::replace)); !status) return status;
    return write_text("tokenizer_config.json", files->config.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
                           "vocab.json", "merges.txt", "tokenizer.model"}) {
    if (!source_->contains(name)) continue;
    const auto bytes = source_->bytes(name);
    if (!bytes) return bytes.error();
    if (Status status = write_bytes(name, {reinterpret_cast<const char*>(bytes->data()), bytes->size()}); !status) return status;
  }
  return {};
}

Status CheckpointWriter::write_text(const std::string& name, const std::string& text) const { return write_bytes(name, text + '\n'); }

Status CheckpointWriter::write_bytes(const std::string& name, std::string_view bytes) const {
  std::ofstream file(temporary_ / name, std::ios::binary);
  file << bytes;
  file.close();
  if (!file) return failed(temporary_ / name, "writing", std::error_code(errno, std::generic_category()));
  sync(temporary_ / name);
  return {};
}

Result<CheckpointWriter::Place> CheckpointWriter::place_of(const GgufTensor& tensor, std::int64_t expert) const {
  std::string_view name = tensor.name;
  std::string layer;
  if (name.starts_with("blk.")) {
    name.remove_prefix(4);
    const std::size_t dot = name.find('.');
    if (dot != std::string_view::npos) layer = name.substr(0, dot), name.remove_prefix(dot + 1);
  }
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) {
    const std::string_view stem = name.substr(0, dot), suffix = name.substr(dot + 1);
    for (const Module& module : architecture_->modules) {
      const std::size_t hole = module.name.find("{}");
      // Falcon with two norms: the feed-forward's is GGUF's first.
      if (module.name == "h.{}.input_layernorm" && architecture_->gguf == "falcon" && model_->find_tensor("blk.0.attn_norm_2.weight")) continue;
      if (module.gguf != stem || (hole == std::string_view::npos) != layer.empty() || (suffix != "weight" && suffix != "bias")) continue;
      std::string full(module.name);
      if (!layer.empty()) full.replace(hole, 2, layer);
      const std::size_t expert_hole = full.find("{}");
      if ((expert_hole != std::string::npos) != (tensor.shape.size() > 2)) continue;
      if (expert_hole != std::string::npos) full.replace(expert_hole, 2, std::to_string(expert));
      return Place{&module, std::move(full), std::string(suffix)};
    }
  }
  return Error{Code::kUnsupported, fmt::format("{}: tensor {} has no name in {} checkpoints as this program knows them", model_->path().string(), tensor.name, architecture_->model_type)};
}

Result<std::string> CheckpointWriter::module_name(const GgufTensor& tensor, std::int64_t expert) const {
  auto place = place_of(tensor, expert);
  if (!place) return place.error();
  return place->name;
}

bool CheckpointWriter::is_of_config(const GgufTensor& tensor) {
  return tensor.name == "rope_freqs.weight" || tensor.name == "rope_factors_short.weight" || tensor.name == "rope_factors_long.weight";
}

bool CheckpointWriter::is_linear(const GgufTensor& tensor) {
  return tensor.shape.size() >= 2 && tensor.name.starts_with("blk.") && tensor.name.ends_with(".weight") && tensor.name.find(".ffn_gate_inp") == std::string::npos;
}

Status CheckpointWriter::read_matrix(const GgufTensor& tensor, std::vector<float>& values, std::int64_t expert) const {
  const auto place = place_of(tensor, expert);
  if (!place) return place.error();
  const std::int64_t rows = tensor.shape[1], columns = tensor.columns(), first = expert * rows;
  values.resize(static_cast<std::size_t>(rows * columns));
  std::vector<std::byte> buffer;
  for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const std::int64_t end = std::min(rows, begin + kRowsAtOnce);
    const std::byte* bytes = model_->rows(tensor, first + begin, first + end, buffer).data();
    for (std::int64_t row = begin; row < end; ++row, bytes += tensor.format->row_bytes(columns)) {
      float* target = values.data() + stored_row(place->module->order, shape_, row) * columns;
      tensor.format->decode(bytes, columns / tensor.format->values_per_block, target);
      for (std::int64_t k = 0; k < columns; ++k)
        if (!std::isfinite(target[k]))
          return Error{Code::kNonFinite, fmt::format("{}: tensor {}, row {}, column {}: {} where a finite weight is needed", model_->path().string(), tensor.name, first + row, k, target[k])};
    }
  }
  model_->forget_all();
  return {};
}

Result<std::vector<std::int64_t>> CheckpointWriter::stored_rows(const GgufTensor& tensor) const {
  const auto place = place_of(tensor);
  if (!place) return place.error();
  std::vector<std::int64_t> rows(static_cast<std::size_t>(tensor.shape[1]));
  for (std::size_t row = 0; row < rows.size(); ++row) rows[row] = stored_row(place->module->order, shape_, static_cast<std::int64_t>(row));
  return rows;
}

Status CheckpointWriter::open_shard() {
  if (shard_) return {};
  auto shard = SafetensorsWriter::create(temporary_ / fmt::format("shard-{}", ++shards_), header_bytes_ + 4096);
  if (!shard) return shard.error();
  shard_ = std::move(*shard);
  return {};
}

Status CheckpointWriter::close_shard() {
  if (!shard_) return {};
  std::map<std::string, std::string> metadata = options_.metadata;
  metadata.emplace("format", "pt");
  if (Status status = shard_->finish(metadata); !status) return status;
  shard_.reset();
  return {};
}

Status CheckpointWriter::write_array(const std::string& name, const StoredArray& array) {
  if (Status status = open_shard(); !status) return status;
  if (!shard_of_.emplace(name, shards_).second) return Error{Code::kBadValue, fmt::format("array {} is written twice", name)};
  if (Status status = shard_->begin(name, array.dtype, array.shape); !status) return status;
  data_bytes_ += array.bytes.size();
  return shard_->write(array.bytes);
}

Status CheckpointWriter::write_extra(const std::string& name, const StoredArray& array) { return write_array(name, array); }

Status CheckpointWriter::write_linear(const GgufTensor& tensor, std::span<const StoredArray> arrays, std::int64_t expert) {
  const auto place = place_of(tensor, expert);
  if (!place) return place.error();
  ++written_[tensor.name];
  for (const StoredArray& array : arrays)
    if (Status status = write_array(place->name + "." + array.suffix, array); !status) return status;
  return shard_ && shard_->data_bytes() >= options_.shard_bytes ? close_shard() : Status();
}

Status CheckpointWriter::write_values(const GgufTensor& tensor, std::span<const float> values) {
  const auto place = place_of(tensor);
  if (!place) return place.error();
  ++written_[tensor.name];
  const Module& module = *place->module;
  std::vector<float> stored(values.size());
  std::vector<std::int64_t> shape = {tensor.columns()};
  if (module.gguf == "ffn_gate_inp_shexp") shape.insert(shape.begin(), 1);  // a linear layer of one output
  if (tensor.shape.size() == 1) {
    for (std::int64_t i = 0; i < tensor.columns(); ++i)
      stored[static_cast<std::size_t>(stored_row(module.order, shape_, i))] = values[static_cast<std::size_t>(i)] - (module.add_one && place->suffix == "weight" ? 1.0f : 0.0f);
  } else {
    const std::int64_t rows = tensor.rows(), columns = tensor.columns();
    shape = module.transposed ? std::vector<std::int64_t>{columns, rows} : std::vector<std::int64_t>{rows, columns};
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t target = stored_row(module.order, shape_, row);
      for (std::int64_t k = 0; k < columns; ++k)
        stored[static_cast<std::size_t>(module.transposed ? k * rows + target : target * columns + k)] = values[static_cast<std::size_t>(row * columns + k)];
    }
  }
  for (const float value : stored)
    if (!std::isfinite(value)) return Error{Code::kNonFinite, fmt::format("{}: tensor {} has a value that is not a finite number", model_->path().string(), tensor.name)};
  if (Status status = write_array(place->name + "." + place->suffix, narrowest(place->suffix, std::move(shape), stored)); !status) return status;
  return shard_->data_bytes() >= options_.shard_bytes ? close_shard() : Status();
}

Status CheckpointWriter::write_plain(const GgufTensor& tensor) {
  const auto place = place_of(tensor);
  if (!place) return place.error();
  if (tensor.shape.size() < 2 || place->module->transposed || place->module->order != RowOrder::kAsStored) {
    std::vector<std::byte> buffer;
    std::vector<float> values(static_cast<std::size_t>(tensor.count_values()));
    tensor.format->decode(model_->rows(tensor, 0, tensor.rows(), buffer).data(), tensor.count_values() / tensor.format->values_per_block, values.data());
    if (Status status = write_values(tensor, values); !status) return status;
  } else {
    for (std::int64_t expert = 0; expert < count_matrices(tensor); ++expert)
      if (Status status = write_rows(tensor, expert); !status) return status;
  }
  model_->forget_all();
  return {};
}

// A matrix in pieces, in its own row order: F32, F16 and BF16 as they are, block formats as F32.
Status CheckpointWriter::write_rows(const GgufTensor& tensor, std::int64_t expert) {
  const auto place = place_of(tensor, expert);
  if (!place) return place.error();
  const std::int64_t rows = tensor.shape[1], first = expert * rows, columns = tensor.columns(), row_bytes = tensor.format->row_bytes(columns);
  ++written_[tensor.name];
  const bool plain = tensor.format == &kF32 || tensor.format == &kF16 || tensor.format == &kBF16;
  if (Status status = open_shard(); !status) return status;
  const std::string name = place->name + "." + place->suffix;
  if (!shard_of_.emplace(name, shards_).second) return Error{Code::kBadValue, fmt::format("array {} is written twice", name)};
  const std::uint64_t before = shard_->data_bytes();
  if (Status status = shard_->begin(name, plain ? std::string(tensor.format->name) : "F32", {rows, columns}); !status) return status;
  data_bytes_ += shard_->data_bytes() - before;
  std::vector<std::byte> buffer;
  std::vector<float> values(static_cast<std::size_t>(kRowsAtOnce * columns));
  for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const std::int64_t end = std::min(rows, begin + kRowsAtOnce);
    const auto bytes = model_->rows(tensor, first + begin, first + end, buffer);
    for (std::int64_t row = begin; row < end; ++row)
      tensor.format->decode(bytes.data() + (row - begin) * row_bytes, columns / tensor.format->values_per_block, values.data() + (row - begin) * columns);
    const std::span<const float> decoded(values.data(), static_cast<std::size_t>((end - begin) * columns));
    const auto bad = std::find_if_not(decoded.begin(), decoded.end(), [](float value) { return std::isfinite(value); });
    if (bad != decoded.end())
      return Error{Code::kNonFinite, fmt::format("{}: tensor {}, row {}, column {}: {} where a finite weight is needed", model_->path().string(), tensor.name,
                                                 first + begin + (bad - decoded.begin()) / columns, (bad - decoded.begin()) % columns, *bad)};
    if (Status status = shard_->write(plain ? bytes : std::as_bytes(decoded)); !status) return status;
  }
  return shard_->data_bytes() >= options_.shard_bytes ? close_shard() : Status();
}

Status CheckpointWriter::finish() {
  for (const GgufTensor& tensor : model_->tensors())
    if (!is_of_config(tensor) && written_[tensor.name] != count_matrices(tensor))
      return Error{Code::kNotFound, fmt::format("{}: tensor {} was not written", directory_.string(), tensor.name)};
  if (Status status = close_shard(); !status) return status;
  std::error_code code;
  const auto name_of = [&](int shard) { return shards_ == 1 ? std::string("model.safetensors") : fmt::format("model-{:05}-of-{:05}.safetensors", shard, shards_); };
  for (int shard = 1; shard <= shards_; ++shard) {
    fs::rename(temporary_ / fmt::format("shard-{}", shard), temporary_ / name_of(shard), code);
    if (code) return failed(temporary_, "renaming a shard", code);
  }
  if (shards_ > 1) {
    Json map = Json::object();
    for (const auto& [array, shard] : shard_of_) map[array] = name_of(shard);
    if (Status status = write_text("model.safetensors.index.json", Json{{"metadata", {{"total_size", data_bytes_}}}, {"weight_map", map}}.dump(2)); !status) return status;
  }
  sync(temporary_);
  fs::rename(temporary_, directory_, code);
  if (code) return failed(directory_, "renaming the finished folder", code);
  temporary_.clear();
  sync(directory_.has_parent_path() ? directory_.parent_path() : fs::path("."));
  return {};
}

}  // namespace quantfleet::huggingface
