// Any bytes as a set of token probes: refused with a sentence, or read so that it reads back the same.
#include "backends/engines/token_probes.h"

#include <cstdlib>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto probes = decode_token_probes({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!probes) {
    if (probes.error().detail.empty()) std::abort();
    return 0;
  }
  if (probes->empty() || decode_token_probes(encode_token_probes(*probes), "again").value() != *probes) std::abort();
  return 0;
}
