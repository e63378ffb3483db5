// GPTQ, AWQ, static W8A8: a model and a calibration text in, a Hugging Face folder out that transformers, vLLM and the like load. The
// model is walked layer by layer: memory is one layer's weights and second moments, and the residual stream of the windows.
// The bytes depend on the model, the text, the options and the seed; not on threads or instruction set.
#pragma once

#include "backends/calibration/calibrated_format.h"
#include "backends/calibration/calibration_text.h"
#include "backends/quantizers/rotation.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace quantfleet {

struct CalibratedOptions {
  CalibratedFormat format;
  CalibrationTextOptions text;
  double damping = 0.01;               // GPTQ: share of the mean diagonal that is added to it
  bool search_grid = false;            // GPTQ: ranges of the groups by least squared rounding error (group_grid.h)
  double smoothing = 0;                // W8A8: SmoothQuant's alpha; 0: none
  double bits_per_weight = 4;          // EXL2: of the linear layers, scales and permutations included
  bool error_feedback = true;          // false: round to nearest on the same grid, to compare with
  std::optional<Rotation> rotation;    // of the model, before anything else
  int threads = 1;
  std::string kernels;                 // "": the best of this CPU
  std::string program_version;
  std::function<bool(std::uint64_t weights_done, std::uint64_t weights_total)> progress;  // false: stop, nothing is left behind
};

struct CalibratedTensor {
  std::string name, format;
  std::uint64_t count_values = 0;
  double rmse = 0;          // to the weights of the model (AWQ, SmoothQuant: to the scaled ones)
  double output_error = 0;  // squared error of the outputs over the calibration inputs, as a share of the outputs' squares
};

struct CalibratedReport {
  std::string format;
  std::uint64_t input_bytes = 0, output_bytes = 0;
  double bits_per_weight = 0, seconds = 0;
  std::int64_t windows = 0, windows_in_text = 0;
  std::string text_sha256;
  std::vector<CalibratedTensor> tensors;   // all of the model; those that stay as they are have errors of 0
};

// Errors: those of the reader, the text and the writer; kBadShape with the tensor where groups do not fit; kUnsupported.
Result<CalibratedReport> quantize_checkpoint(const std::filesystem::path& in, const std::filesystem::path& out, const CalibratedOptions& options);

}  // namespace quantfleet
