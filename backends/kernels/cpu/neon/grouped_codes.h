// Codes of 1 to 8 bits in panels of sixteen rows (cpu/grouped_task.h), eight columns of four rows at a time, to numbers: a lane is a
// row; `quarter` says which four.
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

#include <arm_neon.h>

namespace quantfleet::neon {

using grouped_formats::kDivided;
using grouped_formats::kWindows;

namespace {

QF_INLINE uint32x4_t bytes4(const unsigned char* p) {
  std::uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(word))));
}

QF_INLINE float32x4_t from_halves(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }

// What turns codes of column i of a chunk into numbers: of integers what to take off, of a table the numbers' bytes.
template <int kBits, int kNumbers>
struct CodeTable {
  float32x4_t of[8];
  uint8x16x4_t bytes;

  QF_INLINE_MEMBER CodeTable(const float* number, int offset) {
    if constexpr (kNumbers == 0)
      for (int i = 0; i < 8; ++i) of[i] = vdupq_n_f32(static_cast<float>(1 << (23 - kBits * i % 16)) + static_cast<float>(offset));
    if constexpr (kNumbers == 1) {
      float numbers[16];
      for (int i = 0; i < 16; ++i) numbers[i] = number[i & ((1 << kBits) - 1)];
      for (int i = 0; i < 4; ++i) bytes.val[i] = vreinterpretq_u8_f32(vld1q_f32(numbers + 4 * i));
    }
  }
};

// The strings of eight columns' codes, through windows.
template <int kBits, int kNumbers>
struct Codes {
  uint32x4_t window[kWindows<kBits>];

  QF_INLINE_MEMBER void read(const unsigned char* p, int quarter) {
    const unsigned char* fours = p + 16 * quarter;
    if constexpr (kBits == 8) {
      for (int j = 0; j < 2; ++j) {
        window[2 * j] = vreinterpretq_u32_u8(vld1q_u8(fours + 64 * j));
        window[2 * j + 1] = vshrq_n_u32(window[2 * j], 16);
      }
      return;
    }
    const unsigned char *words = p + (kBits & 4) * 16 + 8 * quarter, *bytes = p + (kBits & 6) * 16 + 4 * quarter;
    uint32x4_t rest = vdupq_n_u32(0);  // behind the first 32 bits
    if constexpr ((kBits & 2) != 0) rest = vmovl_u16(vreinterpret_u16_u8(vld1_u8(words)));
    if constexpr ((kBits & 3) == 3) rest = vorrq_u32(rest, vshlq_n_u32(bytes4(bytes), 16));
    if constexpr ((kBits & 3) == 1) rest = bytes4(bytes);
    constexpr int kFirst = kBits & 4 ? 2 : 0;
    if constexpr (kFirst != 0) {
      window[0] = vreinterpretq_u32_u8(vld1q_u8(fours));
      window[1] = vshrq_n_u32(window[0], 16);
      if constexpr ((kBits & 3) != 0) window[1] = vorrq_u32(window[1], vshlq_n_u32(rest, 16));
    }
    if constexpr (kWindows<kBits> > kFirst) window[kFirst] = rest;
    if constexpr (kWindows<kBits> > kFirst + 1) window[kFirst + 1] = vshrq_n_u32(rest, 16);
  }

  // Column i's code where it stands, under the exponent that makes its bits units: 2^(23 - place) + code.
  QF_INLINE_MEMBER float32x4_t raised(int i) const {
    const int place = kBits * i % 16;
    const uint32x4_t mask = vdupq_n_u32(((1u << kBits) - 1) << place), exponent = vdupq_n_u32((150u - static_cast<unsigned>(place)) << 23);
    return vreinterpretq_f32_u32(vbslq_u32(mask, window[kBits * i / 16], exponent));
  }

  QF_INLINE_MEMBER float32x4_t value(int i, const CodeTable<kBits, kNumbers>& table) const {
    if constexpr (kNumbers == 0) return vsubq_f32(raised(i), table.of[i]);
    // the four bytes of a number
    const uint32x4_t code = vandq_u32(vshlq_u32(window[kBits * i / 16], vdupq_n_s32(-(kBits * i % 16))), vdupq_n_u32((1u << kBits) - 1));
    return vreinterpretq_f32_u8(vqtbl4q_u8(table.bytes, vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), code, 0x04040404))));
  }
};

// FP8: by the bits of an F32; numbers come out divided by kDivided.
template <int kNumbers>
  requires(kNumbers >= 2)
struct Codes<8, kNumbers> {
  uint32x4_t pair[2][2];  // the upper halves of numbers: columns 4 j and 4 j + 2; those behind them

