// BlockFormat: what the bits of one weight format mean. A row of a tensor is a whole number of blocks; a block is
// `values_per_block` values in `bytes_per_block` bytes. How codes are chosen is not here: see backends/quantizers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quantfleet {

struct BlockFormat {
  std::string_view name;        // "Q4_K": GGUF's name for it
  std::uint32_t ggml_type;      // GGUF's number for it
  int values_per_block;         // 1 for F32, F16, BF16; 32; 256
  int bytes_per_block;
  int activation_block;         // values per int8 activation scale (numerics.md rule 1): 32, 256; 0: f32 activations only

  // The definition of the format: blocks -> values, bit-exact with the specification.
  //   blocks: count_blocks * bytes_per_block bytes, any alignment;   values: count_blocks * values_per_block
  void (*decode)(const std::byte* blocks, std::int64_t count_blocks, float* values);

  double bits_per_value() const { return 8.0 * bytes_per_block / values_per_block; }
  // 0 when `count_values` is not a whole number of blocks.
  std::int64_t row_bytes(std::int64_t count_values) const {
    return count_values % values_per_block ? 0 : count_values / values_per_block * bytes_per_block;
  }
};

// The one visible list, in order of GGUF's numbers (catalog.cc). A new format adds its file, its test, one line there and
// a page or a row in docs/formats.
std::span<const BlockFormat* const> all_formats();
const BlockFormat* find_format(std::string_view name);        // nullptr when unknown
const BlockFormat* find_format(std::uint32_t ggml_type);      // nullptr when unknown

}  // namespace quantfleet
