// Any bytes as a file of reference logits, then the digests of a self-test from the same bytes. A record that opens must
// give rows that are log-probabilities, or an error.
#include "backends/engines/reference_logits.h"
#include "backends/engines/selftest.h"

#include <unistd.h>

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
      std::vector<float> row(3);
      if ((*reader)->seek(rolling_key(window, tokens), 1) && (*reader)->row(row))
        for (const float value : row)
          if (!(value <= 0)) std::abort();
    }
  }
  (void)parse_selftest_json(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
