// Codes under group scales to floats, eight columns of sixteen rows at a time, in quarters of four rows: a lane is a row.
#include "backends/kernels/cpu/neon/grouped_codes.h"
#include "backends/kernels/cpu/grouped_decode.h"
#include "backends/kernels/cpu/neon/neon.h"

namespace quantfleet::neon {
namespace {

struct Lanes {
  using Vector = float32x4_t;
  static constexpr int kRows = 4;
  template <class Codes>
  QF_INLINE_MEMBER static void read(Codes& codes, const unsigned char* place, int quarter) { codes.read(place, quarter); }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int quarter) { return row_numbers(task, numbers, group, quarter); }
  template <int kNumbers>
  QF_INLINE_MEMBER static void store(float* target, Vector number, Vector zero, Vector scale) {
    vst1q_f32(target, vmulq_f32(vsubq_f32(vmulq_n_f32(number, kDivided<kNumbers>), zero), scale));
  }
};

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task, int quarter) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  grouped_formats::decode_rows<Lanes, kBits, kNumbers, Codes<kBits, kNumbers>>(task, quarter, table);
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
