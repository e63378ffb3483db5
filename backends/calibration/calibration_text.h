// A calibration text: any text file, cut into windows of equally many tokens, all of them or a sample chosen by a seed.
#pragma once

#include "backends/tokenizers/tokenizer.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet {

struct CalibrationTextOptions {
  std::filesystem::path path;
  int context_tokens = 512;         // of a window
  std::int64_t count_windows = 0;   // at most so many; 0: all
  std::uint64_t seed = 0;           // chooses them
};

struct CalibrationText {
  std::vector<std::vector<std::int32_t>> windows;   // in the order of the text; where the model wants a BOS, it replaces the first token
  std::int64_t windows_in_text = 0;
  std::string name;                 // of the file
  std::string sha256;               // of the file's bytes
  std::int64_t count_tokens() const { return windows.empty() ? 0 : static_cast<std::int64_t>(windows.size() * windows[0].size()); }
};

// The text is tokenized as a whole; what remains behind the last whole window is dropped (llama-imatrix's convention).
// Errors: kNotFound, kIo, kTooLarge (over 1 GiB), kBadShape for a text shorter than one window.
Result<CalibrationText> read_calibration_text(const Tokenizer& tokenizer, const CalibrationTextOptions& options);

// `count` of 0 .. total-1 without repetition, ascending: the same for the same seed everywhere. All when count is 0 or too large.
std::vector<std::int64_t> choose_windows(std::int64_t total, std::int64_t count, std::uint64_t seed);

}  // namespace quantfleet
