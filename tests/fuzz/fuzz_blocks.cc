// Arbitrary bytes as blocks of every weight format: decoding and reading as integers touch nothing outside, whatever they say.
#include "backends/formats/block_format.h"
#include "backends/kernels/cpu/integer_formats.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  for (const BlockFormat* format : all_formats()) {
    const auto block = static_cast<std::size_t>(format->bytes_per_block);
    const auto count = static_cast<std::int64_t>(size / block);
    if (count == 0) continue;
    const std::unique_ptr<std::byte[]> blocks(new std::byte[static_cast<std::size_t>(count) * block]);  // exactly: overruns show
    for (std::size_t i = 0; i < static_cast<std::size_t>(count) * block; ++i) blocks[i] = static_cast<std::byte>(data[i]);
    std::vector<float> values(static_cast<std::size_t>(count * format->values_per_block));
    format->decode(blocks.get(), count, values.data());
    if (const IntegerFormat* integers = find_integer_format(format->ggml_type)) {
      CodeBlock codes;
      integers->read(reinterpret_cast<const unsigned char*>(blocks.get()) + (count - 1) * integers->bytes, codes);
    }
  }
  return 0;
}
