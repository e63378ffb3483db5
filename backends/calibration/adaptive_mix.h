// Adaptive mixed precision: given a budget of bytes, the format of each tensor that costs least, as measured on a calibration
// text, in an ordinary GGUF file that other engines load.
//   1. For each matrix and candidate format: the error of its outputs over the calibration inputs, as a share (from second moments).
//   2. For each matrix: how far the model's distribution moves (mean KL divergence on some windows) when it alone is stored in a
//      probe format near the budget. Divergence per error is the matrix' sensitivity.
//   3. The formats that minimise the sum of sensitivity * error within the budget: Lagrange multiplier, then single upgrades
//      while bytes are left (docs/formats/quantizers.md).
// The same model, text, budget and seed give the same bytes for any thread count and instruction set.
#pragma once

#include "backends/calibration/calibration_text.h"
#include "backends/formats/block_format.h"
#include "backends/quantizers/quantize_model.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {

struct BudgetOptions {
  double bits_per_weight = 0;           // of all tensors together; or
  std::uint64_t file_bytes = 0;         // at most so long a file
  CalibrationTextOptions text;
  std::int64_t probe_windows = 4;       // of the calibration's windows, for step 2
  std::vector<std::string> formats;     // candidates; empty: default_candidates()
  std::optional<Rotation> rotation;     // of the model, before anything else
  int threads = 1;
  std::string kernels, program_version;
  std::function<bool(std::uint64_t steps_done, std::uint64_t steps_total)> progress;  // false: stop
};

struct MixedTensor {
  std::string name;
  const BlockFormat* format = nullptr;
  double output_error = 0;     // of the chosen format, share of the outputs' squares
  double sensitivity = 0;      // nats per output error
  double divergence() const { return output_error * sensitivity; }   // predicted, nats
};

struct MixedReport {
  QuantizeReport written;
  CalibrationText text;
  std::string probe_format;
  double predicted_divergence = 0;      // nats: the sum over all tensors
  std::vector<MixedTensor> tensors;     // those that had a choice
};

std::vector<std::string> default_candidates();

// Errors: those of the reader and the text; kBadValue for a budget below what the smallest formats need (names it); kUnknownFormat.
Result<MixedReport> quantize_to_budget(const std::filesystem::path& in, const std::filesystem::path& out, const BudgetOptions& options);

// One option of one tensor, and the choice: options[tensor][i] with bytes and loss. The indices of the options that minimise the sum of
// losses with at most `budget` bytes; empty when even the smallest do not fit.
struct FormatOption {
  std::uint64_t bytes = 0;
  double loss = 0;
};
std::vector<std::size_t> allocate(std::span<const std::vector<FormatOption>> options, std::uint64_t budget);

}  // namespace quantfleet
