#include "backends/calibration/quantize_checkpoint.h"

#include "backends/calibration/layer_quantization.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/quantizers/linear_quantizer.h"

#include <fmt/format.h>

#include <chrono>

namespace quantfleet {

namespace {

using huggingface::CheckpointWriter;
using huggingface::Json;
using Method = CalibratedFormat::Method;

// The quantizer's name in what it writes.
std::string name_of(const CalibratedOptions& options) {
  switch (options.format.method) {
    case Method::kGptq: return options.error_feedback ? "gptq" : "round_to_nearest";
    case Method::kAwq: return options.error_feedback ? "awq" : "round_to_nearest";
    case Method::kInt8: return options.smoothing > 0 ? "smoothquant" : "static_int8";
    case Method::kSparseGpt: return options.error_feedback ? "sparsegpt" : "wanda";
    case Method::kExl2: return "exl2";
  }
  return "";
}

Json quantization_config(const CalibratedOptions& options, const CalibrationText& text) {
  const CalibratedFormat& format = options.format;
  const Json made_by = {{"quantizer", "quantfleet"}, {"method", name_of(options)}, {"version", options.program_version}, {"error_feedback", options.error_feedback},
                        {"search_grid", options.search_grid}, {"smoothing", options.smoothing},
                        {"calibration_text", text.name}, {"calibration_sha256", text.sha256}, {"calibration_seed", options.text.seed},
                        {"calibration_windows", text.windows.size()}, {"calibration_context", options.text.context_tokens}};
  if (format.method == Method::kInt8) {
    Json config = config_w8a8_static();
    config["meta"] = made_by;
    return config;
  }
  if (format.method == Method::kSparseGpt) {
    Json config = format.bits == 4 ? config_sparse4(format.group_size) : config_sparse8(format.group_size);
    config["meta"] = made_by;
    return config;
  }
  if (format.method == Method::kExl2)
    return {{"quant_method", "exl2"}, {"version", "0.3.2"}, {"bits", options.bits_per_weight}, {"head_bits", 16},
            {"calibration", {{"rows", text.windows.size()}, {"length", options.text.context_tokens}, {"dataset", text.name}}}, {"meta", made_by}};
  if (format.method == Method::kAwq)
    return {{"quant_method", "awq"}, {"bits", format.bits}, {"group_size", format.group_size}, {"zero_point", true}, {"version", "gemm"},
            {"modules_to_not_convert", nullptr}, {"meta", made_by}};
  return {{"quant_method", "gptq"}, {"bits", format.bits}, {"group_size", format.group_size}, {"desc_act", format.act_order}, {"sym", format.symmetric},
          {"damp_percent", options.damping}, {"static_groups", false}, {"true_sequential", true}, {"lm_head", false},
          {"checkpoint_format", "gptq"}, {"pack_dtype", "int32"}, {"meta", made_by}};
}

LayerQuantization::Method method_of(const CalibratedOptions& options, Exl2Plan& plan) {
  switch (options.format.method) {
    case Method::kGptq: return {quantize_layer_gptq, {}, {}};
    case Method::kAwq: return {quantize_layer_awq, {}, {}};
    case Method::kInt8: return {quantize_layer_int8, {}, {}};
    case Method::kSparseGpt: return {quantize_layer_sparse, {}, {}};
    case Method::kExl2: break;
  }
  return {[&](LayerQuantization& quantization, int layer) { return plan.quantize_layer(quantization, layer); },
          [&](LayerQuantization& quantization, int layer) { return plan.measure_layer(quantization, layer); }, [&] { return plan.choose(options.bits_per_weight); }};
}

}  // namespace

Result<CalibratedReport> quantize_checkpoint(const std::filesystem::path& in, const std::filesystem::path& out, const CalibratedOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto family = find_kernels(options.kernels);
  if (!family) return family.error();
  auto model = open_model_file(in, options.rotation, options.threads);
  if (!model) return model.error();
  auto tokenizer = Tokenizer::from_gguf(**model);
  if (!tokenizer) return at(in.string(), tokenizer.error());
  auto text = read_calibration_text(**tokenizer, options.text);
  if (!text) return text.error();
  huggingface::CheckpointOptions checkpoint;
  checkpoint.quantization_config = quantization_config(options, *text);
  checkpoint.metadata = {{"quantfleet.quantizer", name_of(options)}, {"quantfleet.program_version", options.program_version},
                         {"quantfleet.calibration_sha256", text->sha256}, {"quantfleet.calibration_seed", std::to_string(options.text.seed)}};
  if (options.format.method == Method::kSparseGpt) checkpoint.metadata["quantfleet.format"] = options.format.bits == 4 ? "sparse24-w4" : "sparse24-w8";
  if (options.rotation) checkpoint.metadata["quantfleet.rotation"] = options.rotation->text();
  auto writer = CheckpointWriter::create(out, *model, std::move(checkpoint));
  if (!writer) return writer.error();

  CalibratedReport report;
  report.format = options.format.name();
  report.input_bytes = (*model)->size_bytes();
  report.windows = static_cast<std::int64_t>(text->windows.size());
  report.windows_in_text = text->windows_in_text;
  report.text_sha256 = text->sha256;
  {
    LayerQuantization quantization(*model, options, **family);
    Exl2Plan plan;
    if (Status status = quantization.run(**writer, *text, report, method_of(options, plan)); !status) {
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
