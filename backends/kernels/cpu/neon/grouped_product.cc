// Codes under group scales times one token: values go from the codes into the chain. Quarters of panels run side by side, because a chain
// waits for each of its sums.
#include "backends/kernels/cpu/neon/grouped_codes.h"
#include "backends/kernels/cpu/neon/neon.h"

namespace quantfleet::neon {
namespace {

constexpr int kPanelsAtOnce = 2;

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  constexpr int kQuarters = 4 * kPanels;
  float32x4_t sum[kQuarters], scale[kQuarters], zero[kQuarters];
  for (int q = 0; q < kQuarters; ++q) sum[q] = vdupq_n_f32(0);
  for (std::int64_t group = 0, begin = 0; begin < task.end; ++group, begin += task.group_size) {
    for (int q = 0; q < kQuarters; ++q) {  // times the divisor: exact, as scales are at most 1e30
      const std::int64_t at = (panel + q / 4) * task.panel_bytes;
      scale[q] = vmulq_n_f32(row_numbers(task, task.scales + at, group, q % 4), kDivided<kNumbers>);
      if constexpr (kZeros) zero[q] = row_numbers(task, task.zeros + at, group, q % 4);
    }
    const std::int64_t end = task.end - begin < task.group_size ? task.end : begin + task.group_size;
    for (std::int64_t k = begin; k < end; k += 8) {
#pragma GCC unroll 8
      for (int q = 0; q < kQuarters; ++q) {
        Codes<kBits, kNumbers> codes;
        codes.read(task.codes + (panel + q / 4) * task.panel_bytes + 2 * kBits * k, q % 4);
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
          float32x4_t value = codes.value(i, table);
          if constexpr (kZeros) value = vsubq_f32(value, zero[q]);
          sum[q] = vfmaq_n_f32(sum[q], vmulq_f32(value, scale[q]), task.x[k + i]);
        }
      }
    }
  }
  for (int q = 0; q < kQuarters; ++q) {
    const std::int64_t row = 16 * (panel + q / 4) + 4 * (q % 4), rows = task.rows - row;
    if (rows >= 4) {
      vst1q_f32(task.y + row, sum[q]);
      continue;
    }
    float lanes[4];
    vst1q_f32(lanes, sum[q]);
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
    if (task.zeros) multiply<kBits, kNumbers, true>(task);
    else multiply<kBits, kNumbers, false>(task);
  });
}

}  // namespace quantfleet::neon
