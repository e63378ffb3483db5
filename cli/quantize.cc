// quantfleet quantize, and quantfleet convert between the float formats: a model in, one in another format out.
#include "backends/calibration/adaptive_mix.h"
#include "backends/calibration/quantize_checkpoint.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/peft_adapter.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_checkpoint.h"
#include "backends/quantizers/quantize_model.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/progress.h"
#include "contract/error.h"
#include "contract/version.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <thread>

namespace quantfleet::cli {

namespace {

struct Options {
  std::string in, out, format, importance_matrix, kernels, base;
  int threads = 0;     // 0: one per core
  int group_size = 0;  // 0: the format's
  bool json = false;
  CalibrationTextOptions text{{}, 512, 128, 0};
  double damping = 0.01, smoothing = 0, bits_per_weight = 0;
  bool round_to_nearest = false, search_grid = false;
  double budget_bits = 0;
  std::uint64_t budget_bytes = 0;
  std::int64_t probe_windows = 4;
  std::vector<std::string> candidates;
  std::string rotate;
  std::uint64_t rotate_seed = 0;

  std::optional<Rotation> rotation() const { return rotate.empty() ? std::optional<Rotation>() : Rotation{rotate_seed}; }
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

nlohmann::ordered_json to_json(const QuantizeReport& report) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const QuantizedTensor& tensor : report.tensors)
    tensors.push_back({{"name", tensor.name}, {"format", tensor.format_name()}, {"values", tensor.count_values}, {"rmse", tensor.rmse}});
  return {{"format", report.format},
          {"input_bytes", report.input_bytes},
          {"output_bytes", report.output_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"seconds", report.seconds},
          {"tensors", std::move(tensors)}};
}

nlohmann::ordered_json calibration_json(const Options& options, const std::string& text_sha256, std::int64_t windows, std::int64_t windows_in_text) {
  return {{"text_sha256", text_sha256}, {"context", options.text.context_tokens}, {"windows", windows}, {"windows_in_text", windows_in_text}, {"seed", options.text.seed}};
}

nlohmann::ordered_json to_json(const CalibratedReport& report, const Options& options) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const CalibratedTensor& tensor : report.tensors)
    tensors.push_back({{"name", tensor.name}, {"format", tensor.format}, {"values", tensor.count_values}, {"rmse", tensor.rmse}, {"output_error", tensor.output_error}});
  return {{"format", report.format},
          {"input_bytes", report.input_bytes},
          {"output_bytes", report.output_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"seconds", report.seconds},
          {"calibration", calibration_json(options, report.text_sha256, report.windows, report.windows_in_text)},
          {"tensors", std::move(tensors)}};
}

int threads_of(const Options& options) {
  return options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void print(const nlohmann::ordered_json& json) { fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)); }

// What every way of quantizing is told; then make(settings), with its progress shown.
template <class Settings, class Make>
auto carry_out(const Options& options, Settings& settings, std::string_view doing, const char* unit, const Make& make) {
  Progress progress(std::string(doing), unit);
  settings.rotation = options.rotation();
  settings.threads = threads_of(options);
  settings.program_version = std::string(program_version());
  settings.progress = [&](std::uint64_t done, std::uint64_t total) { return progress.update(done, total), !interrupted(); };
  return make(settings).value();
}

// One line, or all of it as JSON.
int tell(const Options& options, const QuantizeReport& report) {
  if (options.json) return print(to_json(report)), 0;
  fmt::print("{}: {} bytes from {}, {:.4f} bits per weight, {} tensors, {:.2f} s\n", options.out, report.output_bytes, report.input_bytes, report.bits_per_weight, report.tensors.size(), report.seconds);
  return 0;
}

