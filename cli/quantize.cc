// quantfleet quantize, and quantfleet convert between the float formats: a GGUF model in, one in another format out.
#include "backends/quantizers/quantize_model.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "contract/error.h"
#include "contract/version.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <memory>
#include <thread>

namespace quantfleet::cli {

namespace {

struct Options {
  std::string in, out, format, importance_matrix;
  int threads = 0;  // 0: one per core
  bool json = false;
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

nlohmann::ordered_json to_json(const QuantizeReport& report) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const QuantizedTensor& tensor : report.tensors)
    tensors.push_back({{"name", tensor.name}, {"format", tensor.format->name}, {"values", tensor.count_values}, {"rmse", tensor.rmse}});
  return {{"format", report.format},
          {"input_bytes", report.input_bytes},
          {"output_bytes", report.output_bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"seconds", report.seconds},
          {"tensors", std::move(tensors)}};
}

int quantize(const Options& options, std::string_view label) {
  catch_interrupts();
  QuantizeReport report;
  {
    Progress progress(std::string(label), "bytes");
    QuantizeOptions settings;
    settings.format = options.format;
    settings.importance_matrix = options.importance_matrix;
    settings.threads = options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    settings.program_version = std::string(program_version());
    settings.progress = [&](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
      return !interrupted();
    };
    report = quantize_model(options.in, options.out, settings).value();
  }
  if (options.json) {
    fmt::print("{}\n", to_json(report).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{}: {} bytes from {}, {:.4f} bits per weight, {} tensors, {:.2f} s\n", options.out, report.output_bytes,
             report.input_bytes, report.bits_per_weight, report.tensors.size(), report.seconds);
  return 0;
}

void add_common(CLI::App& app, const std::shared_ptr<Options>& options) {
  app.add_option("OUT", options->out, "the GGUF file to write; appears only when it is complete")->required();
  app.add_option("--threads", options->threads, "threads; the bytes do not depend on it (0: one per core)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/quantize.json)");
}

int convert(const Options& options) {
  const std::string format = lower(options.format);
  if (format != "f32" && format != "f16" && format != "bf16") {
    fmt::print(stderr, "quantfleet: --format {}: convert knows f32, f16 and bf16; use quantize for the others\n", options.format);
    return exit_code(Code::kUsage);
  }
  return quantize(options, "converting");
}

}  // namespace

std::function<int()> add_quantize(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("IN", options->in, "a GGUF model (F32, F16, BF16 or quantized; of a split one the first part) or a Hugging Face folder")->required();
  app.add_option("--format", options->format, fmt::format("{}", fmt::join(quantize_format_names(), ", ")))->required();
  app.add_option("--imatrix", options->importance_matrix, "importance matrix, .dat or GGUF (default: none)");
  add_common(app, options);
  return [options] { return quantize(*options, "quantizing"); };
}

std::function<int()> add_convert(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("IN", options->in, "a GGUF model (of a split one the first part) or a Hugging Face folder")->required();
  app.add_option("--format", options->format, "f32, f16 or bf16")->required();
  add_common(app, options);
  return [options] { return convert(*options); };
}

}  // namespace quantfleet::cli
