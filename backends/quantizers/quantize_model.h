// A GGUF model in, a GGUF model in another format out: chooses each tensor's format by the file-level mix (Q4_K_M and its
// like), encodes row by row on all threads, writes as it goes. The bytes do not depend on threads or instruction set.
#pragma once

#include "backends/formats/block_format.h"
#include "backends/quantizers/imatrix_file.h"
#include "backends/quantizers/rotation.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct QuantizeOptions {
  std::string format;                          // "Q4_K_M"
  std::filesystem::path importance_matrix;     // empty: none
  std::int64_t group_size = 0;                 // weights that share a scale, of Hugging Face formats with groups; 0: the usual number
  std::optional<Rotation> rotation;            // of the model before it is quantized; not with an importance matrix file
  int threads = 1;
  std::map<std::string, const BlockFormat*, std::less<>> formats;  // not empty: of these tensors, in place of a mix; the others stay as they are
  const ImportanceMatrix* importance = nullptr;                    // in place of a file
  std::vector<std::pair<std::string, std::string>> notes;          // further metadata
  std::string program_version;                 // recorded as quantfleet.program_version; empty: not recorded
  std::function<bool(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;  // false: stop, nothing is left behind
};

struct QuantizedTensor {
  std::string name;
  const BlockFormat* format = nullptr;
  std::uint64_t count_values = 0;
  double rmse = 0;                             // root of the mean squared difference to the input's values
  std::string stored_as;                       // where format is null: the Hugging Face format

  std::string_view format_name() const { return format ? format->name : std::string_view(stored_as); }
};

struct QuantizeReport {
  std::string format;
  std::uint64_t input_bytes = 0, output_bytes = 0;   // file sizes
  double bits_per_weight = 0;                        // all tensor bytes * 8 / all values
  double seconds = 0;
  std::vector<QuantizedTensor> tensors;
};

// Input: F32, F16, BF16 or quantized (then decoded first), one file or split. Memory: a few million values at a time.
// Errors: kUnknownFormat (name), kNonFinite (tensor, row and column), kBadValue (65520 or more where scales are
// binary16), kBadShape (importance of the wrong length), kInterrupted (progress said stop), and those of the reader and the writer.
Result<QuantizeReport> quantize_model(const std::filesystem::path& in, const std::filesystem::path& out,
                                      const QuantizeOptions& options);

// Error: kUsage where an importance matrix file and a rotation meet.
Status check_rotation(const QuantizeOptions& options);

// Names `quantize_model` accepts: F32, F16, BF16, Q8_0, Q4_0, ..., Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, ..., Q6_K.
std::span<const std::string_view> quantize_format_names();

// A matrix' mean squares as encoders take them: columns of importance zero would be free to become anything, so they count a millionth
// of the mean. All zero: empty.
std::vector<float> prepared_importance(const std::vector<float>& mean_square);

// Encodes whole rows of one tensor. importance: one weight per column, or nullptr. Finite input only (checked by the caller).
void encode_row(const BlockFormat& format, const float* row, std::int64_t count_values, const float* importance,
                std::byte* out);

}  // namespace quantfleet
