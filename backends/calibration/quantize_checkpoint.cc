#include "backends/calibration/quantize_checkpoint.h"

#include "backends/calibration/importance.h"
#include "backends/calibration/layer_walk.h"
#include "backends/calibration/replaced_tensors.h"
#include "backends/formats/catalog.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/checkpoint_writer.h"
#include "backends/quantizers/awq.h"
#include "backends/quantizers/gptq.h"
#include "backends/quantizers/group_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>

namespace quantfleet {

namespace {

using huggingface::CheckpointWriter;
using huggingface::GroupedCodes;
using huggingface::Json;
using Method = CalibratedFormat::Method;

Json quantization_config(const CalibratedOptions& options, const CalibrationText& text) {
  const CalibratedFormat& format = options.format;
  const Json made_by = {{"quantizer", "quantfleet"}, {"version", options.program_version}, {"error_feedback", options.error_feedback},
                        {"search_grid", options.search_grid},
                        {"calibration_text", text.name}, {"calibration_sha256", text.sha256}, {"calibration_seed", options.text.seed},
                        {"calibration_windows", text.windows.size()}, {"calibration_context", options.text.context_tokens}};
  if (format.method == Method::kAwq)
    return {{"quant_method", "awq"}, {"bits", format.bits}, {"group_size", format.group_size}, {"zero_point", true}, {"version", "gemm"},
            {"modules_to_not_convert", nullptr}, {"meta", made_by}};
  return {{"quant_method", "gptq"}, {"bits", format.bits}, {"group_size", format.group_size}, {"desc_act", format.act_order}, {"sym", format.symmetric},
          {"damp_percent", options.damping}, {"static_groups", false}, {"true_sequential", true}, {"lm_head", false},
          {"checkpoint_format", "gptq"}, {"pack_dtype", "int32"}, {"meta", made_by}};
}

class Quantization {
 public:
  Quantization(std::shared_ptr<const GgufFile> model, const CalibratedOptions& options, const KernelFamily& family)
      : model_(std::move(model)), seen_(std::make_shared<ReplacedTensors>(model_)), options_(options), pool_(options.threads),
        gemm_(pool_, gemm_kernel_of(family)), walk_(family, pool_, gemm_) {}

  Status run(CheckpointWriter& writer, const CalibrationText& text, CalibratedReport& report) {
    writer_ = &writer;
    report_ = &report;
    for (const GgufTensor& tensor : model_->tensors())
      if (CheckpointWriter::is_linear(tensor)) weights_total_ += static_cast<std::uint64_t>(tensor.count_values());
    if (Status status = walk_.start(model_, text); !status) return status;
    for (int layer = 0; layer < walk_.config().layers; ++layer) {
      const bool awq = options_.format.method == Method::kAwq;
      if (Status status = awq ? run_awq_layer(layer) : run_gptq_layer(layer); !status) return status;
      if (layer + 1 == walk_.config().layers) break;
      if (Status status = walk_.advance(seen_, layer, pass(0)); !status) return status;
      for (const ProductInput input : kLayerInputs)
        for (const std::string& name : weights_behind(*model_, layer, input)) seen_->restore(name);
    }
    for (const GgufTensor& tensor : model_->tensors()) {
      if (written_.contains(tensor.name)) continue;
      if (tensor.name != "rope_freqs.weight")
        if (Status status = writer.write_plain(tensor); !status) return status;
      report.tensors.push_back({tensor.name, std::string(tensor.format->name), static_cast<std::uint64_t>(tensor.count_values()), 0, 0});
    }
    return {};
  }

 private:
  // Progress of a pass over the windows, behind which `weights` weights are quantized.
  LayerWalk::Progress pass(std::uint64_t weights) const {
    return [this, weights](double share) {
      return !options_.progress || options_.progress(weights_done_ + static_cast<std::uint64_t>(share * 0.9 * static_cast<double>(weights)), weights_total_);
    };
  }

  std::uint64_t count_weights(const std::vector<std::string>& names) const {
    std::uint64_t count = 0;
    for (const std::string& name : names) count += static_cast<std::uint64_t>(model_->find_tensor(name)->count_values());
    return count;
  }

