#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"

namespace quantfleet::scalar {
namespace {

// The codes of a row's eight columns.
std::uint64_t string_of(const unsigned char* chunk, int bits, int row) {
  std::uint64_t string = 0;
  int place = 0;
  const auto add = [&](int bytes) {
    for (int i = 0; i < bytes; ++i, place += 8) string |= static_cast<std::uint64_t>(chunk[bytes * row + i]) << place;
    chunk += 16 * bytes;
  };
  for (int fours = bits / 4; fours > 0; --fours) add(4);
  if (bits & 2) add(2);
  if (bits & 1) add(1);
  return string;
}

// A column's code among codes of different widths.
int code_in_word(const GroupedTask& task, const MixedColumn& column, int row) {
  std::uint32_t word;
  __builtin_memcpy(&word, task.codes + 4 * (16 * column.word + static_cast<std::uint32_t>(row)), sizeof word);
  return static_cast<int>(word >> column.shift & column.mask);
}

float number_at(const GroupedTask& task, const unsigned char* numbers, std::int64_t index) {
  if (task.kept == 0) {
    float value;
    __builtin_memcpy(&value, numbers + 4 * index, 4);
    return value;
  }
  if (task.kept == 2) {
    const std::uint32_t bits = (numbers[index] & 127u) << 20 | (numbers[index] & 128u) << 24;
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value * 0x1p120f / task.divisor;
  }
  std::uint16_t half;
  __builtin_memcpy(&half, numbers + 2 * index, 2);
  return half_to_float(half);
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  std::uint64_t string[16] = {};
  float scale[16] = {}, zero[16] = {};
  std::int64_t of_group = -1;
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const std::int64_t group = task.group_of ? task.group_of[k] : k / task.group_size;
    for (int row = 0; row < 16 && group != of_group; ++row) {
      scale[row] = number_at(task, task.scales, 16 * group + row);
      if (task.zeros) zero[row] = number_at(task, task.zeros, 16 * group + row);
    }
    of_group = group;
    const int column = static_cast<int>(k % 8);
    for (int row = 0; row < 16 && !task.mixed && column == 0; ++row) string[row] = string_of(task.codes + k / 8 * 16 * task.bits, task.bits, row);
    for (int row = 0; row < 16; ++row) {
      const float number = task.mixed ? 0x1p23f + static_cast<float>(code_in_word(task, task.mixed[k], row)) - task.mixed[k].middle
                                      : task.number[string[row] >> (task.bits * column) & ((1u << task.bits) - 1)];
      task.tile[16 * (k - task.begin) + row] = (number - zero[row]) * scale[row];
    }
  }
}

}  // namespace quantfleet::scalar