// A Hugging Face folder in a format that needs no calibration.
int quantize_folder(const Options& options, const LinearQuantizer& format) {
  catch_interrupts();
  QuantizeOptions settings;
  settings.format = format.name;
  settings.group_size = options.group_size;
  settings.importance_matrix = options.importance_matrix;
  const QuantizeReport report = carry_out(options, settings, "quantizing", "bytes", [&](const auto& all) { return quantize_checkpoint(options.in, options.out, all); });
  if (format.only_here) fmt::print(stderr, "quantfleet: {} is this program's own format: no other engine loads {}\n", format.name, options.out);
  return tell(options, report);
}

// A Hugging Face folder whose codes depend on a calibration text.
int quantize_calibrated(const Options& options) {
  catch_interrupts();
  CalibratedOptions settings;
  settings.format = parse_calibrated_format(options.format).value();
  if (options.text.path.empty())
    throw BadResult({Code::kUsage, fmt::format("--format {} needs a calibration text (--text FILE)", settings.format.name())});
  if (!options.importance_matrix.empty()) throw BadResult({Code::kUsage, fmt::format("--format {} takes a calibration text (--text), not --imatrix", settings.format.name())});
  if (options.search_grid && settings.format.method != CalibratedFormat::Method::kGptq) throw BadResult({Code::kUsage, "--mse is for GPTQ; AWQ has its own search for the ranges"});
  if (options.smoothing > 0 && settings.format.method != CalibratedFormat::Method::kInt8) throw BadResult({Code::kUsage, "--smoothquant is for w8a8-static"});
  const bool exl2 = settings.format.method == CalibratedFormat::Method::kExl2;
  if (exl2 != (options.bits_per_weight > 0)) throw BadResult({Code::kUsage, exl2 ? "--format exl2 needs the bits per weight (--bpw BITS)" : "--bpw is for exl2; --budget-bpw is for GGUF files"});
  settings.text = options.text;
  settings.damping = options.damping;
  settings.smoothing = options.smoothing;
  settings.bits_per_weight = options.bits_per_weight;
  settings.error_feedback = !options.round_to_nearest;
  settings.search_grid = options.search_grid;
  settings.kernels = options.kernels;
  const CalibratedReport report = carry_out(options, settings, "quantizing", "weights", [&](const auto& all) { return quantize_checkpoint(options.in, options.out, all); });
  if (options.json) print(to_json(report, options));
  else
    fmt::print("{}: {} bytes from {}, {:.4f} bits per weight, {} tensors, {} of {} windows of {} tokens, {:.2f} s\n", options.out, report.output_bytes,
               report.input_bytes, report.bits_per_weight, report.tensors.size(), report.windows, report.windows_in_text, options.text.context_tokens, report.seconds);
  return 0;
}

// The formats that lose least within a budget, in one GGUF file.
int quantize_mixed(const Options& options) {
  catch_interrupts();
  if (options.text.path.empty()) throw BadResult({Code::kUsage, "a budget needs a calibration text (--text FILE)"});
  BudgetOptions settings;
  settings.bits_per_weight = options.budget_bits;
  settings.file_bytes = options.budget_bytes;
  settings.text = options.text;
  settings.probe_windows = options.probe_windows;
  settings.formats = options.candidates;
  settings.kernels = options.kernels;
  const MixedReport report = carry_out(options, settings, "measuring", "tensors", [&](const auto& all) { return quantize_to_budget(options.in, options.out, all); });
  if (options.json) {
    nlohmann::ordered_json json = to_json(report.written);
    json["calibration"] = calibration_json(options, report.text.sha256, static_cast<std::int64_t>(report.text.windows.size()), report.text.windows_in_text);
    json["budget"] = {{"probe_format", report.probe_format}, {"predicted_divergence", report.predicted_divergence}};
    for (const MixedTensor& tensor : report.tensors)
      for (auto& described : json["tensors"])
        if (described["name"] == tensor.name) {
          described["output_error"] = tensor.output_error;
          described["predicted_divergence"] = tensor.divergence();
        }
    print(json);
    return 0;
  }
  for (const MixedTensor& tensor : report.tensors)
    fmt::print("{:<28} {:<8} output error {:.2e}  divergence {:.2e}\n", tensor.name, tensor.format->name, tensor.output_error, tensor.divergence());
  fmt::print("{}: {} bytes from {}, {:.4f} bits per weight, predicted divergence {:.4f} nats, {:.2f} s to write\n", options.out, report.written.output_bytes,
             report.written.input_bytes, report.written.bits_per_weight, report.predicted_divergence, report.written.seconds);
  return 0;
}