  QF_INLINE_MEMBER static uint32x4_t upper_halves(int16x8_t codes) {
    const int16x8_t shifted = vshrq_n_s16(codes, kNumbers == 2 ? 4 : 3);
    return vreinterpretq_u32_u16(vandq_u16(vreinterpretq_u16_s16(shifted), vdupq_n_u16(kNumbers == 2 ? 0x87f0 : 0x8fe0)));
  }
  QF_INLINE_MEMBER void read(const unsigned char* p, int quarter) {
    for (int j = 0; j < 2; ++j) {
      const int16x8_t codes = vreinterpretq_s16_u8(vld1q_u8(p + 64 * j + 16 * quarter));
      pair[j][0] = upper_halves(vshlq_n_s16(codes, 8));
      pair[j][1] = upper_halves(codes);
    }
  }
  QF_INLINE_MEMBER float32x4_t value(int i, const CodeTable<8, kNumbers>&) const {
    const uint32x4_t halves = pair[i / 4][i % 2];
    return vreinterpretq_f32_u32(i % 4 < 2 ? vshlq_n_u32(halves, 16) : vandq_u32(halves, vdupq_n_u32(0xffff0000)));
  }
};

// A group's scales or zero points.
QF_INLINE float32x4_t row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int quarter) {
  if (task.kept == 0) return vreinterpretq_f32_u8(vld1q_u8(numbers + 64 * group + 16 * quarter));
  if (task.kept == 1) return from_halves(vreinterpret_u16_u8(vld1_u8(numbers + 32 * group + 8 * quarter)));
  std::uint32_t word;
  __builtin_memcpy(&word, numbers + 16 * group + 4 * quarter, sizeof word);
  const int32x4_t codes = vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(word))));
  const uint32x4_t bits = vandq_u32(vreinterpretq_u32_s32(vshlq_n_s32(codes, 20)), vdupq_n_u32(0x87f00000));
  return vdivq_f32(vmulq_n_f32(vreinterpretq_f32_u32(bits), kDivided<2>), vdupq_n_f32(task.divisor));
}

// Quarters of panels as the loops of cpu/grouped_decode.h and cpu/grouped_product.h see them.
struct GroupedLanes {
  using Vector = float32x4_t;
  static constexpr int kRows = 4, kParts = 4, kPanelsAtOnce = 2;
  static constexpr bool kVectorByVector = true;
  template <int kBits, int kNumbers>
  using CodesOf = Codes<kBits, kNumbers>;
  template <int kBits, int kNumbers>
  using TableOf = CodeTable<kBits, kNumbers>;

  // A column of codes of different widths.
  struct MixedCodes {
    int32x4_t shift;
    uint32x4_t mask;
    float32x4_t middle;
    std::int64_t at;  // bytes into the codes

    QF_INLINE_MEMBER explicit MixedCodes(const MixedColumn& column)
        : shift(vdupq_n_s32(-static_cast<int>(column.shift))), mask(vdupq_n_u32(column.mask)), middle(vdupq_n_f32(column.middle)), at(64 * static_cast<std::int64_t>(column.word)) {}
    QF_INLINE_MEMBER float32x4_t value(const unsigned char* codes, int quarter) const {
      const uint32x4_t word = vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(codes + at + 16 * quarter)), shift);
      return vsubq_f32(vreinterpretq_f32_u32(vbslq_u32(mask, word, vdupq_n_u32(0x4b000000))), middle);
    }
  };

  template <class AnyCodes>
  QF_INLINE_MEMBER static void read(AnyCodes& codes, const unsigned char* place, int quarter) { codes.read(place, quarter); }
  template <class AnyCodes>
  QF_INLINE_MEMBER static void read_stream(AnyCodes& codes, const unsigned char* place, int quarter) { codes.read(place, quarter); }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int quarter) { return row_numbers(task, numbers, group, quarter); }
  QF_INLINE_MEMBER static Vector all(float value) { return vdupq_n_f32(value); }
  QF_INLINE_MEMBER static Vector load(const float* p) { return vld1q_f32(p); }
  QF_INLINE_MEMBER static void store(float* p, Vector a) { vst1q_f32(p, a); }
  QF_INLINE_MEMBER static Vector add(Vector a, Vector b) { return vaddq_f32(a, b); }
  QF_INLINE_MEMBER static Vector sub(Vector a, Vector b) { return vsubq_f32(a, b); }
  QF_INLINE_MEMBER static Vector mul(Vector a, Vector b) { return vmulq_f32(a, b); }
  QF_INLINE_MEMBER static Vector fma(Vector a, float x, Vector c) { return vfmaq_n_f32(c, a, x); }
  // Integers that stay exact when 2^23 is added.
  QF_INLINE_MEMBER static bool whole(Vector a) {
    return vminvq_u32(vandq_u32(vceqq_f32(vrndnq_f32(a), a), vcleq_f32(vabsq_f32(a), all(0x1p20f)))) != 0;
  }
  QF_INLINE_MEMBER static bool take_divisor(Vector scales) { return vminvq_u32(vcltq_f32(vabsq_f32(scales), all(grouped_formats::kTakesDivisor))) != 0; }
  QF_INLINE_MEMBER static void store_rows(const GroupedTask& task, std::int64_t row, Vector sums) {
    const std::int64_t rows = task.rows - row;
    if (rows >= 4) return vst1q_f32(task.y + row, sums);
    float lanes[4];
    vst1q_f32(lanes, sums);
    for (std::int64_t r = 0; r < rows; ++r) task.y[row + r] = lanes[r];
  }
};

}  // namespace
}  // namespace quantfleet::neon
