#include "backends/calibration/calibration_text.h"

#include "backends/formats/file_hash.h"
#include "backends/formats/mapped_file.h"
#include "backends/models/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace quantfleet {

namespace {
constexpr std::size_t kTextMaxBytes = std::size_t{1} << 30;
}

std::vector<std::int64_t> choose_windows(std::int64_t total, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(total));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  if (count <= 0 || count >= total) return all;
  // Fisher & Yates, as far as needed. The remainder favours low numbers by less than total / 2^64.
  for (std::int64_t i = 0; i < count; ++i) {
    const auto left = static_cast<std::uint64_t>(total - i);
    std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(i) + random_bits(seed, static_cast<std::uint64_t>(i)) % left]);
  }
  all.resize(static_cast<std::size_t>(count));
  std::sort(all.begin(), all.end());
  return all;
}

Result<CalibrationText> read_calibration_text(const Tokenizer& tokenizer, const CalibrationTextOptions& options) {
  auto file = MappedFile::open(options.path, "a calibration text");
  if (!file) return file.error();
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() > kTextMaxBytes)
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes; a calibration text has at most {}", options.path.string(), bytes.size(), kTextMaxBytes)};
  const std::vector<std::int32_t> tokens =
      tokenizer.encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, true, false);
  CalibrationText text;
  text.name = options.path.filename().string();
  text.sha256 = sha256_of_bytes(bytes);
  const auto window = static_cast<std::size_t>(options.context_tokens);
  text.windows_in_text = static_cast<std::int64_t>(tokens.size() / window);
  if (text.windows_in_text == 0)
    return Error{Code::kBadShape, fmt::format("{}: the calibration text has {} tokens; one window of {} is the least (--context)",
                                              options.path.string(), tokens.size(), window)};
  const auto bos = tokenizer.vocabulary().bos;
  for (const std::int64_t index : choose_windows(text.windows_in_text, options.count_windows, options.seed)) {
    const auto begin = tokens.begin() + index * static_cast<std::int64_t>(window);
    text.windows.emplace_back(begin, begin + static_cast<std::int64_t>(window));
    if (tokenizer.adds_bos() && bos) text.windows.back().front() = *bos;
  }
  return text;
}

}  // namespace quantfleet
