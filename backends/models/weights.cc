#include "backends/models/weights.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <set>

namespace quantfleet {
namespace {

// Gives the file's pages back: they come again from the disk when somebody reads them.
void release_mapped(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// Takes tensors out of a file by name, checks them, and remembers which were asked for.
class Loader {
 public:
  Loader(const GgufFile& file, const KernelFamily& family, ThreadPool& pool, bool release_pages)
      : file_(file), family_(family), pool_(pool), release_pages_(release_pages) {}

  Result<const GgufTensor*> tensor(const std::string& name, std::vector<std::int64_t> shape) {
    const GgufTensor* found = file_.find_tensor(name);
    if (!found) return bad(Code::kNotFound, fmt::format("tensor {} is missing", name));
    used_.insert(found->name);
    std::vector<std::int64_t> given = found->shape;
    while (given.size() > shape.size() && given.back() == 1) given.pop_back();
    if (given != shape)
      return bad(Code::kBadShape, fmt::format("tensor {} has shape {}; {} is needed", name, text(found->shape), text(shape)));
    return found;
  }

  Result<std::vector<float>> vector(const std::string& name, std::int64_t count) {
    const auto found = tensor(name, {count});
    if (!found) return found.error();
    const GgufTensor& source = **found;
    if (source.bytes.size() != static_cast<std::size_t>(source.format->row_bytes(count)))
      return bad(Code::kBadShape, fmt::format("tensor {} is not whole blocks of {}", name, source.format->name));
    std::vector<float> values(static_cast<std::size_t>(count));
    source.format->decode(source.bytes.data(), count / source.format->values_per_block, values.data());
    for (std::int64_t i = 0; i < count; ++i)
      if (!(values[i] - values[i] == 0.0f))
        return bad(Code::kNonFinite, fmt::format("tensor {}: value {} is not a finite number", name, i));
    bytes_ += values.size() * sizeof(float);
    return values;
  }

  Result<WeightMatrix> matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const auto found = tensor(name, {columns, rows});
    if (!found) return found.error();
    auto packed = WeightMatrix::pack(family_, *(*found)->format, (*found)->bytes, rows, columns, pool_);
    if (!packed) return at(file_.path().string() + ": tensor " + name, packed.error());
    packed_one(**found, *packed);
    return packed;
  }

  // Neighbours of one format become one matrix.
  Result<StackedMatrix> stack(const std::vector<std::pair<std::string, std::int64_t>>& names_and_rows, std::int64_t columns) {
    StackedMatrix stacked;
    std::vector<const GgufTensor*> sources;
    for (const auto& [name, rows] : names_and_rows) {
      const auto found = tensor(name, {columns, rows});
      if (!found) return found.error();
      sources.push_back(*found);
    }
    for (std::size_t first = 0; first < sources.size();) {
      std::size_t last = first + 1;
      while (last < sources.size() && sources[last]->format == sources[first]->format) ++last;
      if (last == first + 1) {
        auto packed = matrix(names_and_rows[first].first, names_and_rows[first].second, columns);
        if (!packed) return packed.error();
        stacked.parts.push_back({std::move(*packed), stacked.rows});
        stacked.rows += names_and_rows[first].second;
      } else {
        std::vector<std::byte> bytes;
        std::int64_t rows = 0;
        std::string names;
        for (std::size_t i = first; i < last; ++i) {
          bytes.insert(bytes.end(), sources[i]->bytes.begin(), sources[i]->bytes.end());
          rows += names_and_rows[i].second;
          names += (names.empty() ? "" : " and ") + names_and_rows[i].first;
        }
        auto packed = WeightMatrix::pack(family_, *sources[first]->format, bytes, rows, columns, pool_);
        if (!packed) return at(file_.path().string() + ": tensor " + names, packed.error());
        for (std::size_t i = first; i < last; ++i) {
          values_of_[sources[i]->format->name] += sources[i]->count_values();
          if (release_pages_) release_mapped(sources[i]->bytes);
        }
        bytes_ += packed->size_bytes();
        stacked.parts.push_back({std::move(*packed), stacked.rows});
        stacked.rows += rows;
      }
      first = last;
    }
    return stacked;
  }

  // The embedding stays in the file; its values are checked once.
  Result<const GgufTensor*> embedding(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const auto found = tensor(name, {columns, rows});
    if (!found) return found.error();
    const GgufTensor& source = **found;
    const std::int64_t row_bytes = source.format->row_bytes(columns);
    if (row_bytes == 0 || source.bytes.size() != static_cast<std::size_t>(row_bytes * rows))
      return bad(Code::kBadShape, fmt::format("tensor {} is not whole blocks of {}", name, source.format->name));
    std::atomic<std::int64_t> bad_row = -1;
    const auto check = [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<float> values(static_cast<std::size_t>(columns));
      for (std::int64_t row = begin; row < end; ++row) {
        source.format->decode(source.bytes.data() + row * row_bytes, columns / source.format->values_per_block, values.data());
        float zero = 0;
        for (const float value : values) zero += value - value;
        if (!(zero == 0.0f)) bad_row = row;
      }
    };
    pool_.parallel_for(rows, 64, check);
    if (bad_row >= 0)
      return bad(Code::kNonFinite, fmt::format("tensor {}: row {} has a value that is not a finite number", name, bad_row.load()));
    if (release_pages_) release_mapped(source.bytes);
    bytes_ += source.bytes.size();
    return &source;
  }

  // A tensor that nobody asked for would be ignored, and the results would be wrong.
  Status all_used() const {
    for (const GgufTensor& tensor : file_.tensors())
      if (!used_.count(tensor.name))
        return bad(Code::kUnsupported, fmt::format("tensor {} is not part of this architecture as this program knows it", tensor.name));
    return {};
  }

  std::uint64_t bytes() const { return bytes_; }
  std::string main_format() const {
    std::string_view best = "F32";
    std::int64_t most = 0;
    for (const auto& [name, values] : values_of_)
      if (values > most) best = name, most = values;
    return std::string(best);
  }

 private:
  Error bad(Code code, std::string sentence) const { return {code, file_.path().string() + ": " + std::move(sentence)}; }

  static std::string text(const std::vector<std::int64_t>& shape) {
    std::string out = "[";
    for (const std::int64_t dimension : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(dimension);
    return out + "]";
  }

  void packed_one(const GgufTensor& source, const WeightMatrix& packed) {
    bytes_ += packed.size_bytes();
    values_of_[source.format->name] += source.count_values();
    if (release_pages_) release_mapped(source.bytes);
  }

  const GgufFile& file_;
  const KernelFamily& family_;
  ThreadPool& pool_;
  bool release_pages_;
  std::set<std::string> used_;
  std::map<std::string_view, std::int64_t> values_of_;
  std::uint64_t bytes_ = 0;
};

// general.file_type, as GGUF numbers it.
std::string_view file_type_name(std::int64_t file_type) {
  static constexpr std::pair<int, std::string_view> kNames[] = {{0, "F32"}, {1, "F16"}, {2, "Q4_0"}, {3, "Q4_1"},
      {7, "Q8_0"}, {8, "Q5_0"}, {9, "Q5_1"}, {10, "Q2_K"}, {11, "Q3_K_S"}, {12, "Q3_K_M"}, {13, "Q3_K_L"}, {14, "Q4_K_S"},
      {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"}, {18, "Q6_K"}, {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"},
      {22, "IQ3_XS"}, {23, "IQ3_XXS"}, {24, "IQ1_S"}, {25, "IQ4_NL"}, {26, "IQ3_S"}, {27, "IQ3_M"}, {28, "IQ2_S"}, {29, "IQ2_M"},
      {30, "IQ4_XS"}, {31, "IQ1_M"}, {32, "BF16"}, {36, "TQ1_0"}, {37, "TQ2_0"}, {38, "MXFP4_MOE"}, {39, "NVFP4"}};
  for (const auto& [number, name] : kNames)
    if (number == file_type) return name;
  return "";
}

}  // namespace

void Model::embed(std::int32_t token, float* x) const {
  const BlockFormat& blocks = *embedding->format;
  const std::int64_t row_bytes = blocks.row_bytes(config.width);
  blocks.decode(embedding->bytes.data() + token * row_bytes, config.width / blocks.values_per_block, x);
}

Result<std::shared_ptr<const Model>> load_model(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool,
                                                bool release_pages) {
  auto model = std::make_shared<Model>();
  auto config = read_model_config(*file);
  if (!config) return config.error();
  model->config = *config;
  model->file = file;
  model->family = &family;
  const std::int64_t C = config->width, F = config->feed_forward, V = config->vocabulary_tokens;
  const std::int64_t q_rows = std::int64_t{config->heads} * config->head_width;
  const std::int64_t kv_rows = std::int64_t{config->kv_heads} * config->head_width;

  Loader load(*file, family, pool, release_pages);
  std::vector<float> divisors;
  if (file->find_tensor("rope_freqs.weight")) {
    auto values = load.vector("rope_freqs.weight", config->rotary_width / 2);
    if (!values) return values.error();
    divisors = std::move(*values);
    for (const float value : divisors)
      if (!(value > 0)) return Error{Code::kBadValue, file->path().string() + ": tensor rope_freqs.weight has a value that is not positive"};
  }
  model->rotary_frequencies = rotary_frequencies(config->rotary_width, config->rotary_base, config->rotary_scale, divisors);

  // The largest tensors first: while they are packed their mapped pages are resident beside the copy.
  auto norm = load.vector("output_norm.weight", C);
  if (!norm) return norm.error();
  model->output_norm = std::move(*norm);
  // Tied: the embedding is the output matrix, too.
  auto output = load.matrix(file->find_tensor("output.weight") ? "output.weight" : "token_embd.weight", V, C);
  if (!output) return output.error();
  model->output = std::move(*output);
  auto embedding = load.embedding("token_embd.weight", V, C);
  if (!embedding) return embedding.error();
  model->embedding = *embedding;

  for (int index = 0; index < config->layers; ++index) {
    const auto name = [&](std::string_view rest) { return fmt::format("blk.{}.{}.weight", index, rest); };
    LayerWeights layer;
    const auto put = [](auto& place, auto result) -> Status {
      if (!result) return result.error();
      place = std::move(*result);
      return {};
    };
    if (auto s = put(layer.attention_norm, load.vector(name("attn_norm"), C)); !s) return s.error();
    if (auto s = put(layer.qkv, load.stack({{name("attn_q"), q_rows}, {name("attn_k"), kv_rows}, {name("attn_v"), kv_rows}}, C)); !s)
      return s.error();
    if (auto s = put(layer.attention_output, load.matrix(name("attn_output"), C, q_rows)); !s) return s.error();
    if (auto s = put(layer.feed_forward_norm, load.vector(name("ffn_norm"), C)); !s) return s.error();
    if (auto s = put(layer.gate_up, load.stack({{name("ffn_gate"), F}, {name("ffn_up"), F}}, C)); !s) return s.error();
    if (auto s = put(layer.down, load.matrix(name("ffn_down"), C, F)); !s) return s.error();
    model->layers.push_back(std::move(layer));
  }
  for (const LayerWeights& layer : model->layers) {
    model->has_int8 = model->has_int8 || layer.attention_output.has_int8() || layer.down.has_int8();
    for (const StackedMatrix* stacked : {&layer.qkv, &layer.gate_up})
      for (const StackedMatrix::Part& part : stacked->parts) model->has_int8 = model->has_int8 || part.matrix.has_int8();
  }
  if (auto status = load.all_used(); !status) return status.error();
  model->weights_bytes = load.bytes();
  model->format = load.main_format();
  if (const auto type = file->int_or("general.file_type", -1); type && !file_type_name(*type).empty())
    model->format = file_type_name(*type);
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace quantfleet
