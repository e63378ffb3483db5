// Importance matrices: the mean squared input of every column of the weight matrices, over a calibration text; of experts, over the
// tokens that met them. Weights are
// decoded, activations F32. Sums are chains over the tokens in order, in double: the same for any thread count, window
// batch and instruction set.
#pragma once

#include "backends/calibration/calibration_text.h"
#include "backends/formats/gguf.h"
#include "backends/models/transformer.h"
#include "backends/quantizers/imatrix_file.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct ImportanceOptions {
  std::filesystem::path model;         // a GGUF file or a Hugging Face folder
  CalibrationTextOptions text;
  bool with_output = false;            // output.weight, too
  int threads = 1;
  std::string kernels;                 // "": the best of this CPU
  std::function<bool(std::uint64_t tokens_done, std::uint64_t tokens_total)> progress;  // false: stop
};

struct ImportanceReport {
  ImportanceMatrix matrix;
  CalibrationText text;
  std::string model_name, kernels;
  double seconds = 0;
};

// Errors: those of the reader, the model and the text; kNonFinite names the tensor; kInterrupted.
Result<ImportanceReport> collect_importance(const ImportanceOptions& options);

// The weight matrices of `file` that multiply this input, in the order in which their rows are stacked. kOutput: output.weight, or the
// embedding where it is the output matrix as well.
std::vector<std::string> weights_behind(const GgufFile& file, int layer, ProductInput input);

// Runs windows through the model, several at once; the observer sees what the products multiply.
Status observe_windows(Transformer& transformer, std::span<const std::vector<std::int32_t>> windows, bool with_output, InputObserver& observer,
                       const std::function<bool(std::uint64_t tokens_done, std::uint64_t tokens_total)>& progress);

}  // namespace quantfleet
