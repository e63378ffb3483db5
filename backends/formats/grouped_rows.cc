#include "backends/formats/grouped_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace quantfleet {
namespace {

// An FP8 number with its exponent and mantissa where F32 has them is too small by a power of two.
float fp8(unsigned code, int mantissa, float factor) {
  const float magnitude = std::bit_cast<float>((code & 127u) << (23 - mantissa)) * factor;
  return (code & 128u) ? -magnitude : magnitude;
}

float number_of(const GroupedRows& rows, int code) {
  switch (rows.numbers) {
    case CodeNumbers::kTable: return rows.table[static_cast<std::size_t>(code & 15)];
    case CodeNumbers::kE4m3: return fp8(static_cast<unsigned>(code), 3, 0x1p120f);
    case CodeNumbers::kE5m2: return fp8(static_cast<unsigned>(code), 2, 0x1p112f);
    default: return static_cast<float>(code - rows.offset);
  }
}

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t block = 0; block < count_blocks; ++block) {
    const GroupedRowsFormat* format = nullptr;
    std::memcpy(&format, blocks, sizeof format);
    const GroupedRows& rows = format->rows;
    const std::byte* scales = blocks + 8;
    const std::byte* zeros = scales + 4 * rows.groups;
    const std::byte* codes = zeros + (rows.zeros ? 4 * rows.groups : 0);
    for (std::int64_t k = 0; k < rows.columns; ++k) {
      const std::int64_t group = rows.group_of.empty() ? k / rows.group_size : rows.group_of[static_cast<std::size_t>(k)];
      float scale = 0, zero = 0;
      std::memcpy(&scale, scales + 4 * group, 4);
      if (rows.zeros) std::memcpy(&zero, zeros + 4 * group, 4);
      if (rows.kept == GroupNumbers::kE4m3) scale /= rows.divisor;
      const float number = rows.bits_of.empty() ? format->number[static_cast<std::size_t>(codes[k])]
                                                : static_cast<float>(static_cast<int>(codes[k]) - (1 << (rows.bits_of[static_cast<std::size_t>(k)] - 1)));
      values[k] = (number - zero) * scale;
    }
    blocks += format->block.bytes_per_block;
    values += rows.columns;
  }
}

std::string key_of(const GroupedRows& rows) {
  std::string key;
  const auto add = [&](const void* bytes, std::size_t size) { key.append(static_cast<const char*>(bytes), size); };
  const std::int64_t numbers[] = {static_cast<std::int64_t>(rows.numbers), rows.bits, rows.offset, rows.columns, rows.group_size, rows.groups, rows.zeros,
                                  static_cast<std::int64_t>(rows.kept), std::bit_cast<std::int32_t>(rows.divisor), static_cast<std::int64_t>(rows.bits_of.size())};
  add(numbers, sizeof numbers);
  add(rows.bits_of.data(), rows.bits_of.size());
  add(rows.table.data(), sizeof rows.table);
  add(rows.group_of.data(), rows.group_of.size() * sizeof(std::uint16_t));
  return key;
}

// How many codes of each width share a word.
struct Word {
  std::array<std::int64_t, 9> count{};
  std::int64_t bits = 0, uneven_bits = 0;  // uneven: of widths that fill no word by themselves
};

// The fullest that `room` bits can be with the codes that are left of `width` and fewer bits; among equals with the most uneven bits.
Word fullest_word(const std::array<std::int64_t, 9>& left, int width, std::int64_t room) {
  Word best;
  while (width >= 2 && left[static_cast<std::size_t>(width)] == 0) --width;
  if (width < 2) return best;
  for (std::int64_t n = std::min(left[static_cast<std::size_t>(width)], room / width); n >= 0 && best.uneven_bits < room; --n) {
    Word word = fullest_word(left, width - 1, room - n * width);
    word.count[static_cast<std::size_t>(width)] = n;
    word.bits += n * width;
    if (32 % width != 0) word.uneven_bits += n * width;
    if (std::pair(word.bits, word.uneven_bits) > std::pair(best.bits, best.uneven_bits)) best = word;
  }
  return best;
}

