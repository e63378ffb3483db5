// Lossless BF16, a layout of this program after DFloat11 (Zhang et al. 2025): trained weights use few exponents, so these go
// through a Huffman code; sign and mantissa stay bytes. Every row is a stream of its own: rows decode in parallel, bit for bit.
//   weight_sign_mantissa  U8 [N, K]   sign in bit 7, mantissa below
//   weight_exponents      U8 [bytes]  the rows' streams, each from a byte on, first bit highest
//   weight_row_bytes      U32 [N]     length of each stream
//   weight_code_lengths   U8 [256]    of each exponent's code, at most 12 bits, 0: unused; codes are canonical
// Spec: docs/formats/huggingface.md
#include "backends/formats/catalog.h"
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight_sign_mantissa", "weight_exponents", "weight_row_bytes", "weight_code_lengths"};
constexpr int kLengthMax = 12;

using Lengths = std::array<std::uint8_t, 256>;

// Canonical codes: by length, then by symbol.
std::array<std::uint16_t, 256> codes_of(const Lengths& lengths) {
  std::array<std::uint16_t, 256> codes{};
  std::uint16_t next = 0;
  for (int length = 1; length <= kLengthMax; ++length, next = static_cast<std::uint16_t>(next << 1))
    for (std::size_t symbol = 0; symbol < 256; ++symbol)
      if (lengths[symbol] == length) codes[symbol] = next++;
  return codes;
}

// Huffman's lengths; where one is too long, the counts are flattened until none is.
Lengths lengths_of(std::array<std::uint64_t, 256> counts) {
  for (;;) {
    struct Node {
      std::uint64_t count;
      int left, right, symbol;
    };
    std::vector<Node> nodes;
    std::vector<int> open;  // kept by descending count; ties by node, so that the tree is one for all machines
    for (int symbol = 0; symbol < 256; ++symbol)
      if (counts[static_cast<std::size_t>(symbol)] > 0) open.push_back(static_cast<int>(nodes.size())), nodes.push_back({counts[static_cast<std::size_t>(symbol)], -1, -1, symbol});
    Lengths lengths{};
    if (open.size() == 1) return lengths[static_cast<std::size_t>(nodes[0].symbol)] = 1, lengths;
    const auto later = [&](int a, int b) { return std::pair(nodes[static_cast<std::size_t>(a)].count, a) > std::pair(nodes[static_cast<std::size_t>(b)].count, b); };
    while (open.size() > 1) {
      std::sort(open.begin(), open.end(), later);
      const int right = open.back();
      open.pop_back();
      const int left = open.back();
      open.back() = static_cast<int>(nodes.size());
      nodes.push_back({nodes[static_cast<std::size_t>(left)].count + nodes[static_cast<std::size_t>(right)].count, left, right, -1});
    }
    int longest = 0;
    std::vector<std::pair<int, int>> walk = {{open.empty() ? -1 : open[0], 0}};
    while (!walk.empty()) {
      const auto [index, depth] = walk.back();
      walk.pop_back();
      if (index < 0) continue;
      const Node& node = nodes[static_cast<std::size_t>(index)];
      if (node.symbol >= 0) lengths[static_cast<std::size_t>(node.symbol)] = static_cast<std::uint8_t>(depth), longest = std::max(longest, depth);
      else walk.push_back({node.left, depth + 1}), walk.push_back({node.right, depth + 1});
    }
    if (longest <= kLengthMax) return lengths;
    for (std::uint64_t& count : counts)
      if (count > 0) count = count / 2 + 1;
  }
}

class LosslessWeight final : public LinearWeight {
 public:
  LosslessWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  const BlockFormat* format() const override { return &kBF16; }
  void store(std::int64_t row, std::byte* blocks) const override {
    const std::byte* next = streams->bytes.data() + begins[static_cast<std::size_t>(row)];
    const std::byte* end = streams->bytes.data() + begins[static_cast<std::size_t>(row) + 1];
    const std::byte* signs = sign_mantissa->bytes.data() + row * columns();
    std::uint64_t bits = 0;  // the next bits, highest first
    int count = 0;
    for (std::int64_t k = 0; k < columns(); ++k) {
      while (count <= 56) {  // behind the stream come zeros
        bits |= static_cast<std::uint64_t>(next < end ? *next : std::byte{0}) << (56 - count);
        next += next < end;
        count += 8;
      }
      const std::uint16_t entry = table[bits >> (64 - kLengthMax)];
      bits <<= entry >> 8;
      count -= entry >> 8;
      const auto sign = static_cast<unsigned>(signs[k]);
      const auto value = static_cast<std::uint16_t>((sign & 0x80) << 8 | (entry & 0xff) << 7 | (sign & 0x7f));
      std::memcpy(blocks + 2 * k, &value, 2);
    }
  }
  void decode(std::int64_t row, float* values) const override {
    std::vector<std::byte> blocks(static_cast<std::size_t>(2 * columns()));
    store(row, blocks.data());
    kBF16.decode(blocks.data(), columns(), values);
  }

