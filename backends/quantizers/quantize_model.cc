#include "backends/quantizers/quantize_model.h"

#include "backends/formats/catalog.h"
#include "backends/formats/gguf.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/quantizers/imatrix_file.h"
#include "backends/quantizers/mixes.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <optional>
#include <thread>

namespace quantfleet {

namespace {

constexpr std::int64_t kChunkValues = std::int64_t{1} << 22;  // encoded, then written, at a time
constexpr std::int64_t kGrainValues = std::int64_t{1} << 14;  // a thread's part: its values stay in the cache
constexpr float kTooLargeForHalf = 65520.0f;                  // from here on binary16 rounds to infinity

// Rows of one tensor that are worked on together.
struct Chunk {
  const GgufFile* model;
  const GgufTensor* tensor;
  const BlockFormat* target;
  const std::vector<float>* importance;  // whole tensor's, or nullptr
  std::int64_t first_row, count_rows;
};

// What is wrong with a value: it is not finite, or it does not fit F16 or the binary16 scales of the block formats.
bool is_bad(float value, const BlockFormat* target) {
  const bool has_halves = target != &kF32 && target != &kBF16;
  return !std::isfinite(value) || (has_halves && std::fabs(value) >= kTooLargeForHalf);
}

// As is_bad, of any of them; for loops that a compiler can turn into vectors.
bool any_is_bad(std::span<const float> values, const BlockFormat* target) {
  const bool has_halves = target != &kF32 && target != &kBF16;
  const std::int32_t limit = std::bit_cast<std::int32_t>(has_halves ? kTooLargeForHalf : std::numeric_limits<float>::infinity());
  std::int32_t bad = 0;
  for (const float value : values) bad |= (std::bit_cast<std::int32_t>(value) & 0x7fffffff) >= limit;
  return bad != 0;
}

// Sum of squared differences in eight partial sums, joined in order: the same double on every CPU.
double squared_difference(const float* a, const float* b, std::int64_t count) {
  double sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int j = 0; j < 8; ++j) {
      const double difference = static_cast<double>(a[i + j]) - static_cast<double>(b[i + j]);
      sums[j] += difference * difference;
    }
  for (; i < count; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sums[i % 8] += difference * difference;
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

class TensorEncoder {
 public:
  explicit TensorEncoder(int threads) : threads_(std::max(1, threads)) {}

  // Fills `blocks` with the chunk's rows in the target format and adds the rows' squared errors to `squared_error`.
  Status encode(const Chunk& chunk, std::vector<std::byte>& blocks, double& squared_error) {
    const std::int64_t columns = chunk.tensor->columns();
    blocks.resize(static_cast<std::size_t>(chunk.target->row_bytes(columns) * chunk.count_rows));
    row_errors_.assign(static_cast<std::size_t>(chunk.count_rows), 0.0);  // summed in row order: threads do not change the sum

    std::atomic<std::int64_t> next{0}, bad_row{std::numeric_limits<std::int64_t>::max()};
    const std::int64_t grain = std::max<std::int64_t>(1, kGrainValues / columns);
    const std::int64_t source_bytes = chunk.tensor->format->row_bytes(columns);
    const auto work = [&] {
      std::vector<std::byte> buffer;
      std::vector<float> values(static_cast<std::size_t>(columns)), decoded(static_cast<std::size_t>(columns));
      for (;;) {
        const std::int64_t begin = next.fetch_add(grain);
        if (begin >= chunk.count_rows) return;
        const std::int64_t end = std::min(begin + grain, chunk.count_rows);
        const std::byte* source = chunk.model->rows(*chunk.tensor, chunk.first_row + begin, chunk.first_row + end, buffer).data();
        for (std::int64_t row = begin; row < end; ++row, source += source_bytes) {
          std::byte* target = blocks.data() + row * chunk.target->row_bytes(columns);
          if (encode_row_of(chunk, row, source, values, decoded, target)) continue;
          std::int64_t seen = bad_row.load();
          while (row < seen && !bad_row.compare_exchange_weak(seen, row)) {}
        }
      }
    };
    {
      std::vector<std::jthread> helpers;
      const std::int64_t useful = (chunk.count_rows + grain - 1) / grain;
      for (std::int64_t i = 1; i < std::min<std::int64_t>(threads_, useful); ++i) helpers.emplace_back(work);
      work();
    }
    if (bad_row.load() < chunk.count_rows) return describe_bad(chunk, bad_row.load());
    for (const double error : row_errors_) squared_error += error;
    return {};
  }

 private:
  // Decodes row `row` of the chunk, encodes it and measures the error. false: a value is bad; nothing is encoded.
  // values, decoded: space for a row.
  bool encode_row_of(const Chunk& chunk, std::int64_t row, const std::byte* source, std::span<float> values, std::span<float> decoded,
                     std::byte* blocks) {
    const GgufTensor& tensor = *chunk.tensor;
    const std::int64_t columns = tensor.columns(), tensor_row = chunk.first_row + row;
    tensor.format->decode(source, columns / tensor.format->values_per_block, values.data());
    if (any_is_bad(values, chunk.target)) return false;
    if (tensor.format == chunk.target) {
      std::memcpy(blocks, source, static_cast<std::size_t>(tensor.format->row_bytes(columns)));
      return true;
    }
    const float* importance = nullptr;
    if (chunk.importance) {  // experts have their own importance: slice tensor_row / shape[1]
      const std::int64_t slices = static_cast<std::int64_t>(chunk.importance->size()) / columns;
      const std::int64_t slice = slices > 1 ? tensor_row / tensor.shape[1] % slices : 0;
      importance = chunk.importance->data() + slice * columns;
    }
    encode_row(*chunk.target, values.data(), columns, importance, blocks);
    chunk.target->decode(blocks, columns / chunk.target->values_per_block, decoded.data());
    row_errors_[static_cast<std::size_t>(row)] = squared_difference(decoded.data(), values.data(), columns);
    return true;
  }

  Error describe_bad(const Chunk& chunk, std::int64_t row) const {
    const std::int64_t columns = chunk.tensor->columns(), tensor_row = chunk.first_row + row;
    std::vector<std::byte> buffer;
    std::vector<float> values(static_cast<std::size_t>(columns));
    const BlockFormat& source = *chunk.tensor->format;
    source.decode(chunk.model->rows(*chunk.tensor, tensor_row, tensor_row + 1, buffer).data(), columns / source.values_per_block, values.data());
    std::size_t column = 0;
    while (column + 1 < values.size() && !is_bad(values[column], chunk.target)) ++column;
    if (std::isfinite(values[column]))
      return Error{Code::kBadValue, fmt::format("tensor {}, row {}, column {}: {} is too large for {}; use BF16 or F32",
                                                chunk.tensor->name, tensor_row, column, values[column], chunk.target->name)};
    return Error{Code::kNonFinite, fmt::format("tensor {}, row {}, column {}: {} where a finite weight is needed",
                                               chunk.tensor->name, tensor_row, column, values[column])};
  }

  int threads_;
  std::vector<double> row_errors_;
};

// Writes chunks behind the encoder's back: while one is written, the next is encoded.
class WriteBehind {
 public:
  explicit WriteBehind(GgufWriter& writer) : writer_(writer) {}

  std::vector<std::byte>& free_buffer() { return buffers_[current_]; }
  // Hands the free buffer over; the status is that of the buffer before.
  Status write() {
    Status before = wait();
    const std::vector<std::byte>& full = buffers_[current_];
    current_ = 1 - current_;
    writing_ = std::async(std::launch::async, [this, &full] { return writer_.write(full); });
    return before;
  }
  Status wait() { return writing_.valid() ? writing_.get() : Status{}; }

 private:
  GgufWriter& writer_;
  std::vector<std::byte> buffers_[2];
  int current_ = 0;
  std::future<Status> writing_;  // the last member: its destructor waits for the write
};

using Metadata = std::vector<std::pair<std::string, GgufValue>>;

void set(Metadata& metadata, std::string_view key, GgufValue value) {
  for (auto& [name, old] : metadata)
    if (name == key) {
      old = std::move(value);
      return;
    }
  metadata.emplace_back(key, std::move(value));
}

Metadata output_metadata(const GgufFile& model, const Mix& mix, const std::vector<const BlockFormat*>& formats,
                         const QuantizeOptions& options, const ImportanceMatrix* matrix) {
  Metadata metadata = model.metadata();
  std::erase_if(metadata, [](const auto& pair) { return pair.first.starts_with("split."); });
  if (mix.file_type != kNoFileType) set(metadata, "general.file_type", gguf_uint32(mix.file_type));
  else std::erase_if(metadata, [](const auto& pair) { return pair.first == "general.file_type"; });
  const bool any = std::any_of(formats.begin(), formats.end(), [](const BlockFormat* f) { return f->values_per_block > 1; });
  if (any) set(metadata, "general.quantization_version", gguf_uint32(2));
  if (mix.format->values_per_block > 1)
    set(metadata, "quantfleet.quantizer", gguf_string(matrix ? "importance_weighted" : "scale_search"));
  if (!options.program_version.empty()) set(metadata, "quantfleet.program_version", gguf_string(options.program_version));
  if (matrix) {
    if (!options.importance) set(metadata, "quantize.imatrix.file", gguf_string(options.importance_matrix.filename().string()));
    set(metadata, "quantize.imatrix.dataset", gguf_string(matrix->dataset));
    set(metadata, "quantize.imatrix.entries_count", gguf_int32(static_cast<std::int32_t>(matrix->entries.size())));
    set(metadata, "quantize.imatrix.chunks_count", gguf_int32(matrix->chunks));
  }
  for (const auto& [key, value] : options.notes) set(metadata, key, gguf_string(value));
  return metadata;
}

// The importance of `tensor`'s columns, ready for use; empty when there is none.
Result<std::vector<float>> importance_of(const GgufTensor& tensor, const ImportanceMatrix& matrix) {
  const auto entry = matrix.entries.find(tensor.name);
  if (entry == matrix.entries.end()) return std::vector<float>();
  const auto given = static_cast<std::int64_t>(entry->second.mean_square.size());
  const std::int64_t slices = tensor.shape.size() > 2 ? tensor.shape[2] : 1;
  if (given == tensor.columns() * slices) return prepared_importance(entry->second.mean_square);
  return Error{Code::kBadShape, fmt::format("the importance matrix has {} values for tensor {}, expected {} columns times {}", given,
                                            tensor.name, tensor.columns(), slices)};
}

std::string known_names() { return fmt::format("{}", fmt::join(quantize_format_names(), ", ")); }

// Encodes and writes all tensors; fills report.tensors.
Status encode_tensors(const GgufFile& model, const std::vector<const BlockFormat*>& formats, const ImportanceMatrix* matrix,
                      const QuantizeOptions& options, GgufWriter& writer, QuantizeReport& report) {
  TensorEncoder encoder(options.threads);
  WriteBehind output(writer);
  std::uint64_t bytes_total = 0, bytes_done = 0;
  for (const GgufTensor& tensor : model.tensors()) bytes_total += tensor.size_bytes();
  for (std::size_t i = 0; i < formats.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    std::vector<float> importance;
    if (matrix && formats[i] != tensor.format) {
      auto found = importance_of(tensor, *matrix);
      if (!found) return found.error();
      importance = std::move(*found);
    }
    if (importance.empty() && formats[i] != tensor.format && needs_importance(*formats[i], tensor.name))
      return Error{Code::kBadValue, fmt::format("tensor {}: {} needs an importance matrix {}", tensor.name, formats[i]->name,
                                                matrix ? "that has this tensor" : "(--imatrix FILE)")};
    const std::int64_t rows_at_once = std::max<std::int64_t>(1, kChunkValues / tensor.columns());
    double squared_error = 0;
    for (std::int64_t row = 0; row < tensor.rows(); row += rows_at_once) {
      const Chunk chunk{&model, &tensor, formats[i], importance.empty() ? nullptr : &importance, row,
                        std::min(rows_at_once, tensor.rows() - row)};
      if (Status status = encoder.encode(chunk, output.free_buffer(), squared_error); !status) return status;
      if (Status status = output.write(); !status) return status;
      const std::int64_t row_bytes = tensor.format->row_bytes(tensor.columns());
      model.forget_all();  // a folder's rows are made of pages anywhere
      bytes_done += static_cast<std::uint64_t>(chunk.count_rows * row_bytes);
      if (options.progress && !options.progress(bytes_done, bytes_total))
        return Error{Code::kInterrupted, fmt::format("interrupted at tensor {}; nothing was written", tensor.name)};
    }
    const auto count = static_cast<std::uint64_t>(tensor.count_values());
    report.tensors.push_back({tensor.name, formats[i], count, std::sqrt(squared_error / static_cast<double>(count)), ""});
  }
  return output.wait();
}

}  // namespace

std::vector<float> prepared_importance(const std::vector<float>& mean_square) {
  double sum = 0;
  for (const float value : mean_square) sum += value;
  if (!(sum > 0)) return {};
  const auto floor = static_cast<float>(sum / static_cast<double>(mean_square.size()) * 1e-6);
  std::vector<float> values(mean_square);
  for (float& value : values) value = std::max(value, floor);
  return values;
}

Status check_rotation(const QuantizeOptions& options) {
  if (!options.rotation || options.importance_matrix.empty()) return {};
  return Error{Code::kUsage, "--imatrix belongs to the model before the rotation; convert with --rotate first, and measure the importance of what comes out"};
}

std::span<const std::string_view> quantize_format_names() {
  static const std::vector<std::string_view> kNames = [] {
    std::vector<std::string_view> names;
    for (const Mix& mix : all_mixes()) names.push_back(mix.name);
    return names;
  }();
  return kNames;
}

Result<QuantizeReport> quantize_model(const std::filesystem::path& in, const std::filesystem::path& out,
                                      const QuantizeOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const Mix given{options.format, &kQ4_K, kNoFileType};
  const Mix* mix = options.formats.empty() ? find_mix(options.format) : &given;
  if (!mix)
    return Error{Code::kUnknownFormat, fmt::format("no format is called {}; known are {}, and those of folders (`quantfleet quantize --help`)", options.format, known_names())};
  if (Status status = check_rotation(options); !status) return status.error();
  auto model = open_model_file(in, options.rotation, options.threads);
  if (!model) return model.error();
  if ((*model)->tensors().empty()) return Error{Code::kBadValue, fmt::format("{}: has no tensors to quantize", in.string())};
  std::error_code ignored;
  for (const std::filesystem::path& part : (*model)->parts())
    if (std::filesystem::equivalent(part, out, ignored))
      return Error{Code::kUsage, fmt::format("{}: would overwrite the model being read; choose another output", out.string())};

  std::optional<ImportanceMatrix> matrix;
  if (options.importance) {
    matrix = *options.importance;
  } else if (!options.importance_matrix.empty()) {
    auto read = read_importance_matrix(options.importance_matrix);
    if (!read) return read.error();
    matrix = std::move(*read);
    if (Status status = check_importance_of(*matrix, **model); !status) return at(options.importance_matrix.string(), status.error());
  }
  auto formats = choose_formats(**model, *mix, matrix.has_value());
  if (!formats) return formats.error();
  for (std::size_t i = 0; i < formats->size() && !options.formats.empty(); ++i) {
    const auto chosen = options.formats.find((*model)->tensors()[i].name);
    (*formats)[i] = chosen == options.formats.end() ? (*model)->tensors()[i].format : chosen->second;
  }

  std::vector<GgufWriter::TensorPlan> plan;
  for (std::size_t i = 0; i < formats->size(); ++i)
    plan.push_back({(*model)->tensors()[i].name, (*formats)[i], (*model)->tensors()[i].shape});
  auto writer = GgufWriter::create(out, output_metadata(**model, *mix, *formats, options, matrix ? &*matrix : nullptr), plan);
  if (!writer) return writer.error();

  QuantizeReport report;
  report.format = std::string(mix->name);
  report.input_bytes = (*model)->size_bytes();
  if (Status status = encode_tensors(**model, *formats, matrix ? &*matrix : nullptr, options, **writer, report); !status) {
    const Error& error = status.error();  // the writer names its file itself
    return error.detail.starts_with(out.string()) ? error : at(in.string(), error);
  }
  if (Status status = (*writer)->finish(); !status) return status.error();

  double tensor_bytes = 0, values = 0;
  for (const QuantizedTensor& tensor : report.tensors) {
    values += static_cast<double>(tensor.count_values);
    tensor_bytes += static_cast<double>(tensor.count_values) * tensor.format->bits_per_value() / 8;
  }
  report.bits_per_weight = tensor_bytes * 8 / values;
  report.output_bytes = (*writer)->size_bytes();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace quantfleet
