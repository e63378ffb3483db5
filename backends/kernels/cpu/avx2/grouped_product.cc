// Codes under group scales times one token: values go from the codes into the chain. Two panels of two halves run side by side, because a
// chain waits four cycles for each of its sums.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kPanelsAtOnce = 2;

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  constexpr int kHalves = 2 * kPanels;
  const std::int64_t chunks = task.group_size / 8;
  const auto in_panel = [&](const unsigned char* first, int h) __attribute__((always_inline)) { return first + (panel + h / 2) * task.panel_bytes; };
  __m256 acc[kHalves], scale[kHalves], zero[kHalves];
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) acc[h] = zero[h] = scale[h] = _mm256_setzero_ps();
  std::int64_t left = 0, group = 0;  // chunks of the group
  for (std::int64_t k = 0; k < task.end; k += 8) {
    if (left-- == 0) {
      left = chunks - 1;
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {  // times the divisor: exact, as scales are at most 1e30
        scale[h] = _mm256_mul_ps(row_numbers(task, in_panel(task.scales, h), group, h % 2), _mm256_set1_ps(kDivided<kNumbers>));
        if constexpr (kZeros) zero[h] = row_numbers(task, in_panel(task.zeros, h), group, h % 2);
      }
      ++group;
    }
    Codes<kBits, kNumbers> codes[kHalves];
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) {
      const unsigned char* place = in_panel(task.codes, h) + 2 * kBits * k;
      if (h % 2 == 0)
        for (int line = 0; line < 16 * kBits; line += 64) _mm_prefetch(reinterpret_cast<const char*>(place + line + 4096), _MM_HINT_T1);
      codes[h].read(place, h % 2);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256 x = _mm256_set1_ps(task.x[k + i]);
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {
        __m256 value = codes[h].value(i, table);
        if constexpr (kZeros) value = _mm256_sub_ps(value, zero[h]);
        acc[h] = _mm256_fmadd_ps(_mm256_mul_ps(value, scale[h]), x, acc[h]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) {
    const std::int64_t row = 16 * (panel + h / 2) + 8 * (h % 2), rows = task.rows - row;
    if (rows >= 8) {
      _mm256_storeu_ps(task.y + row, acc[h]);
      continue;
    }
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, acc[h]);
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

}  // namespace quantfleet::avx2
