#include "backends/quantizers/rotation.h"

#include "backends/formats/catalog.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/config_json.h"
#include "backends/kernels/thread_pool.h"
#include "backends/quantizers/hadamard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

namespace quantfleet {

namespace {

constexpr std::int64_t kLanes = 16;         // columns of a matrix that turn together
constexpr std::size_t kSlicesKept = 4;

// What happens to a tensor.
struct Change {
  std::string gain;            // norm whose gain its columns take
  bool columns = false;        // each row is a vector of the stream
  bool rows = false;           // each column is one
  bool ones = false;           // a norm: its gain is gone
  bool head_columns = false;   // each row holds the heads' vectors
  std::int64_t head_rows = -1; // from this row on, each column holds vectors of heads

  bool any() const { return columns || rows || ones || head_columns || head_rows >= 0; }
  bool whole() const { return rows || head_rows >= 0; }  // a row depends on others
};

std::string_view refusal_of(std::string_view architecture) {
  for (const std::string_view one : {"llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "phi3"})
    if (architecture == one) return "";
  for (const std::string_view one : {"gemma2", "gemma3", "olmo2"})
    if (architecture == one) return "has norms behind attention and feed-forward, whose gains cannot be folded into matrices";
  if (architecture == "gemma") return "has its embedding as output matrix always";
  for (const std::string_view one : {"gpt2", "gptneox", "bloom", "falcon", "phi2", "starcoder2"})
    if (architecture == one) return "has norms that subtract the mean, which a rotation changes";
  return "is not known to keep its answers under a rotation";
}

class RotatedModel final : public GgufFile {
 public:
  RotatedModel(std::shared_ptr<const GgufFile> model, HadamardRotation stream, HadamardRotation head, int threads)
      : model_(std::move(model)), stream_(std::move(stream)), head_(std::move(head)), metadata_(model_->metadata()), tensors_(model_->tensors()), pool_(threads) {}

  Status prepare(const huggingface::Shape& shape, const Rotation& rotation) {
    metadata_.emplace_back("quantfleet.rotation", gguf_string(rotation.text()));
    for (std::size_t i = 0; i < tensors_.size(); ++i) sources_.push_back(&model_->tensors()[i]);
    if (shape.tied) {
      sources_.push_back(model_->find_tensor("token_embd.weight"));
      tensors_.push_back(*sources_.back());
      tensors_.back().name = "output.weight";
    }
    for (GgufTensor& tensor : tensors_) {
      auto change = change_of(tensor.name, shape);
      if (!change) return change.error();
      if (Status status = check(tensor, *change, shape); !status) return status;
      changes_.push_back(*change);
      if (!change->any()) continue;
      tensor.format = &kF32;
      tensor.bytes = {};
    }
    for (std::size_t i = 0; i < tensors_.size(); ++i) tensor_index_.emplace(tensors_[i].name, i);
    for (std::size_t i = 0; i < metadata_.size(); ++i) key_index_.emplace(metadata_[i].first, i);
    return {};
  }

  const std::filesystem::path& path() const override { return model_->path(); }
  const std::vector<std::filesystem::path>& parts() const override { return model_->parts(); }
  std::uint64_t size_bytes() const override { return model_->size_bytes(); }
  std::uint32_t version() const override { return model_->version(); }
  std::uint64_t alignment() const override { return model_->alignment(); }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return metadata_; }
  const std::vector<GgufTensor>& tensors() const override { return tensors_; }
  void forget(std::span<const std::byte> bytes) const override { model_->forget(bytes); }
  void forget_all() const override { model_->forget_all(); }

  std::span<const std::byte> rows(const GgufTensor& tensor, std::int64_t begin, std::int64_t end, std::vector<std::byte>& buffer) const override {
    const auto i = static_cast<std::size_t>(&tensor - tensors_.data());
    const Change& change = changes_[i];
    if (!change.any()) return model_->rows(*sources_[i], begin, end, buffer);
    const std::int64_t columns = tensor.columns();
    buffer.resize(static_cast<std::size_t>((end - begin) * columns) * sizeof(float));
    auto* target = reinterpret_cast<float*>(buffer.data());
    if (!change.whole()) {
      make_rows(i, begin, end, target);
      return buffer;
    }
    const std::int64_t slice_rows = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
    while (begin < end) {
      const std::int64_t slice = begin / slice_rows, count = std::min(end, (slice + 1) * slice_rows) - begin;
      const std::shared_ptr<const std::vector<float>> values = slice_of(i, slice);
      std::copy_n(values->data() + (begin - slice * slice_rows) * columns, count * columns, target);
      target += count * columns;
      begin += count;
    }
    return buffer;
  }

 private:
  Result<Change> change_of(std::string_view name, const huggingface::Shape& shape) const {
    const auto is = [&](std::initializer_list<std::string_view> parts) {
      return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) { return name == part; });
    };
    Change change;
    if (is({"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"})) return change;
    if (is({"token_embd.weight"})) return change.columns = true, change;
    if (is({"output_norm.weight"})) return change.ones = true, change;
    if (is({"output.weight"})) return change.columns = true, change.gain = "output_norm.weight", change;
    std::string layer;
    if (name.starts_with("blk.")) {
      const std::size_t dot = name.find('.', 4);
      layer = name.substr(0, dot == std::string_view::npos ? 0 : dot + 1);
      name.remove_prefix(layer.size());
    }
    const std::int64_t D = shape.head_width;
    if (!layer.empty()) {
      if (is({"attn_norm.weight", "ffn_norm.weight"})) return change.ones = true, change;
      if (is({"attn_q_norm.weight", "attn_k_norm.weight", "attn_q.bias", "attn_k.bias"})) return change;
      if (is({"attn_v.bias"})) return change.head_rows = 0, change;
      if (is({"attn_qkv.bias"})) return change.head_rows = (shape.heads + shape.kv_heads) * D, change;
      if (is({"attn_output.bias", "ffn_down.bias"})) return change.rows = true, change;
      if (is({"ffn_gate.bias", "ffn_up.bias"})) return change;
      if (is({"attn_output.weight"})) return change.rows = change.head_columns = true, change;
      if (is({"ffn_down.weight", "ffn_down_exps.weight", "ffn_down_shexp.weight"})) return change.rows = true, change;
      change.columns = true;
      change.gain = layer + "attn_norm.weight";
      if (is({"attn_q.weight", "attn_k.weight"})) return change;
      if (is({"attn_v.weight"})) return change.head_rows = 0, change;
      if (is({"attn_qkv.weight"})) return change.head_rows = (shape.heads + shape.kv_heads) * D, change;
      change.gain = layer + "ffn_norm.weight";
      if (is({"ffn_gate.weight", "ffn_up.weight", "ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_gate_shexp.weight", "ffn_up_shexp.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight"}))
        return change;
    }
    return Error{Code::kUnsupported, fmt::format("{}: tensor {}{} is not known to keep the model's answers under a rotation", model_->path().string(), layer, name)};
  }

