// Codes under group scales to floats, eight columns of sixteen rows at a time, in quarters of four rows: a lane is a row.
#include "backends/kernels/cpu/neon/grouped_codes.h"
#include "backends/kernels/cpu/neon/neon.h"

namespace quantfleet::neon {
namespace {

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task, int quarter) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  const unsigned char* place = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile + 4 * quarter;
  std::int64_t group = -1, group_end = task.begin;
  float32x4_t scale = vdupq_n_f32(0), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, place += 16 * kBits, target += 128) {
    Codes<kBits, kNumbers> codes;
    codes.read(place, quarter);
    const auto store = [&](int i) {
      const float32x4_t number = vmulq_n_f32(codes.value(i, table), kDivided<kNumbers>);
      vst1q_f32(target + 16 * i, vmulq_f32(vsubq_f32(number, zero), scale));
    };
    const std::int64_t count = task.end - k < 8 ? task.end - k : 8;
    if (!task.group_of && count == 8 && k + 8 <= group_end) {  // all of one group
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) store(i);
      continue;
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (i >= count) break;
      const std::int64_t now = task.group_of ? task.group_of[k + i] : k + i < group_end && group >= 0 ? group : (k + i) / task.group_size;
      if (now != group) {
        group = now;
        group_end = (group + 1) * task.group_size;
        scale = row_numbers(task, task.scales, group, quarter);
        if (task.zeros) zero = row_numbers(task, task.zeros, group, quarter);
      }
      store(i);
    }
  }
}

// Codes of different widths, each from its word.
void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const MixedColumn& column = task.mixed[k];
    const std::int64_t group = task.group_of[k];
    for (int quarter = 0; quarter < 4; ++quarter) {
      const uint32x4_t word = vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(task.codes + 64 * static_cast<std::int64_t>(column.word) + 16 * quarter)), vdupq_n_s32(-static_cast<int>(column.shift)));
      const uint32x4_t raised = vorrq_u32(vandq_u32(word, vdupq_n_u32(column.mask)), vdupq_n_u32(0x4b000000));
      float32x4_t value = vsubq_f32(vreinterpretq_f32_u32(raised), vdupq_n_f32(column.middle));
      if (task.zeros) value = vsubq_f32(value, row_numbers(task, task.zeros, group, quarter));
      vst1q_f32(task.tile + 16 * (k - task.begin) + 4 * quarter, vmulq_f32(value, row_numbers(task, task.scales, group, quarter)));
    }
  }
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed(task);
  for (int quarter = 0; quarter < 4; ++quarter) for_codes(task, [&]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task, quarter); });
}

}  // namespace quantfleet::neon
