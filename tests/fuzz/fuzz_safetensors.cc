// Any bytes: a safetensors file or one sentence; every array of what is accepted lies inside the bytes.
#include "backends/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  const auto file = SafetensorsFile::parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz.safetensors");
  if (!file) {
    if (file.error().detail.empty()) __builtin_trap();
    return 0;
  }
  unsigned sum = 0;
  for (const SafetensorsArray& array : (*file)->arrays()) {
    if (array.count_values() * safetensors_bits(array.dtype) != static_cast<std::int64_t>(array.bytes.size()) * 8) __builtin_trap();
    for (const std::byte byte : array.bytes) sum += static_cast<unsigned>(byte);
  }
  static volatile unsigned sink;
  sink = sum;
  return 0;
}
