// quantfleet imatrix: the mean squared inputs of a model's weight matrices over a calibration text, for quantize --imatrix.
#include "backends/calibration/importance.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/progress.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quantfleet::cli {

std::function<int()> add_imatrix(CLI::App& app) {
  struct Options {
    ModelOptions model;
    CalibrationTextOptions text;
    std::filesystem::path out;
    bool output = false, json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->model.model, "GGUF file or Hugging Face folder; its weights are decoded, activations are F32")->required();
  app.add_option("--text", options->text.path, "calibration text, taken as it is")->required();
  app.add_option("--out", options->out, "file to write: .gguf in the newer layout, any other name in the .dat layout")->required();
  CLI::Option* context = app.add_option("--context", options->text.context_tokens, "tokens of a window; what is left behind the last whole window is not used "
                                                                                   "[512, or the model's context where that is less]")
                             ->check(CLI::Range(16, 1 << 20));
  app.add_option("--chunks", options->text.count_windows, "at most so many windows, chosen by --seed (0: all)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))->capture_default_str();
  app.add_option("--seed", options->text.seed, "chooses the windows where --chunks leaves some out")->capture_default_str();
  app.add_flag("--process-output", options->output, "the output matrix, too");
  options->model.threads = default_threads();
  app.add_option("-t,--threads", options->model.threads, "threads that compute; the result does not depend on them")
      ->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--kernels", options->model.kernels, "scalar, avx2, avx512_vnni or neon_dotprod; the best this CPU has by default; the result does not depend on it")
      ->envname("QUANTFLEET_KERNELS");
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/imatrix.json)");
  return [options, context] {
    fit_window(options->text.context_tokens, context->count() > 0, options->model.model);
    catch_interrupts();
    Result<ImportanceReport> collected = Error{Code::kCancelled, "nothing was collected"};
    {
      Progress progress("imatrix", "tokens");
      ImportanceOptions settings;
      settings.model = options->model.model;
      settings.text = options->text;
      settings.with_output = options->output;
      settings.threads = options->model.threads;
      settings.kernels = options->model.kernels;
      settings.progress = [&](std::uint64_t done, std::uint64_t total) {
        progress.update(done, total);
        return !interrupted();
      };
      collected = collect_importance(settings);
    }
    ImportanceReport& report = collected.value();
    report.matrix.notes = {{"quantfleet.calibration_sha256", report.text.sha256}, {"quantfleet.calibration_seed", std::to_string(options->text.seed)}};
    if (Status status = write_importance_matrix(options->out, report.matrix); !status) throw BadResult(status.error());
    if (options->json)
      fmt::print("{}\n", nlohmann::ordered_json{{"model", report.model_name}, {"out", options->out.string()}, {"entries", report.matrix.entries.size()},
                                                {"text", report.text.name}, {"text_sha256", report.text.sha256}, {"context", options->text.context_tokens},
                                                {"windows", report.text.windows.size()}, {"windows_in_text", report.text.windows_in_text},
                                                {"tokens", report.text.count_tokens()}, {"seed", options->text.seed}, {"kernels", report.kernels},
                                                {"threads", options->model.threads}, {"seconds", report.seconds}}
                             .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    else
      fmt::print("{}: {} entries from {} of {} windows of {} tokens, {:.2f} s\n", options->out.string(), report.matrix.entries.size(),
                 report.text.windows.size(), report.text.windows_in_text, options->text.context_tokens, report.seconds);
    return 0;
  };
}

}  // namespace quantfleet::cli
