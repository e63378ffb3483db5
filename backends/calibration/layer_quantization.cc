#include "backends/calibration/layer_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {

using huggingface::CheckpointWriter;

namespace {
constexpr std::int64_t kMomentsBytes = std::int64_t{1} << 30;  // of experts at a time
}

LayerQuantization::LayerQuantization(std::shared_ptr<const GgufFile> model, const CalibratedOptions& options, const KernelFamily& family)
    : model_(std::move(model)), seen_(std::make_shared<ReplacedTensors>(model_)), options_(options), pool_(options.threads),
      gemm_(pool_, gemm_kernel_of(family)), walk_(family, pool_, gemm_) {}

// Restored tensors: what the layers that follow see of this layer is in the stream.
Status LayerQuantization::walk(const CalibrationText& text, const std::function<Status(LayerQuantization&, int layer)>& body) {
  if (Status status = walk_.start(model_, text); !status) return status;
  for (int layer = 0; layer < config().layers; ++layer) {
    if (Status status = body(*this, layer); !status) return status;
    if (layer + 1 == config().layers) break;
    if (Status status = walk_.advance(seen_, layer, pass(0)); !status) return status;
    for (const ProductInput input : kAllLayerInputs)
      for (const std::string& name : weights_behind(*model_, layer, input)) seen_->restore(name);
  }
  return {};
}

Status LayerQuantization::measured(std::size_t weights) {
  weights_done_ += weights;
  if (options_.progress && !options_.progress(weights_done_, weights_total_)) return Error{Code::kInterrupted, "interrupted while measuring; nothing was written"};
  return {};
}

Status LayerQuantization::run(CheckpointWriter& writer, const CalibrationText& text, CalibratedReport& report, const Method& method) {
  writer_ = &writer;
  report_ = &report;
  for (const GgufTensor& tensor : model_->tensors())
    if (CheckpointWriter::is_linear(tensor)) weights_total_ += static_cast<std::uint64_t>(tensor.count_values());
  if (method.measure_layer) {
    weights_total_ *= 2;
    if (Status status = walk(text, method.measure_layer); !status) return status;
    if (Status status = method.choose(); !status) return status;
  }
  if (Status status = walk(text, method.quantize_layer); !status) return status;
  for (const GgufTensor& tensor : model_->tensors()) {
    if (written_.contains(tensor.name)) continue;
    if (!CheckpointWriter::is_of_config(tensor))
      if (Status status = writer.write_plain(tensor); !status) return status;
    report.tensors.push_back({tensor.name, std::string(tensor.format->name), static_cast<std::uint64_t>(tensor.count_values()), 0, 0});
  }
  return {};
}

// Progress of a pass over the windows, behind which `weights` weights are quantized.
LayerWalk::Progress LayerQuantization::pass(std::uint64_t weights) const {
  return [this, weights](double share) {
    return !options_.progress || options_.progress(weights_done_ + static_cast<std::uint64_t>(share * 0.9 * static_cast<double>(weights)), weights_total_);
  };
}

Result<std::vector<SubLayer>> LayerQuantization::observe(int layer, ProductInput input, std::int64_t first, std::int64_t count, bool quantized) {
  const std::vector<std::string> names = weights_behind(*model_, layer, input);
  std::vector<SubLayer> sub_layers;
  if (names.empty()) return sub_layers;
  std::uint64_t weights = 0;
  for (const std::string& name : names) {
    const GgufTensor& tensor = *model_->find_tensor(name);
    weights += static_cast<std::uint64_t>(tensor.count_values() / CheckpointWriter::count_matrices(tensor) * count);
  }
  auto moments = walk_.observe_experts(quantized ? std::shared_ptr<const GgufFile>(seen_) : model_, layer, input, first, count, pass(weights));
  if (!moments) return moments.error();
  for (std::int64_t e = 0; e < count; ++e) {
    SubLayer& sub_layer = sub_layers.emplace_back();
    sub_layer.moments = std::move((*moments)[static_cast<std::size_t>(e)]);
    for (const std::string& name : names) {
      LayerMatrix& matrix = sub_layer.matrices.emplace_back(LayerMatrix{model_->find_tensor(name), first + e});
      if (Status status = writer_->read_matrix(*matrix.tensor, matrix.values, matrix.expert); !status) return status.error();
    }
  }
  return sub_layers;
}

Status LayerQuantization::visit(int layer, ProductInput input, bool quantized, const std::function<Status(SubLayer&)>& body) {
  const std::vector<std::string> names = weights_behind(*model_, layer, input);
  if (names.empty()) return {};
  const GgufTensor& tensor = *model_->find_tensor(names.front());
  const std::int64_t experts = CheckpointWriter::count_matrices(tensor);
  const std::int64_t together = std::clamp<std::int64_t>(kMomentsBytes / (tensor.columns() * tensor.columns() * 4), 1, experts);
  for (std::int64_t first = 0; first < experts; first += together) {
    auto sub_layers = observe(layer, input, first, std::min(together, experts - first), quantized);
    if (!sub_layers) return sub_layers.error();
    for (SubLayer& sub_layer : *sub_layers) {
      if (Status status = body(sub_layer); !status) return status;
      sub_layer = {};
    }
  }
  return {};
}

Status LayerQuantization::visit(int layer, bool quantized, const std::function<Status(SubLayer&)>& body) {
  for (const ProductInput input : kAllLayerInputs)
    if (Status status = visit(layer, input, quantized, body); !status) return status;
  return {};
}