int quantize(const Options& options, std::string_view label) {
  catch_interrupts();
  QuantizeOptions settings;
  settings.format = options.format;
  settings.importance_matrix = options.importance_matrix;
  return tell(options, carry_out(options, settings, label, "bytes", [&](const auto& all) { return quantize_model(options.in, options.out, all); }));
}

void add_common(CLI::App& app, const std::shared_ptr<Options>& options) {
  app.add_option("OUT", options->out, "the file (of folder formats: the folder) to write; appears only when it is complete")->required();
  app.add_option("--threads", options->threads, "threads; the bytes do not depend on it (0: one per core)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--rotate", options->rotate,
                 "hadamard: turn the residual stream and the value heads first, so that outliers spread (llama, qwen2, qwen3, their mixtures, phi3; a tied output matrix is untied)")
      ->check(CLI::IsMember({"hadamard"}));
  app.add_option("--rotate-seed", options->rotate_seed, "signs of the rotation")->needs("--rotate")->capture_default_str();
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/quantize.json; of an adapter convert_adapter.json)");
}

// A PEFT folder becomes an adapter file for one base model.
int convert_adapter(const Options& options) {
  const auto base = open_model_file(options.base);
  if (!base) throw BadResult(base.error());
  const auto adapter = open_lora_adapter(options.in, **base);
  if (!adapter) throw BadResult(adapter.error());
  if (const Status written = write_lora_adapter(*adapter, options.out); !written) throw BadResult(written.error());
  if (options.json) fmt::print("{}\n", nlohmann::ordered_json{{"adapter", options.out}, {"architecture", adapter->architecture}, {"matrices", adapter->updates.size()}}.dump(2));
  else fmt::print("{}: an adapter of {} matrices for {}\n", options.out, adapter->updates.size(), adapter->architecture);
  return 0;
}

int convert(const Options& options) {
  if (!options.base.empty() && !options.rotate.empty()) throw BadResult({Code::kUsage, "--rotate turns a model; an adapter (--base) goes with the model that it was trained on"});
  if (!options.base.empty()) return convert_adapter(options);
  const std::string format = lower(options.format);
  if (format.empty()) throw BadResult({Code::kUsage, "convert needs --format (f32, f16 or bf16), or --base for an adapter"});
  if (format != "f32" && format != "f16" && format != "bf16")
    throw BadResult({Code::kUsage, fmt::format("--format {}: convert knows f32, f16 and bf16; use quantize for the others", options.format)});
  return quantize(options, "converting");
}

}  // namespace

