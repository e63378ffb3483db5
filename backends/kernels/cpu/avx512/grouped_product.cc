// Codes under group scales times one token: values go from the codes into the chain. Panels run side by side, because a chain waits
// four cycles for each of its sums.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kPanelsAtOnce = 4;

// kGroupOf: a column's group is any; the groups' numbers lie in the tile as floats.
template <int kBits, int kNumbers, bool kZeros, bool kGroupOf, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  const std::int64_t at = panel * task.panel_bytes, chunks = task.group_size / 8, numbers = 16 * task.groups;
  if constexpr (kGroupOf)
    for (int p = 0; p < kPanels; ++p) {
      widen_numbers(task, task.scales + at + p * task.panel_bytes, task.tile + 2 * p * numbers);
      if (kZeros) widen_numbers(task, task.zeros + at + p * task.panel_bytes, task.tile + (2 * p + 1) * numbers);
    }
  const unsigned char* place = task.codes + at;
  __m512 acc[kPanels], scale[kPanels], zero[kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) acc[p] = zero[p] = scale[p] = _mm512_setzero_ps();
  std::int64_t left = 0, group = 0;  // chunks of the group
  for (std::int64_t k = 0; k < task.end; k += 8, place += 16 * kBits) {
    if (!kGroupOf && left-- == 0) {
      left = chunks - 1;
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {  // times the divisor: exact, as scales are at most 1e30
        scale[p] = _mm512_mul_ps(row_numbers(task, task.scales + at + p * task.panel_bytes, group), _mm512_set1_ps(kDivided<kNumbers>));
        if constexpr (kZeros) zero[p] = row_numbers(task, task.zeros + at + p * task.panel_bytes, group);
      }
      ++group;
    }
    Codes<kBits, kNumbers> codes[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      prefetch_chunk(place + p * task.panel_bytes, 16 * kBits);
      codes[p].read(place + p * task.panel_bytes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 x = _mm512_set1_ps(task.x[k + i]);
      const float* of_group = kGroupOf ? task.tile + 16 * task.group_of[k + i] : nullptr;
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        __m512 value = codes[p].value(i, table);
        if constexpr (kGroupOf) {
          if constexpr (kZeros) value = _mm512_sub_ps(value, _mm512_load_ps(of_group + (2 * p + 1) * numbers));
          value = _mm512_mul_ps(value, _mm512_load_ps(of_group + 2 * p * numbers));
        } else {
          if constexpr (kZeros) value = _mm512_sub_ps(value, zero[p]);
          value = _mm512_mul_ps(value, scale[p]);
        }
        acc[p] = _mm512_fmadd_ps(value, x, acc[p]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) store_rows(task, panel + p, acc[p]);
}

template <int kBits, int kNumbers, bool kZeros, bool kGroupOf>
[[gnu::noinline]] void multiply(const GroupedTask& task) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  int panel = 0;
  for (; panel + kPanelsAtOnce <= task.panels; panel += kPanelsAtOnce) multiply_panels<kBits, kNumbers, kZeros, kGroupOf, kPanelsAtOnce>(task, panel, table);
  for (; panel < task.panels; ++panel) multiply_panels<kBits, kNumbers, kZeros, kGroupOf, 1>(task, panel, table);
}

}  // namespace

void multiply_grouped(const GroupedTask& task) {
  if (task.order) return multiply_mixed(task);
  for_codes(task, [&task]<int kBits, int kNumbers>() {
    if constexpr (kNumbers == 0)
      if (task.group_of) return task.zeros ? multiply<kBits, 0, true, true>(task) : multiply<kBits, 0, false, true>(task);
    if (task.zeros) multiply<kBits, kNumbers, true, false>(task);
    else multiply<kBits, kNumbers, false, false>(task);
  });
}

}  // namespace quantfleet::avx512