  GroupedCodes round(std::vector<float>& values, const GgufTensor& tensor) {
    const CalibratedFormat& format = options_.format;
    return round_groups(values, tensor.rows(), tensor.columns(), format.bits, group_of(tensor), format.symmetric, pool_, options_.search_grid);
  }
  std::int64_t group_of(const GgufTensor& tensor) const { return options_.format.group_size > 0 ? options_.format.group_size : tensor.columns(); }

  Status check_groups(const GgufTensor& tensor) const {
    if (tensor.columns() % group_of(tensor) == 0) return {};
    return Error{Code::kBadShape, fmt::format("tensor {}: {} inputs do not divide into groups of {}", tensor.name, tensor.columns(), options_.format.group_size)};
  }

  // Packs, writes and reports one matrix. values: what the codes mean; original: what they stand for. Rows as in the checkpoint.
  Status store(const GgufTensor& tensor, const GroupedCodes& codes, const std::vector<float>& values, const std::vector<float>& original,
               std::span<const float> second_moments) {
    for (const float scale : codes.scales)
      if (!std::isfinite(scale)) return Error{Code::kBadValue, fmt::format("tensor {}: its weights are too large for scales of binary16", tensor.name)};
    auto module = writer_->module_name(tensor);
    if (!module) return module.error();
    auto arrays = options_.format.method == Method::kAwq ? huggingface::pack_awq(*module, codes) : huggingface::pack_gptq(*module, codes, false);
    if (!arrays) return arrays.error();
    if (Status status = writer_->write_linear(tensor, *arrays); !status) return status;

    const std::int64_t rows = tensor.rows(), columns = tensor.columns();
    std::vector<float> difference(values.size());
    double squares = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      difference[i] = values[i] - original[i];
      squares += static_cast<double>(difference[i]) * static_cast<double>(difference[i]);
    }
    const double error = output_error(difference, second_moments, rows, columns, gemm_), all = output_error(original, second_moments, rows, columns, gemm_);
    report_->tensors.push_back({tensor.name, report_->format, static_cast<std::uint64_t>(values.size()),
                                std::sqrt(squares / static_cast<double>(values.size())), all > 0 ? std::max(0.0, error) / all : 0});
    written_.insert(tensor.name);
    weights_done_ += static_cast<std::uint64_t>(values.size());
    if (options_.progress && !options_.progress(weights_done_, weights_total_))
      return Error{Code::kInterrupted, fmt::format("interrupted at tensor {}; nothing was written", tensor.name)};
    return {};
  }

  // The layers that follow see these values.
  Status replace(const GgufTensor& tensor, const std::vector<float>& values) {
    auto places = writer_->stored_rows(tensor);
    if (!places) return places.error();
    const std::int64_t columns = tensor.columns();
    std::vector<float> in_order(values.size());
    for (std::size_t row = 0; row < places->size(); ++row)
      std::copy_n(values.begin() + (*places)[row] * columns, columns, in_order.begin() + static_cast<std::int64_t>(row) * columns);
    seen_->replace(tensor.name, std::move(in_order));
    return {};
  }

  // Sub-layer by sub-layer: what reads the same input is quantized together, what follows sees it quantized.
  Status run_gptq_layer(int layer) {
    for (const ProductInput input : kLayerInputs) {
      const std::vector<std::string> names = weights_behind(*model_, layer, input);
      for (const std::string& name : names)
        if (Status status = check_groups(*model_->find_tensor(name)); !status) return status;
      auto moments = walk_.observe(seen_, layer, input, pass(count_weights(names)));
      if (!moments) return moments.error();
      const CalibratedFormat& format = options_.format;
      auto solver = GptqSolver::create(moments->second, moments->columns, {format.bits, format.group_size, format.symmetric, format.act_order, options_.damping, options_.search_grid}, gemm_);
      if (!solver) return at("tensor " + names.front(), solver.error());
      for (const std::string& name : names) {
        const GgufTensor& tensor = *model_->find_tensor(name);
        std::vector<float> values;
        if (Status status = writer_->read_matrix(tensor, values); !status) return status;
        const std::vector<float> original = values;
        const GroupedCodes codes = options_.error_feedback ? solver->quantize(values, tensor.rows(), gemm_, pool_) : round(values, tensor);
        if (Status status = store(tensor, codes, values, original, moments->second); !status) return status;
        if (Status status = replace(tensor, values); !status) return status;
      }
    }
    return {};
  }

  // ---- AWQ ----

