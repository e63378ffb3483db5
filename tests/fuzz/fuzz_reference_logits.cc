// Any bytes as a file of reference logits, then the digests of a self-test from the same bytes. A record that opens must
// give finite divergences, or an error.
#include "backends/engines/reference_logits.h"
#include "backends/engines/selftest.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("fuzz_reference_logits_" + std::to_string(::getpid()));
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) std::abort();
  std::fwrite(data, 1, size, file);
  std::fclose(file);
  const std::vector<std::int32_t> tokens = {5, 6, 7, 8};
  if (auto reader = ReferenceLogits::open(path, 3)) {
    for (const int window : {2, 4}) {
      const float model[3] = {-1.0f, -2.0f, -0.5f};
      if (!(*reader)->seek(rolling_key(window, tokens), 1)) continue;
      const auto row = (*reader)->compare(model, 2);
      if (row && !(std::isfinite(row->kl_lower) && row->kl_lower <= row->kl && row->kl_variance >= 0)) std::abort();
    }
  }
  (void)read_reference_facts(path);
  for (const std::size_t vocabulary : {1, 3, 8, 9, 1000}) {  // any bytes as a row: what decodes is a row that encodes again
    if (size < kReferenceRowBytes) break;
    ReferenceRow row;
    const auto bytes = std::span<const std::byte, kReferenceRowBytes>(reinterpret_cast<const std::byte*>(data), kReferenceRowBytes);
    if (!decode(bytes, vocabulary, row)) continue;
    const auto again = encode(row);
    if (!std::equal(bytes.begin(), bytes.end(), again.begin())) std::abort();
  }
  (void)parse_selftest_json(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