  // Sizes, once: what follows trusts them.
  Status check(const GgufTensor& tensor, const Change& change, const huggingface::Shape& shape) const {
    const std::int64_t rows = tensor.shape.size() > 1 ? tensor.shape[1] : tensor.columns(), heads = shape.heads * shape.head_width;
    const GgufTensor* gain = change.gain.empty() ? nullptr : model_->find_tensor(change.gain);
    const bool good = (!change.columns || tensor.columns() == stream_.size()) && (!change.rows || rows == stream_.size()) &&
                      (!change.head_columns || tensor.columns() == heads) && (change.head_rows < 0 || (rows > change.head_rows && (rows - change.head_rows) % head_.size() == 0)) &&
                      (change.gain.empty() || (gain && gain->count_values() == stream_.size()));
    if (good) return {};
    return Error{Code::kBadShape, fmt::format("{}: tensor {} of shape [{}] does not fit a stream of {} and heads of {} (or its norm {} is missing)", model_->path().string(), tensor.name,
                                              fmt::join(tensor.shape, ", "), stream_.size(), head_.size(), change.gain)};
  }

  // Rows as F32, their columns turned.
  void make_rows(std::size_t i, std::int64_t begin, std::int64_t end, float* target) const {
    const GgufTensor& source = *sources_[i];
    const Change& change = changes_[i];
    const std::int64_t columns = source.columns();
    if (change.ones) return void(std::fill_n(target, (end - begin) * columns, 1.0f));
    std::vector<std::byte> buffer;
    source.format->decode(model_->rows(source, begin, end, buffer).data(), (end - begin) * columns / source.format->values_per_block, target);
    if (!change.columns && !change.head_columns) return;
    std::vector<float> gain;
    if (!change.gain.empty()) {
      const GgufTensor& norm = *model_->find_tensor(change.gain);
      gain.resize(static_cast<std::size_t>(columns));
      norm.format->decode(model_->rows(norm, 0, norm.rows(), buffer).data(), columns / norm.format->values_per_block, gain.data());
    }
    std::vector<double> row(static_cast<std::size_t>(columns));
    for (float* values = target; values < target + (end - begin) * columns; values += columns) {
      for (std::size_t k = 0; k < row.size(); ++k) row[k] = static_cast<double>(values[k]) * (gain.empty() ? 1.0 : static_cast<double>(gain[k]));
      if (change.columns) stream_.apply(row.data(), 1);
      for (std::int64_t k = 0; change.head_columns && k < columns; k += head_.size()) head_.apply(row.data() + k, 1);
      for (std::size_t k = 0; k < row.size(); ++k) values[k] = static_cast<float>(row[k]);
    }
  }