std::function<int()> add_quantize(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("IN", options->in, "a GGUF model (F32, F16, BF16 or quantized; of a split one the first part) or a Hugging Face folder")->required();
  std::string folders;
  for (const LinearQuantizer& one : all_linear_quantizers()) folders += fmt::format("\n  {}: {}{}", one.name, one.summary, one.only_here ? " (no other engine loads it)" : "");
  app.add_option("--format", options->format,
                 fmt::format("{};\nto a Hugging Face folder:{}\nwith a calibration text, to a Hugging Face folder: GPTQ-<2|3|4|8>bit[-g<inputs per scale>][-asym][-actorder], "
                             "AWQ-4bit[-g<inputs per scale>], such as GPTQ-4bit-g128 (without -g one scale per row; GPTQ is symmetric unless -asym), SparseGPT-<4|8>bit[-g<inputs per scale>] "
                             "(no other engine loads it), exl2, w8a8-static",
                             fmt::join(quantize_format_names(), ", "), folders));
  app.add_option("--imatrix", options->importance_matrix, "importance matrix, .dat or GGUF (default: none)");
  app.add_option("--group-size", options->group_size, "weights that share a scale, of folder formats with groups (0: the format's usual number)")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--text", options->text.path, "calibration text of GPTQ, AWQ, SparseGPT, exl2, w8a8-static and budgets, taken as it is");
  CLI::Option* context = app.add_option("--context", options->text.context_tokens, "tokens of a calibration window [512, or the model's context where that is less]")
                             ->check(CLI::Range(16, 1 << 20));
  app.add_option("--chunks", options->text.count_windows, "at most so many calibration windows, chosen by --seed (0: all of the text)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))->capture_default_str();
  app.add_option("--seed", options->text.seed, "chooses the calibration windows")->capture_default_str();
  app.add_option("--damping", options->damping, "GPTQ, SparseGPT, exl2: share of the mean second moment that is added to each")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--smoothquant", options->smoothing, "w8a8-static: how much of the inputs' range moves into the weights (alpha; usual 0.5 to 0.85; 0: none)")->check(CLI::Range(0.0, 1.0));
  app.add_option("--bpw", options->bits_per_weight, "exl2: bits per weight of the linear layers, all that is stored for them included")->check(CLI::Range(2.0, 9.0));
  app.add_flag("--mse", options->search_grid, "GPTQ: shrink each group's range to where its squared rounding error is least, in place of covering all weights");
  app.add_flag("--round-to-nearest", options->round_to_nearest, "GPTQ's, AWQ's, SparseGPT's or EXL2's grid and file without passing errors on, to compare with (of SparseGPT: Wanda)");
  app.add_option("--kernels", options->kernels, "of calibration: scalar, avx2, avx512_vnni or neon_dotprod; the bytes do not depend on it")->envname("QUANTFLEET_KERNELS");
  app.add_option("--budget-bpw", options->budget_bits, "in place of --format: so many bits per weight at most; the format of each tensor by measured loss, in a GGUF file")
      ->check(CLI::Range(1.0, 32.0));
  app.add_option("--budget-size", options->budget_bytes, "the same, for a file of at most so many bytes (2G, 700MiB)")->transform(CLI::AsSizeValue(false));
  app.add_option("--candidates", options->candidates, fmt::format("formats that a budget chooses from (default: {})", fmt::join(default_candidates(), ",")))->delimiter(',');
  app.add_option("--probe-windows", options->probe_windows, "of a budget: windows on which each tensor's effect on the distribution is measured")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))->capture_default_str();
  add_common(app, options);
  return [options, context] {
    const int goals = !options->format.empty() + (options->budget_bits > 0) + (options->budget_bytes > 0);
    if (goals != 1) throw BadResult({Code::kUsage, "one of --format, --budget-bpw and --budget-size is needed"});
    if (options->format.empty() || is_calibrated_format(options->format)) fit_window(options->text.context_tokens, context->count() > 0, options->in);
    if (options->format.empty()) return quantize_mixed(*options);
    if (const LinearQuantizer* folder = find_linear_quantizer(options->format)) return quantize_folder(*options, *folder);
    return is_calibrated_format(options->format) ? quantize_calibrated(*options) : quantize(*options, "quantizing");
  };
}

std::function<int()> add_convert(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("IN", options->in, "a GGUF model (of a split one the first part), a Hugging Face folder, or with --base a PEFT folder")->required();
  CLI::Option* format = app.add_option("--format", options->format, "f32, f16 or bf16");
  app.add_option("--base", options->base, "in place of --format: IN is a LoRA adapter of this model, OUT a GGUF adapter file (F32)")->excludes(format);
  add_common(app, options);
  return [options] { return convert(*options); };
}

}  // namespace quantfleet::cli
