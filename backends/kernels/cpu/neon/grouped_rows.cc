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

// Eight columns of codes of mixed widths, a vector each, less 2^(bits - 1).
QF_INLINE void unpack_planes(const unsigned char* p, int bits, int8x16_t (&codes)[8]) {
  uint8x16_t code[8];
  for (int i = 0; i < 8; ++i) code[i] = bits == 8 ? vld1q_u8(p + 16 * i) : vdupq_n_u8(0);
  if (bits & 4) {
    for (int j = 0; j < 4; ++j) {
      const uint8x16_t v = vld1q_u8(p + 16 * j);
      code[j] = vandq_u8(v, vdupq_n_u8(15));
      code[j + 4] = vshrq_n_u8(v, 4);
    }
    p += 64;
  }
  const auto add = [&](int i, uint8x16_t v, int from, int width, int to) {
    const uint8x16_t part = vandq_u8(vshlq_u8(v, vdupq_n_s8(static_cast<std::int8_t>(-from))), vdupq_n_u8(static_cast<std::uint8_t>((1 << width) - 1)));
    code[i] = vorrq_u8(code[i], vshlq_u8(part, vdupq_n_s8(static_cast<std::int8_t>(to))));
  };
  if (bits & 2) {
    for (int i = 0; i < 8; ++i) add(i, vld1q_u8(p + 16 * (i / 4)), 2 * (i % 4), 2, bits & 4);
    p += 32;
  }
  if (bits & 1)
    for (int i = 0; i < 8; ++i) add(i, vld1q_u8(p), i, 1, bits & 6);
  for (int i = 0; i < 8; ++i) codes[i] = vreinterpretq_s8_u8(vsubq_u8(code[i], vdupq_n_u8(static_cast<std::uint8_t>(1 << (bits - 1)))));
}

void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; k += 8) {
    int8x16_t codes[8];
    unpack_planes(task.codes + 16 * static_cast<std::int64_t>(task.chunk_begin[k / 8]), task.chunk_bits[k / 8], codes);
    for (int i = 0; i < 8 && k + i < task.end; ++i) {
      const std::int64_t column = task.order[k + i], group = task.group_of[column];
      const int16x8_t halves[2] = {vmovl_s8(vget_low_s8(codes[i])), vmovl_high_s8(codes[i])};
      for (int quarter = 0; quarter < 4; ++quarter) {
        const int16x8_t half = halves[quarter / 2];
        float32x4_t value = vcvtq_f32_s32(quarter % 2 ? vmovl_high_s16(half) : vmovl_s16(vget_low_s16(half)));
        if (task.zeros) value = vsubq_f32(value, row_numbers(task, task.zeros, group, quarter));
        vst1q_f32(task.tile + 16 * (column - task.begin) + 4 * quarter, vmulq_f32(value, row_numbers(task, task.scales, group, quarter)));
      }
    }
  }
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.order) return decode_mixed(task);
  for (int quarter = 0; quarter < 4; ++quarter) for_codes(task, [&]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task, quarter); });
}

}  // namespace quantfleet::neon
