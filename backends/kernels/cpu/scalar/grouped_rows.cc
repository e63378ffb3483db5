#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"

namespace quantfleet::scalar {
namespace {

int code_at(const unsigned char* chunk, int bits, int column, int row) {
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

void decode_column(const GroupedTask& task, const unsigned char* chunk, int bits, int place, const float* number, int offset, std::int64_t k) {
  const std::int64_t group = task.group_of ? task.group_of[k] : k / task.group_size;
  for (int row = 0; row < 16; ++row) {
    const int code = code_at(chunk, bits, place, row);
    const float zero = task.zeros ? number_at(task, task.zeros, 16 * group + row) : 0.0f;
    task.tile[16 * (k - task.begin) + row] = ((number ? number[code] : static_cast<float>(code - offset)) - zero) * number_at(task, task.scales, 16 * group + row);
  }
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const std::int64_t chunk = k / 8;
    const int place = static_cast<int>(k % 8);
    if (!task.order) decode_column(task, task.codes + chunk * 16 * task.bits, task.bits, place, task.number, 0, k);
    else decode_column(task, task.codes + 16 * static_cast<std::int64_t>(task.chunk_begin[chunk]), task.chunk_bits[chunk], place, nullptr, 1 << (task.chunk_bits[chunk] - 1), task.order[k]);
  }
}

}  // namespace quantfleet::scalar