  // A matrix (or a bias, as one column) whose columns turn as well.
  std::vector<float> make_slice(std::size_t i, std::int64_t slice) const {
    const GgufTensor& tensor = tensors_[i];
    const Change& change = changes_[i];
    const bool vector = tensor.shape.size() == 1;
    const std::int64_t rows = vector ? tensor.columns() : tensor.shape[1], columns = vector ? 1 : tensor.columns();
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    if (vector) make_rows(i, 0, 1, values.data());
    else pool_.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) { make_rows(i, slice * rows + begin, slice * rows + end, values.data() + begin * columns); });
    pool_.parallel_for((columns + kLanes - 1) / kLanes, 1, [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<double> lanes(static_cast<std::size_t>(rows * kLanes));
      for (std::int64_t first = begin * kLanes; first < std::min(columns, end * kLanes); first += kLanes) {
        const std::int64_t count = std::min(kLanes, columns - first);
        for (std::int64_t n = 0; n < rows; ++n)
          for (std::int64_t j = 0; j < count; ++j) lanes[static_cast<std::size_t>(n * count + j)] = static_cast<double>(values[static_cast<std::size_t>(n * columns + first + j)]);
        if (change.rows) stream_.apply(lanes.data(), count);
        for (std::int64_t n = change.head_rows; n >= 0 && n < rows; n += head_.size()) head_.apply(lanes.data() + n * count, count);
        for (std::int64_t n = 0; n < rows; ++n)
          for (std::int64_t j = 0; j < count; ++j) values[static_cast<std::size_t>(n * columns + first + j)] = static_cast<float>(lanes[static_cast<std::size_t>(n * count + j)]);
      }
    });
    return values;
  }

  std::shared_ptr<const std::vector<float>> slice_of(std::size_t i, std::int64_t slice) const {
    const std::lock_guard lock(mutex_);
    for (const Slice& one : slices_)
      if (one.tensor == i && one.slice == slice) return one.values;
    if (slices_.size() == kSlicesKept) slices_.pop_front();
    slices_.push_back({i, slice, std::make_shared<const std::vector<float>>(make_slice(i, slice))});
    return slices_.back().values;
  }

  struct Slice {
    std::size_t tensor;
    std::int64_t slice;
    std::shared_ptr<const std::vector<float>> values;
  };

  std::shared_ptr<const GgufFile> model_;
  HadamardRotation stream_, head_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<const GgufTensor*> sources_;  // in model_
  std::vector<Change> changes_;
  mutable ThreadPool pool_;                 // under mutex_
  mutable std::mutex mutex_;
  mutable std::deque<Slice> slices_;
};

}  // namespace

Result<std::shared_ptr<const GgufFile>> rotate_model(std::shared_ptr<const GgufFile> model, const Rotation& rotation, int threads) {
  const auto architecture = model->get_string("general.architecture");
  if (!architecture) return architecture.error();
  if (const std::string_view reason = refusal_of(*architecture); !reason.empty())
    return Error{Code::kUnsupported, fmt::format("{}: {} {}; rotations are for llama (Mistral, Mixtral), qwen2, qwen3, their mixtures, and phi3", model->path().string(), *architecture, reason)};
  const auto shape = huggingface::shape_of(*model);
  if (!shape) return shape.error();
  const std::int64_t width = model->find_tensor("token_embd.weight")->columns();
  auto stream = HadamardRotation::create(width, rotation.seed), head = HadamardRotation::create(shape->head_width, rotation.seed + 1);
  for (const auto* one : {&stream, &head})
    if (!*one) return at(model->path().string(), one->error());
  auto rotated = std::make_shared<RotatedModel>(std::move(model), std::move(*stream), std::move(*head), threads);
  if (Status status = rotated->prepare(*shape, rotation); !status) return status.error();
  return std::shared_ptr<const GgufFile>(std::move(rotated));
}

Result<std::shared_ptr<const GgufFile>> open_model_file(const std::filesystem::path& path, const std::optional<Rotation>& rotation, int threads) {
  auto model = open_model_file(path);
  if (!model || !rotation) return model;
  return rotate_model(std::move(*model), *rotation, threads);
}

}  // namespace quantfleet