  struct Matrix {
    const GgufTensor* tensor;
    std::vector<float> values;   // rows as in the checkpoint
  };
  struct SubLayer {
    InputMoments moments;
    std::vector<Matrix> matrices;
  };

  bool has(int layer, std::string_view name) const { return model_->find_tensor(fmt::format("blk.{}.{}", layer, name)) != nullptr; }

  Result<std::vector<float>> vector_of(const std::string& name) const {
    const GgufTensor& tensor = *model_->find_tensor(name);
    std::vector<float> values(static_cast<std::size_t>(tensor.count_values()));
    std::vector<std::byte> buffer;
    tensor.format->decode(model_->rows(tensor, 0, tensor.rows(), buffer).data(), tensor.count_values() / tensor.format->values_per_block, values.data());
    return values;
  }

  // Divides a vector of the model (norm, bias) by the scales and writes it.
  Status divide_vector(const std::string& name, const std::vector<float>& scales) {
    if (!model_->find_tensor(name)) return {};
    auto values = vector_of(name);
    if (!values) return values.error();
    for (std::size_t i = 0; i < values->size(); ++i) (*values)[i] /= scales[i];
    const GgufTensor& tensor = *model_->find_tensor(name);
    report_->tensors.push_back({tensor.name, "F32", static_cast<std::uint64_t>(tensor.count_values()), 0, 0});
    written_.insert(name);
    return writer_->write_values(tensor, *values);
  }

  // The best scales of the columns of a sub-layer's matrices, applied to them and to the moments of their inputs.
  std::vector<float> scale_columns(SubLayer& sub_layer) {
    std::vector<std::span<const float>> views;
    for (const Matrix& matrix : sub_layer.matrices) views.emplace_back(matrix.values);
    InputMoments& moments = sub_layer.moments;
    const std::vector<float> scales = search_scales({moments.mean_magnitude, moments.second}, views, awq(moments.columns), gemm_, pool_);
    const auto K = static_cast<std::size_t>(moments.columns);
    for (Matrix& matrix : sub_layer.matrices)
      for (std::size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] *= scales[i % K];
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) moments.second[i * K + j] = moments.second[i * K + j] / scales[i] / scales[j];
    return scales;
  }
  AwqOptions awq(std::int64_t columns) const { return {options_.format.bits, options_.format.group_size > 0 ? options_.format.group_size : columns, 20, 20}; }

  // Rows of the matrix before, and its bias, give what the scaled columns behind it take.
  Status divide_rows(Matrix& matrix, const std::vector<float>& scales) {
    const std::int64_t columns = matrix.tensor->columns();
    for (std::size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] /= scales[i / static_cast<std::size_t>(columns)];
    const std::string& name = matrix.tensor->name;
    return divide_vector(name.substr(0, name.size() - 6) + "bias", scales);
  }

