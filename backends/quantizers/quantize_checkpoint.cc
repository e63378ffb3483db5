#include "backends/quantizers/quantize_checkpoint.h"

#include "backends/formats/gguf.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/checkpoint_writer.h"
#include "backends/quantizers/imatrix_file.h"
#include "backends/quantizers/linear_quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

namespace quantfleet {
namespace {

using huggingface::CheckpointWriter, huggingface::StoredArray;

// Root mean square of the difference between what the reader makes of the arrays and the values; rows are summed in order.
Result<double> measure(const LinearQuantizer& quantizer, const huggingface::Json& config, const LinearInput& weight, const std::vector<StoredArray>& stored, ThreadPool& pool) {
  std::vector<SafetensorsArray> arrays;
  for (const StoredArray& one : stored) arrays.push_back({weight.module + "." + one.suffix, one.dtype, one.shape, one.bytes});
  huggingface::ModuleArrays module{weight.module, {}};
  for (std::size_t i = 0; i < arrays.size(); ++i) module.arrays.emplace(stored[i].suffix, &arrays[i]);
  huggingface::JsonReader reader(config, "quantization_config as written");
  const auto read = quantizer.reader->read(module, reader);
  if (!read) return read.error();
  if (!*read || (*read)->rows() != weight.rows || (*read)->columns() != weight.columns)
    return Error{Code::kBadShape, fmt::format("{}: what was written reads back as another shape", weight.module)};
  std::vector<double> errors(static_cast<std::size_t>(weight.rows));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> values(static_cast<std::size_t>(weight.columns));
    for (std::int64_t n = begin; n < end; ++n) {
      (*read)->decode(n, values.data());
      double sum = 0;
      for (std::int64_t k = 0; k < weight.columns; ++k) {
        const double difference = static_cast<double>(values[static_cast<std::size_t>(k)]) - static_cast<double>(weight.row(n)[k]);
        sum += difference * difference;
      }
      errors[static_cast<std::size_t>(n)] = sum;
    }
  });
  double sum = 0;
  for (const double error : errors) sum += error;
  return std::sqrt(sum / static_cast<double>(weight.values.size()));
}

std::string known_names() {
  std::string names;
  for (const LinearQuantizer& one : all_linear_quantizers()) names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

}  // namespace

Result<QuantizeReport> quantize_checkpoint(const std::filesystem::path& in, const std::filesystem::path& out, const QuantizeOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const LinearQuantizer* quantizer = find_linear_quantizer(options.format);
  if (!quantizer) return Error{Code::kUnknownFormat, fmt::format("no format of folders is called {}; known are {}", options.format, known_names())};
  if (!options.importance_matrix.empty() && !quantizer->uses_importance)
    return Error{Code::kUsage, fmt::format("--imatrix: {} does not weigh columns", quantizer->name)};
  if (options.group_size > 0 && quantizer->group_size == 0) return Error{Code::kUsage, fmt::format("--group-size: {} has no groups to choose", quantizer->name)};
  if (Status status = check_rotation(options); !status) return status.error();
  auto model = open_model_file(in, options.rotation, options.threads);
  if (!model) return model.error();
  std::optional<ImportanceMatrix> matrix;
  if (!options.importance_matrix.empty()) {
    auto read = read_importance_matrix(options.importance_matrix);
    if (!read) return read.error();
    matrix = std::move(*read);
    if (Status status = check_importance_of(*matrix, **model); !status) return at(options.importance_matrix.string(), status.error());
  }
  const std::int64_t group_size = options.group_size > 0 ? options.group_size : quantizer->group_size;
  huggingface::CheckpointOptions settings;
  settings.quantization_config = quantizer->config(group_size);
  settings.metadata["quantfleet.quantizer"] = quantizer->name;
  if (!options.program_version.empty()) settings.metadata["quantfleet.program_version"] = options.program_version;
  if (options.rotation) settings.metadata["quantfleet.rotation"] = options.rotation->text();
  if (quantizer->only_here) settings.metadata["quantfleet.format"] = quantizer->name;
  auto writer = CheckpointWriter::create(out, *model, settings);
  if (!writer) return writer.error();

  QuantizeReport report;
  report.format = quantizer->name;
  report.input_bytes = (*model)->size_bytes();
  ThreadPool pool(std::max(1, options.threads));
  std::uint64_t total = 0, done = 0;
  double values_total = 0;
  for (const GgufTensor& tensor : (*model)->tensors()) total += tensor.size_bytes();
  std::vector<float> values;
  for (const GgufTensor& tensor : (*model)->tensors()) {
    if (CheckpointWriter::is_of_config(tensor)) continue;
    QuantizedTensor entry{tensor.name, tensor.format, static_cast<std::uint64_t>(tensor.count_values()), 0, ""};
    const bool matrix_outside = quantizer->whole_model && tensor.shape.size() == 2 && tensor.name.ends_with(".weight");
    if (CheckpointWriter::is_linear(tensor) || matrix_outside) {
      const std::int64_t experts = CheckpointWriter::count_matrices(tensor);
      std::span<const float> importance;
      if (matrix)
        if (const auto found = matrix->entries.find(tensor.name); found != matrix->entries.end()) importance = found->second.mean_square;
      double squares = 0;
      for (std::int64_t expert = 0; expert < experts; ++expert) {
        if (Status status = (*writer)->read_matrix(tensor, values, expert); !status) return status.error();
        LinearInput weight{(*writer)->module_name(tensor, expert).value(), tensor.shape[1], tensor.columns(), values, {}};
        if (!importance.empty()) weight.importance = importance.subspan(static_cast<std::size_t>(expert * tensor.columns()), static_cast<std::size_t>(tensor.columns()));
        const auto arrays = quantizer->quantize(weight, group_size, pool);
        if (!arrays) return at(in.string(), arrays.error());
        const auto rmse = measure(*quantizer, settings.quantization_config, weight, *arrays, pool);
        if (!rmse) return at(in.string(), rmse.error());
        squares += *rmse * *rmse / static_cast<double>(experts);
        if (Status status = (*writer)->write_linear(tensor, *arrays, expert); !status) return status.error();
      }
      entry.format = nullptr;
      entry.stored_as = quantizer->name;
      entry.rmse = std::sqrt(squares);
    } else if (Status status = (*writer)->write_plain(tensor); !status) {
      return status.error();
    }
    values_total += static_cast<double>(entry.count_values);
    report.tensors.push_back(std::move(entry));
    done += tensor.size_bytes();
    if (options.progress && !options.progress(done, total)) return Error{Code::kInterrupted, fmt::format("interrupted at tensor {}; nothing was written", tensor.name)};
  }
  report.bits_per_weight = static_cast<double>((*writer)->data_bytes()) * 8 / values_total;
  if (Status status = (*writer)->finish(); !status) return status.error();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(out, ignored)) report.output_bytes += entry.file_size(ignored);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace quantfleet
