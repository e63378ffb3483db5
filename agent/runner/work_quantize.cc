// Quantize work: one model file into another format, by the format's name or by a recipe. The artifact's facts are what tables show about a
// format. Formats of Hugging Face folders become archives (backends/huggingface/model_folder.h). The bytes do not depend on the agent.
#include "agent/probe/probe.h"
#include "agent/runner/recipe.h"
#include "agent/runner/work.h"
#include "backends/calibration/adaptive_mix.h"
#include "backends/calibration/importance.h"
#include "backends/calibration/quantize_checkpoint.h"
#include "backends/formats/file_hash.h"
#include "backends/huggingface/model_folder.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_checkpoint.h"
#include "backends/quantizers/quantize_model.h"
#include "contract/version.h"

#include <fmt/format.h>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;

struct Made {
  double bits_per_weight = 0, seconds = 0;
  std::uint64_t input_bytes = 0;
};
template <class MadeReport>
Made made_of(const MadeReport& report) { return {report.bits_per_weight, report.seconds, report.input_bytes}; }

class Quantization {
 public:
  Quantization(const RunnerTask& task, const QuantizeWork& work, Report& report) : task_(task), work_(work), recipe_(work.recipe.value_or(FormatRecipe())), report_(report) {}

  Result<Made> run() {
    if (work_.recipe)
      if (const Status good = check_recipe(recipe_); !good) return at(fmt::format("format \"{}\"", recipe_.name), good.error());
    if (work_.recipe && recipe_.format.empty()) return to_budget();
    if (is_calibrated_format(work_.format)) return to_archive([&](const fs::path& folder) { return calibrated(folder); });
    QuantizeOptions options;
    options.format = work_.format;
    options.threads = task_.threads;
    options.progress = progress();
    options.group_size = recipe_.group_size;
    options.importance_matrix = task_.imatrix;
    options.rotation = rotation();
    if (find_linear_quantizer(work_.format))
      return to_archive([&](const fs::path& folder) -> Result<Made> {
        const auto made = quantize_checkpoint(task_.model, folder, options);
        if (!made) return made.error();
        return made_of(*made);
      });
    ImportanceMatrix importance;
    if (!task_.text.empty()) {
      auto collecting = over_the_text<ImportanceOptions>();
      collecting.model = task_.model;
      auto collected = collect_importance(collecting);
      if (!collected) return collected.error();
      importance = std::move(collected->matrix);
      options.importance = &importance;
    }
    const auto made = quantize_model(task_.model, task_.output, options);
    if (!made) return made.error();
    return made_of(*made);
  }

 private:
  std::function<bool(std::uint64_t, std::uint64_t)> progress() const {
    return [this](std::uint64_t done, std::uint64_t total) {
      report_.say(RunnerProgress{done, total});
      return true;
    };
  }

  std::optional<Rotation> rotation() const { return recipe_.rotate ? std::optional<Rotation>(Rotation{recipe_.rotate_seed}) : std::nullopt; }

  // What runs the model over the recipe's text. The text's file is named by its hash on every machine.
  template <class Options>
  Options over_the_text() const {
    Options options;
    options.text = {task_.text, recipe_.context, recipe_.chunks, recipe_.seed};
    options.threads = task_.threads;
    options.kernels = task_.kernels;
    options.progress = progress();
    return options;
  }

  Result<Made> to_budget() {
    auto options = over_the_text<BudgetOptions>();
    options.bits_per_weight = recipe_.budget_bpw;
    options.formats = recipe_.candidates;
    const auto made = quantize_to_budget(task_.model, task_.output, options);
    if (!made) return made.error();
    return made_of(made->written);
  }

  Result<Made> calibrated(const fs::path& folder) {
    auto options = over_the_text<CalibratedOptions>();
    auto format = parse_calibrated_format(work_.format);
    if (!format) return format.error();
    options.format = *format;
    options.damping = recipe_.damping;
    options.search_grid = recipe_.mse;
    options.error_feedback = !recipe_.round_to_nearest;
    options.bits_per_weight = recipe_.bpw;
    options.smoothing = recipe_.smoothquant;
    options.rotation = rotation();
    const auto made = quantize_checkpoint(task_.model, folder, options);
    if (!made) return made.error();
    return made_of(*made);
  }

  // What `make` puts into a folder, as one file.
  Result<Made> to_archive(const std::function<Result<Made>(const fs::path&)>& make) {
    const fs::path place = folders_beside(task_.output);
    std::error_code failure;
    fs::remove_all(place, failure);
    fs::create_directories(place, failure);
    if (failure) return Error{Code::kPermission, fmt::format("{}: {}", place.string(), failure.message())};
    Result<Made> made = make(place / "model");
    if (made) {
      const auto folder = huggingface::ModelFolder::open(place / "model");
      const Status written = folder ? huggingface::write_model_archive(**folder, work_.recipe ? recipe_.name : work_.format, task_.output) : Status(folder.error());
      if (!written) made = written.error();
    }
    fs::remove_all(place, failure);
    return made;
  }

  const RunnerTask& task_;
  const QuantizeWork& work_;
  const FormatRecipe recipe_;
  Report& report_;
};

}  // namespace

Result<UnitFinished> carry_out(const RunnerTask& task, const QuantizeWork& work, Report& report) {
  const Result<Made> made = Quantization(task, work, report).run();
  if (!made) return made.error();
  const Result<std::string> hash = sha256_of_file(task.output);
  if (!hash) return hash.error();
  const std::uint64_t bytes = fs::file_size(task.output);

  UnitFinished finished;
  finished.artifact = Artifact{*hash, bytes, "model",
                               {{"bits_per_weight", made->bits_per_weight},
                                {"seconds", made->seconds},
                                {"input_bytes", static_cast<double>(made->input_bytes)},
                                {"output_bytes", static_cast<double>(bytes)}}};
  finished.provenance.program_version = std::string(program_version());
  finished.provenance.model_sha256 = work.model_sha256;
  finished.provenance.format = work.recipe ? work.recipe->name : work.format;
  finished.provenance.host_id = probe_host_id();
  finished.provenance.threads = task.threads;
  finished.provenance.seed = task.lease.seed;
  return finished;
}

}  // namespace quantfleet::agent
