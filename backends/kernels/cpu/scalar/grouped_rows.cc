#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"

namespace quantfleet::scalar {
namespace {

int code_at(const GroupedTask& task, std::int64_t k, int row) {
  const unsigned char* chunk = task.codes + k / 8 * 16 * task.bits;
  const int column = static_cast<int>(k % 8);
  if (task.bits == 8) return chunk[16 * column + row];
  int code = 0, shift = 0;
  if (task.bits & 4) code = chunk[16 * (column % 4) + row] >> (4 * (column / 4)) & 15, shift = 4, chunk += 64;
  if (task.bits & 2) code |= (chunk[16 * (column / 4) + row] >> (2 * (column % 4)) & 3) << shift, shift += 2, chunk += 32;
  if (task.bits & 1) code |= (chunk[row] >> column & 1) << shift;
  return code;
}

float number_at(const unsigned char* numbers, bool halves, std::int64_t index) {
  if (!halves) {
    float value;
    __builtin_memcpy(&value, numbers + 4 * index, 4);
    return value;
  }
  std::uint16_t half;
  __builtin_memcpy(&half, numbers + 2 * index, 2);
  return half_to_float(half);
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const std::int64_t group = task.group_of ? task.group_of[k] : k / task.group_size;
    for (int row = 0; row < 16; ++row) {
      const float zero = task.zeros ? number_at(task.zeros, task.halves, 16 * group + row) : 0.0f;
      task.tile[16 * (k - task.begin) + row] = (task.number[code_at(task, k, row)] - zero) * number_at(task.scales, task.halves, 16 * group + row);
    }
  }
}

}  // namespace quantfleet::scalar
