// Codes under group scales times one token: values go from the codes into the chain. Quarters of panels run side by side, because a chain
// waits for each of its sums.
#include "backends/kernels/cpu/neon/grouped_codes.h"
#include "backends/kernels/cpu/neon/neon.h"

namespace quantfleet::neon {
namespace {

constexpr int kPanelsAtOnce = 2;

// Of quarters of panels.
template <int kQuarters>
struct Chains {
  float32x4_t sum[kQuarters], scale[kQuarters], zero[kQuarters];
};

// Columns [begin, end) of panels from `panel` on, all of a group.  kExact: FP8 numbers themselves, for scales that cannot take their divisor.
template <int kBits, int kNumbers, bool kZeros, bool kExact, int kQuarters>
QF_INLINE void multiply_group(const GroupedTask& task, int panel, std::int64_t begin, std::int64_t end, const CodeTable<kBits, kNumbers>& table, Chains<kQuarters>& chains) {
  for (std::int64_t k = begin; k < end; k += 8) {
#pragma GCC unroll 8
    for (int q = 0; q < kQuarters; ++q) {
      Codes<kBits, kNumbers> codes;
      codes.read(task.codes + (panel + q / 4) * task.panel_bytes + 2 * kBits * k, q % 4);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        float32x4_t value = codes.value(i, table);
        if constexpr (kZeros) value = vsubq_f32(value, chains.zero[q]);
        if constexpr (kExact) value = vmulq_n_f32(value, kDivided<kNumbers>);
        chains.sum[q] = vfmaq_n_f32(chains.sum[q], vmulq_f32(value, chains.scale[q]), task.x[k + i]);
      }
    }
  }
}

QF_INLINE bool take_divisor(float32x4_t scales) {
  return vminvq_u32(vcltq_f32(vabsq_f32(scales), vdupq_n_f32(grouped_formats::kTakesDivisor))) != 0;
}

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  constexpr int kQuarters = 4 * kPanels;
  Chains<kQuarters> chains;
  for (int q = 0; q < kQuarters; ++q) chains.sum[q] = vdupq_n_f32(0);
  for (std::int64_t group = 0, begin = 0; begin < task.end; ++group, begin += task.group_size) {
    bool all_take = true;
    for (int q = 0; q < kQuarters; ++q) {
      const std::int64_t at = (panel + q / 4) * task.panel_bytes;
      chains.scale[q] = row_numbers(task, task.scales + at, group, q % 4);
      if constexpr (kNumbers >= 2) all_take = all_take && take_divisor(chains.scale[q]);
      if constexpr (kZeros) chains.zero[q] = row_numbers(task, task.zeros + at, group, q % 4);
    }
    const std::int64_t end = task.end - begin < task.group_size ? task.end : begin + task.group_size;
    if constexpr (kNumbers >= 2) {
      if (!all_take) {
        multiply_group<kBits, kNumbers, kZeros, true>(task, panel, begin, end, table, chains);
        continue;
      }
      for (int q = 0; q < kQuarters; ++q) chains.scale[q] = vmulq_n_f32(chains.scale[q], kDivided<kNumbers>);  // exact
    }
    multiply_group<kBits, kNumbers, kZeros, false>(task, panel, begin, end, table, chains);
  }
  for (int q = 0; q < kQuarters; ++q) {
    const std::int64_t row = 16 * (panel + q / 4) + 4 * (q % 4), rows = task.rows - row;
    if (rows >= 4) {
      vst1q_f32(task.y + row, chains.sum[q]);
      continue;
    }
    float lanes[4];
    vst1q_f32(lanes, chains.sum[q]);
    for (std::int64_t r = 0; r < rows; ++r) task.y[row + r] = lanes[r];
  }
}

template <int kBits, int kNumbers, bool kZeros>
[[gnu::noinline]] void multiply(const GroupedTask& task) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  int panel = 0;
  for (; panel + kPanelsAtOnce <= task.panels; panel += kPanelsAtOnce) multiply_panels<kBits, kNumbers, kZeros, kPanelsAtOnce>(task, panel, table);
  for (; panel < task.panels; ++panel) multiply_panels<kBits, kNumbers, kZeros, 1>(task, panel, table);
}

}  // namespace

void multiply_grouped(const GroupedTask& task) {
  for_codes(task, [&task]<int kBits, int kNumbers>() {
    if constexpr (kNumbers < 2)
      if (task.zeros) return multiply<kBits, kNumbers, true>(task);
    multiply<kBits, kNumbers, false>(task);
  });
}

}  // namespace quantfleet::neon
