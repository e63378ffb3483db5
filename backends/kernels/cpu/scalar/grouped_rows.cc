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

int code_in_planes(const unsigned char* chunk, int bits, int column, int row) {
  if (bits == 8) return chunk[16 * column + row];
  int code = 0, shift = 0;
  if (bits & 4) code = chunk[16 * (column % 4) + row] >> (4 * (column / 4)) & 15, shift = 4, chunk += 64;
  if (bits & 2) code |= (chunk[16 * (column / 4) + row] >> (2 * (column % 4)) & 3) << shift, shift += 2, chunk += 32;
  if (bits & 1) code |= (chunk[row] >> column & 1) << shift;
  return code;
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
  const bool strings = !task.order;
  std::uint64_t string[16] = {};
  float scale[16] = {}, zero[16] = {};
  std::int64_t of_group = -1;
  for (std::int64_t place = task.begin; place < task.end; ++place) {
    const std::int64_t k = task.order ? task.order[place] : place, chunk = place / 8;
    const std::int64_t group = task.group_of ? task.group_of[k] : k / task.group_size;
    for (int row = 0; row < 16 && group != of_group; ++row) {
      scale[row] = number_at(task, task.scales, 16 * group + row);
      if (task.zeros) zero[row] = number_at(task, task.zeros, 16 * group + row);
    }
    of_group = group;
    const int bits = task.order ? task.chunk_bits[chunk] : task.bits, column = static_cast<int>(place % 8);
    const unsigned char* codes = task.codes + 16 * (task.order ? static_cast<std::int64_t>(task.chunk_begin[chunk]) : chunk * bits);
    for (int row = 0; row < 16 && strings && column == 0; ++row) string[row] = string_of(codes, bits, row);
    for (int row = 0; row < 16; ++row) {
      const int code = strings ? static_cast<int>(string[row] >> (bits * column)) & ((1 << bits) - 1) : code_in_planes(codes, bits, column, row);
      const float number = task.order ? static_cast<float>(code - (1 << (bits - 1))) : task.number[code];
      task.tile[16 * (k - task.begin) + row] = (number - zero[row]) * scale[row];
    }
  }
}

}  // namespace quantfleet::scalar
