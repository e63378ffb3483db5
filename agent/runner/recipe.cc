#include "agent/runner/recipe.h"

#include "backends/calibration/calibrated_format.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_model.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::agent {

Status check_recipe(const FormatRecipe& recipe) {
  const auto usage = [](std::string sentence) { return Error{Code::kUsage, std::move(sentence)}; };
  const bool text = !recipe.text.empty() || !recipe.text_sha256.empty(), imatrix = !recipe.imatrix.empty() || !recipe.imatrix_sha256.empty();
  const bool calibrated = is_calibrated_format(recipe.format);
  if (!calibrated && (recipe.mse || recipe.round_to_nearest)) return usage("mse and round_to_nearest are of formats with a calibration text");
  if (recipe.rotate && imatrix) return usage("an importance matrix (imatrix) is of the model before its rotation; one of them is possible");
  if (recipe.format.empty()) return recipe.rotate ? Status(usage("a budget's model is not rotated (rotate)")) : Status();
  if (calibrated) {
    const auto format = parse_calibrated_format(recipe.format);
    if (!format) return format.error();
    if (!text) return usage(fmt::format("{} needs a calibration text (text: FILE)", format->name()));
    if (recipe.group_size > 0) return usage(fmt::format("{} says its group_size in its name", format->name()));
    if (recipe.mse && format->method != CalibratedFormat::Method::kGptq) return usage("mse is for GPTQ");
    if (recipe.smoothquant > 0 && format->method != CalibratedFormat::Method::kInt8) return usage("smoothquant is for w8a8-static");
    if (recipe.bpw != FormatRecipe().bpw && format->method != CalibratedFormat::Method::kExl2) return usage("bpw is for exl2");
    return {};
  }
  if (const LinearQuantizer* quantizer = find_linear_quantizer(recipe.format)) {
    if (text) return usage(fmt::format("{} takes no calibration text", quantizer->name));
    if (imatrix && !quantizer->uses_importance) return usage(fmt::format("{} does not weigh columns (imatrix)", quantizer->name));
    if (recipe.group_size > 0 && quantizer->group_size == 0) return usage(fmt::format("{} has no groups to choose (group_size)", quantizer->name));
    return {};
  }
  const auto names = quantize_format_names();
  if (std::find(names.begin(), names.end(), recipe.format) == names.end())
    return Error{Code::kUnknownFormat, fmt::format("no format is called {}; known are {}, those of folders (`quantfleet quantize --help`), GPTQ-..., AWQ-..., SparseGPT-..., exl2 and w8a8-static", recipe.format, fmt::join(names, ", "))};
  if (recipe.group_size > 0) return usage(fmt::format("{} has groups of its own (group_size)", recipe.format));
  if (text && recipe.rotate) return usage(fmt::format("{} takes its importance from the model before the rotation; one of text and rotate is possible", recipe.format));
  return {};
}

}  // namespace quantfleet::agent
