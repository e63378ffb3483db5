// EXL2 of a model: what each option costs each matrix, measured over the calibration text; the options that cost least within the bits; then the
// layers in order, each sub-layer behind the quantized ones.
#include "backends/calibration/adaptive_mix.h"
#include "backends/calibration/layer_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace quantfleet {

namespace {

constexpr std::int64_t kSampleRows = 128;  // of a matrix, evenly spaced: what options are measured on

std::string name_of(const LayerMatrix& matrix) { return fmt::format("{} {}", matrix.tensor->name, matrix.expert); }

Result<ErrorFeedback> feedback_of(LayerQuantization& quantization, const SubLayer& sub_layer) {
  for (const LayerMatrix& matrix : sub_layer.matrices)
    if (matrix.rows() % 32 != 0 || matrix.columns() % 32 != 0)
      return Error{Code::kBadShape, fmt::format("tensor {}: {} outputs and {} inputs; EXL2 has multiples of 32", matrix.tensor->name, matrix.rows(), matrix.columns())};
  return quantization.feedback_of(sub_layer, true);
}

}  // namespace

Status Exl2Plan::measure_layer(LayerQuantization& quantization, int layer) {
  return quantization.visit(layer, false, [&](SubLayer& sub_layer) -> Status {
    const auto feedback = feedback_of(quantization, sub_layer);
    if (!feedback) return feedback.error();
    for (const LayerMatrix& matrix : sub_layer.matrices) {
      const std::int64_t K = matrix.columns(), count = std::min(kSampleRows, matrix.rows());
      std::vector<float> sample;
      for (std::int64_t i = 0; i < count; ++i) {
        const auto row = matrix.values.begin() + i * matrix.rows() / count * K;
        sample.insert(sample.end(), row, row + K);
      }
      const InputMoments& moments = sub_layer.moments;
      const double energy = moments.columns > 0 ? output_error(sample, moments.second, count, K, quantization.gemm()) : 0;
      std::vector<FormatOption>& options = options_.emplace_back();
      places_[name_of(matrix)] = options_.size() - 1;
      weights_ += static_cast<double>(matrix.values.size());
      for (const Exl2Option& option : exl2_options()) {
        std::vector<float> difference = sample;
        const auto codes = quantize_exl2(difference, count, *feedback, option, quantization.gemm(), quantization.pool());
        for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= sample[i];
        const double error = energy > 0 ? std::max(0.0, output_error(difference, moments.second, count, K, quantization.gemm())) / energy : 0;
        options.push_back({exl2_bits(codes.groups, matrix.rows(), K), error});
      }
      if (Status status = quantization.measured(matrix.values.size()); !status) return status;
    }
    return {};
  });
}

Status Exl2Plan::choose(double bits_per_weight) {
  chosen_ = allocate(options_, static_cast<std::uint64_t>(bits_per_weight * weights_));
  if (!chosen_.empty() || options_.empty()) return {};
  double least = 0;
  for (const std::vector<FormatOption>& options : options_)
    least += static_cast<double>(std::min_element(options.begin(), options.end(), [](const FormatOption& a, const FormatOption& b) { return a.bytes < b.bytes; })->bytes);
  return Error{Code::kBadValue, fmt::format("{:.3f} bits per weight are less than the {:.3f} that the smallest options need here", bits_per_weight, least / weights_)};
}

Status Exl2Plan::quantize_layer(LayerQuantization& quantization, int layer) const {
  return quantization.quantize_in_order(layer, [&](const SubLayer& sub_layer) -> Result<LayerQuantization::MatrixQuantizer> {
    auto made = feedback_of(quantization, sub_layer);
    if (!made) return made.error();
    const auto feedback = std::make_shared<const ErrorFeedback>(std::move(*made));
    return [this, &quantization, feedback](LayerMatrix& matrix, const std::string& module) -> Result<std::vector<huggingface::StoredArray>> {
      const Exl2Option& option = exl2_options()[chosen_[places_.at(name_of(matrix))]];
      const huggingface::Exl2Codes codes = quantize_exl2(matrix.values, matrix.rows(), *feedback, option, quantization.gemm(), quantization.pool());
      if (Status status = check_scales(matrix, codes.maxima); !status) return status.error();
      return huggingface::pack_exl2(module, codes);
    };
  });
}

}  // namespace quantfleet