MixedWidths widths_of(const std::vector<std::uint8_t>& bits_of) {
  MixedWidths widths;
  widths.columns.resize(bits_of.size());
  for (std::size_t begin = 0; begin < bits_of.size(); begin += kWidthWindow) {
    const std::size_t end = std::min<std::size_t>(bits_of.size(), begin + kWidthWindow);
    std::array<std::vector<std::size_t>, 9> of_width;  // columns, the last first
    for (std::size_t k = end; k-- > begin;) of_width[bits_of[k]].push_back(k);
    for (std::size_t placed = begin; placed < end; ++widths.words) {
      std::array<std::int64_t, 9> left;
      for (std::size_t bits = 0; bits < left.size(); ++bits) left[bits] = static_cast<std::int64_t>(of_width[bits].size());
      const Word word = fullest_word(left, 8, 32);
      std::uint32_t shift = 0;
      for (std::uint32_t bits = 2; bits < word.count.size(); ++bits)
        for (std::int64_t i = 0; i < word.count[bits]; ++i, ++placed, shift += bits) {
          widths.columns[of_width[bits].back()] = {static_cast<std::uint32_t>(widths.words), shift, (1u << bits) - 1, 0x1p23f + static_cast<float>(1 << (bits - 1))};
          of_width[bits].pop_back();
        }
    }
  }
  return widths;
}

constexpr std::string_view kNames[] = {"INT0", "INT1-G", "INT2-G", "INT3-G", "INT4-G", "INT5-G", "INT6-G", "INT7-G", "INT8-G"};

}  // namespace

const BlockFormat* grouped_rows_format(const GroupedRows& rows) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<const GroupedRowsFormat>> formats;
  const std::lock_guard lock(mutex);
  auto& format = formats[key_of(rows)];
  if (!format) {
    auto made = std::make_unique<GroupedRowsFormat>();
    const auto bytes = 8 + 4 * rows.groups * (rows.zeros ? 2 : 1) + rows.columns;
    const std::string_view name = rows.numbers == CodeNumbers::kTable  ? "TABLE4-G"
                                  : rows.numbers == CodeNumbers::kE4m3 ? "F8_E4M3"
                                  : rows.numbers == CodeNumbers::kE5m2 ? "F8_E5M2"
                                  : !rows.bits_of.empty()              ? "INT-G"
                                                                       : kNames[rows.bits];
    made->block = {name, kGroupedRowsType, static_cast<int>(rows.columns), static_cast<int>(bytes), 0, decode};
    made->rows = rows;
    made->widths = widths_of(rows.bits_of);
    for (int code = 0; code < 256; ++code) made->number[static_cast<std::size_t>(code)] = number_of(rows, code);
    format = std::move(made);
  }
  return &format->block;
}

const GroupedRowsFormat* as_grouped_rows(const BlockFormat& format) {
  return format.ggml_type == kGroupedRowsType ? reinterpret_cast<const GroupedRowsFormat*>(&format) : nullptr;
}

void store_grouped_row(const GroupedRowsFormat& format, const std::uint8_t* codes, const float* scales, const float* zeros, std::byte* block) {
  const GroupedRowsFormat* address = &format;
  const auto groups = static_cast<std::size_t>(format.rows.groups);
  std::memcpy(block, &address, sizeof address);
  std::memcpy(block + 8, scales, 4 * groups);
  if (format.rows.zeros) std::memcpy(block + 8 + 4 * groups, zeros, 4 * groups);
  std::memcpy(block + 8 + 4 * groups * (format.rows.zeros ? 2 : 1), codes, static_cast<std::size_t>(format.rows.columns));
}

}  // namespace quantfleet