Status LayerQuantization::quantize_in_order(int layer, const std::function<Result<MatrixQuantizer>(const SubLayer&)>& prepare) {
  return visit(layer, true, [&](SubLayer& sub_layer) -> Status {
    const auto quantize = prepare(sub_layer);
    if (!quantize) return quantize.error();
    for (LayerMatrix& matrix : sub_layer.matrices) {
      const std::vector<float> original = matrix.values;
      const auto module = writer_->module_name(*matrix.tensor, matrix.expert);
      if (!module) return module.error();
      const auto arrays = (*quantize)(matrix, *module);
      if (!arrays) return arrays.error();
      if (Status status = store(matrix, *arrays, matrix.values, original, sub_layer.moments); !status) return status;
      if (Status status = replace(matrix, matrix.values); !status) return status;
    }
    return {};
  });
}

Result<ErrorFeedback> LayerQuantization::feedback_of(const SubLayer& sub_layer, bool by_importance) {
  const LayerMatrix& first = sub_layer.matrices.front();
  const std::int64_t K = first.columns();
  const InputMoments& moments = sub_layer.moments;
  std::vector<float> diagonal;
  if (moments.columns == 0 || !options_.error_feedback) {
    diagonal.resize(static_cast<std::size_t>(K * K));
    for (std::int64_t k = 0; k < K; ++k) {
      const auto at = static_cast<std::size_t>(k * K + k);
      diagonal[at] = moments.columns == 0 ? 1.0f : moments.second[at];
    }
  }
  auto feedback = ErrorFeedback::create(diagonal.empty() ? std::span<const float>(moments.second) : diagonal, K, by_importance, options_.damping, gemm_);
  if (!feedback) return at("tensor " + first.tensor->name, feedback.error());
  return feedback;
}

Status check_scales(const LayerMatrix& matrix, std::span<const float> scales) {
  if (std::ranges::all_of(scales, [](float scale) { return std::isfinite(scale); })) return {};
  return Error{Code::kBadValue, fmt::format("tensor {}: its weights are too large for scales of binary16", matrix.tensor->name)};
}

Status LayerQuantization::store(const LayerMatrix& matrix, std::span<const huggingface::StoredArray> arrays, std::span<const float> values, std::span<const float> original,
                                const InputMoments& moments) {
  const GgufTensor& tensor = *matrix.tensor;
  if (Status status = writer_->write_linear(tensor, arrays, matrix.expert); !status) return status;
  std::vector<float> difference(values.size());
  Sums& sums = sums_[tensor.name];
  if (sums.values == 0) {
    sums.place = report_->tensors.size();
    report_->tensors.push_back({tensor.name, report_->format, static_cast<std::uint64_t>(tensor.count_values()), 0, 0});
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    difference[i] = values[i] - original[i];
    sums.squares += static_cast<double>(difference[i]) * static_cast<double>(difference[i]);
  }
  sums.values += values.size();
  if (moments.columns > 0) {
    sums.error += std::max(0.0, output_error(difference, moments.second, matrix.rows(), matrix.columns(), gemm_));
    sums.energy += output_error(original, moments.second, matrix.rows(), matrix.columns(), gemm_);
  }
  CalibratedTensor& described = report_->tensors[sums.place];
  described.rmse = std::sqrt(sums.squares / static_cast<double>(sums.values));
  described.output_error = sums.energy > 0 ? sums.error / sums.energy : 0;
  written_.insert(tensor.name);
  weights_done_ += static_cast<std::uint64_t>(values.size());
  if (options_.progress && !options_.progress(weights_done_, weights_total_))
    return Error{Code::kInterrupted, fmt::format("interrupted at tensor {}; nothing was written", tensor.name)};
  return {};
}

Status LayerQuantization::replace(const LayerMatrix& matrix, std::span<const float> values) {
  auto places = writer_->stored_rows(*matrix.tensor);
  if (!places) return places.error();
  const std::int64_t columns = matrix.columns();
  std::vector<float> in_order(values.size());
  for (std::size_t row = 0; row < places->size(); ++row)
    std::copy_n(values.begin() + (*places)[row] * columns, columns, in_order.begin() + static_cast<std::int64_t>(row) * columns);
  seen_->replace(matrix.tensor->name, matrix.expert * matrix.rows(), in_order);
  return {};
}

Status LayerQuantization::divide_vector(const std::string& name, std::span<const float> scales) {
  const GgufTensor* tensor = model_->find_tensor(name);
  if (!tensor) return {};
  std::vector<float> values(static_cast<std::size_t>(tensor->count_values()));
  std::vector<std::byte> buffer;
  tensor->format->decode(model_->rows(*tensor, 0, tensor->rows(), buffer).data(), tensor->count_values() / tensor->format->values_per_block, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] /= scales[i];
  report_->tensors.push_back({name, "F32", static_cast<std::uint64_t>(tensor->count_values()), 0, 0});
  written_.insert(name);
  return writer_->write_values(*tensor, values);
}

void LayerQuantization::scale_columns(SubLayer& sub_layer, std::span<const float> scales) {
  const std::size_t K = scales.size();
  for (LayerMatrix& matrix : sub_layer.matrices)
    for (std::size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] *= scales[i % K];
  InputMoments& moments = sub_layer.moments;
  if (moments.columns == 0) return;
  for (std::size_t i = 0; i < K; ++i) {
    moments.max_magnitude[i] /= scales[i];
    for (std::size_t j = 0; j < K; ++j) moments.second[i * K + j] = moments.second[i * K + j] / scales[i] / scales[j];
  }
}

Status LayerQuantization::divide_rows(LayerMatrix& matrix, std::span<const float> scales) {
  const auto columns = static_cast<std::size_t>(matrix.columns());
  for (std::size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] /= scales[i / columns];
  const std::string& name = matrix.tensor->name;
  return divide_vector(name.substr(0, name.size() - 6) + "bias", scales);
}

}  // namespace quantfleet