  std::vector<std::uint16_t> table;   // [2^12]: length << 8 | exponent
  std::vector<std::int64_t> begins;   // [N + 1]
  const SafetensorsArray *streams = nullptr, *sign_mantissa = nullptr;
};

Result<std::string> describe(JsonReader&) { return std::string("lossless-bf16"); }

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader&) {
  if (!module.find("weight_sign_mantissa")) return std::unique_ptr<LinearWeight>();
  const auto signs = module.get("weight_sign_mantissa", "U8", {-1, -1});
  if (!signs) return signs.error();
  const std::int64_t rows = (*signs)->shape[0], columns = (*signs)->shape[1];
  if (rows == 0 || columns == 0) return module.bad(Code::kBadShape, fmt::format("{}.weight_sign_mantissa is empty", module.name));
  const auto streams = module.get("weight_exponents", "U8", {-1});
  if (!streams) return streams.error();
  const auto sizes = module.get("weight_row_bytes", "U32", {rows});
  if (!sizes) return sizes.error();
  const auto stored = module.get("weight_code_lengths", "U8", {256});
  if (!stored) return stored.error();
  Lengths lengths{};
  std::uint32_t places = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    lengths[i] = static_cast<std::uint8_t>((*stored)->bytes[i]);
    if (lengths[i] > kLengthMax) return module.bad(Code::kBadValue, fmt::format("{}.weight_code_lengths[{}] is {}; at most {} bits", module.name, i, lengths[i], kLengthMax));
    if (lengths[i] > 0) places += 1u << (kLengthMax - lengths[i]);
  }
  if (places > 1u << kLengthMax || places == 0) return module.bad(Code::kBadValue, fmt::format("{}.weight_code_lengths are not those of a prefix code", module.name));
  auto weight = std::make_unique<LosslessWeight>(rows, columns);
  weight->streams = *streams;
  weight->sign_mantissa = *signs;
  // Bits that no code begins with (only in damaged streams) count as one bit of exponent 0.
  weight->table.assign(1u << kLengthMax, 1 << 8);
  const auto codes = codes_of(lengths);
  for (std::size_t symbol = 0; symbol < 256; ++symbol) {
    if (lengths[symbol] == 0) continue;
    const int spare = kLengthMax - lengths[symbol];
    std::fill_n(weight->table.begin() + (codes[symbol] << spare), 1 << spare, static_cast<std::uint16_t>(lengths[symbol] << 8 | static_cast<int>(symbol)));
  }
  weight->begins = {0};
  for (std::int64_t n = 0; n < rows; ++n) {
    weight->begins.push_back(weight->begins.back() + word_at(**sizes, n));
    if (weight->begins.back() > (*streams)->count_values()) return module.bad(Code::kTruncated, fmt::format("{}.weight_exponents ends before row {} does", module.name, n));
  }
  if (weight->begins.back() != (*streams)->count_values()) return module.bad(Code::kBadShape, fmt::format("{}.weight_exponents has more bytes than its rows", module.name));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

std::vector<StoredArray> pack_lossless(std::int64_t rows, std::int64_t columns, std::span<const std::uint16_t> values) {
  std::array<std::uint64_t, 256> counts{};
  for (const std::uint16_t value : values) ++counts[value >> 7 & 0xff];
  const Lengths lengths = lengths_of(counts);
  const auto codes = codes_of(lengths);
  std::vector<std::uint8_t> signs, streams;
  signs.reserve(values.size());
  std::vector<std::uint32_t> sizes;
  for (std::int64_t n = 0; n < rows; ++n) {
    const std::size_t begin = streams.size();
    std::uint32_t bits = 0;
    int count = 0;
    for (const std::uint16_t value : values.subspan(static_cast<std::size_t>(n * columns), static_cast<std::size_t>(columns))) {
      const std::size_t exponent = value >> 7 & 0xff;
      signs.push_back(static_cast<std::uint8_t>((value >> 8 & 0x80) | (value & 0x7f)));
      bits = bits << lengths[exponent] | codes[exponent];
      for (count += lengths[exponent]; count >= 8; count -= 8) streams.push_back(static_cast<std::uint8_t>(bits >> (count - 8)));
    }
    if (count > 0) streams.push_back(static_cast<std::uint8_t>(bits << (8 - count)));
    sizes.push_back(static_cast<std::uint32_t>(streams.size() - begin));
  }
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight_sign_mantissa", "U8", {rows, columns}, signs));
  arrays.push_back(stored_array("weight_exponents", "U8", {static_cast<std::int64_t>(streams.size())}, streams));
  arrays.push_back(stored_array("weight_row_bytes", "U32", {rows}, sizes));
  arrays.push_back(stored_array("weight_code_lengths", "U8", {256}, std::vector<std::uint8_t>(lengths.begin(), lengths.end())));
  return arrays;
}

const LinearFormat kLossless = {"quantfleet-lossless", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