  Status run_awq_layer(int layer) {
    std::map<ProductInput, SubLayer> sub_layers;
    for (const ProductInput input : kLayerInputs) {
      SubLayer& sub_layer = sub_layers[input];
      const std::vector<std::string> names = weights_behind(*model_, layer, input);
      for (const std::string& name : names) {
        const GgufTensor* tensor = model_->find_tensor(name);
        if (Status status = check_groups(*tensor); !status) return status;
        sub_layer.matrices.push_back({tensor, {}});
        if (Status status = writer_->read_matrix(*tensor, sub_layer.matrices.back().values); !status) return status;
      }
      auto moments = walk_.observe(model_, layer, input, pass(0));
      if (!moments) return moments.error();
      sub_layer.moments = std::move(*moments);
    }
    const std::string prefix = fmt::format("blk.{}.", layer);
    const auto find = [&](ProductInput input, std::string_view name) -> Matrix* {
      for (Matrix& matrix : sub_layers[input].matrices)
        if (matrix.tensor->name == prefix + std::string(name)) return &matrix;
      return nullptr;
    };
    const bool scales_pay = options_.error_feedback;
    // A norm that two inputs share (parallel residuals) cannot take the scales of both.
    const bool own_norms = !walk_.config().parallel_residual && !has(layer, "attn_norm_2.weight");
    for (const auto& [input, norm] : {std::pair(ProductInput::kQkv, "attn_norm"), std::pair(ProductInput::kGateUp, "ffn_norm")}) {
      if (!scales_pay || !own_norms || !has(layer, std::string(norm) + ".weight")) continue;
      const std::vector<float> scales = scale_columns(sub_layers[input]);
      for (const char* part : {".weight", ".bias"})
        if (Status status = divide_vector(prefix + norm + part, scales); !status) return status;
    }
    Matrix* value = find(ProductInput::kQkv, "attn_v.weight");
    if (scales_pay && value && value->tensor->rows() == sub_layers[ProductInput::kAttentionOutput].moments.columns)
      if (Status status = divide_rows(*value, scale_columns(sub_layers[ProductInput::kAttentionOutput])); !status) return status;
    Matrix* up = find(ProductInput::kGateUp, "ffn_up.weight");
    if (scales_pay && up && has(layer, "ffn_gate.weight"))
      if (Status status = divide_rows(*up, scale_columns(sub_layers[ProductInput::kDown])); !status) return status;

    for (auto& [input, sub_layer] : sub_layers)
      for (Matrix& matrix : sub_layer.matrices) {
        const std::string& name = matrix.tensor->name;
        const std::vector<float> scaled = matrix.values;
        const bool makes_scores = name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight") || name.ends_with("attn_qkv.weight");
        if (scales_pay && !makes_scores)
          clip_groups(matrix.values, matrix.tensor->rows(), sub_layer.moments.second, sub_layer.moments.columns, awq(sub_layer.moments.columns), gemm_, pool_);
        const GroupedCodes codes = round(matrix.values, *matrix.tensor);
        if (Status status = store(*matrix.tensor, codes, matrix.values, scaled, sub_layer.moments.second); !status) return status;
        matrix.values = {};
      }
    return {};
  }

  std::shared_ptr<const GgufFile> model_;
  std::shared_ptr<ReplacedTensors> seen_;   // the model as the layers that follow see it
  const CalibratedOptions& options_;
  ThreadPool pool_;
  GemmF32 gemm_;
  LayerWalk walk_;
  CheckpointWriter* writer_ = nullptr;
  CalibratedReport* report_ = nullptr;
  std::set<std::string> written_;
  std::uint64_t weights_done_ = 0, weights_total_ = 0;
};

}  // namespace

Result<CalibratedReport> quantize_checkpoint(const std::filesystem::path& in, const std::filesystem::path& out, const CalibratedOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto family = find_kernels(options.kernels);
  if (!family) return family.error();
  auto model = open_model_file(in);
  if (!model) return model.error();
  auto tokenizer = Tokenizer::from_gguf(**model);
  if (!tokenizer) return at(in.string(), tokenizer.error());
  auto text = read_calibration_text(**tokenizer, options.text);
  if (!text) return text.error();
  const std::string quantizer = options.format.method == Method::kAwq ? "awq" : "gptq";
  huggingface::CheckpointOptions checkpoint;
  checkpoint.quantization_config = quantization_config(options, *text);
  checkpoint.metadata = {{"quantfleet.quantizer", options.error_feedback ? quantizer : "round_to_nearest"}, {"quantfleet.program_version", options.program_version},
                         {"quantfleet.calibration_sha256", text->sha256}, {"quantfleet.calibration_seed", std::to_string(options.text.seed)}};
  auto writer = CheckpointWriter::create(out, *model, std::move(checkpoint));
  if (!writer) return writer.error();

  CalibratedReport report;
  report.format = options.format.name();
  report.input_bytes = (*model)->size_bytes();
  report.windows = static_cast<std::int64_t>(text->windows.size());
  report.windows_in_text = text->windows_in_text;
  report.text_sha256 = text->sha256;
  {
    Quantization quantization(*model, options, **family);
    if (Status status = quantization.run(**writer, *text, report); !status) {
      const Error& error = status.error();
      return error.detail.find(in.string()) != std::string::npos || error.detail.find(out.string()) != std::string::npos ? error : at(in.string(), error);
    }
  }
  if (Status status = (*writer)->finish(); !status) return status.error();
  double values = 0;
  for (const CalibratedTensor& tensor : report.tensors) values += static_cast<double>(tensor.count_values);
  report.bits_per_weight = static_cast<double>((*writer)->data_bytes()) * 8 / values;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(out, ignored)) report.output_bytes += entry.file_size(ignored);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace quantfleet
