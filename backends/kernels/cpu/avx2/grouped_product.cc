// Codes under group scales times one token: values go from the codes into the chain. Two panels of two halves run side by side, because a
// chain waits four cycles for each of its sums.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kPanelsAtOnce = 2;

// Of halves of panels.
template <int kHalves>
struct Chains {
  __m256 sum[kHalves], scale[kHalves], zero[kHalves];
};

// Columns [begin, end) of panels from `codes` on, all of a group.  less: of Zeros::kWhole what to take off raised codes.
// kExact: FP8 numbers themselves, for scales that cannot take their divisor.
template <int kBits, int kNumbers, Zeros kZeros, bool kExact, int kHalves>
QF_INLINE void multiply_group(const GroupedTask& task, const unsigned char* codes, std::int64_t begin, std::int64_t end, const CodeTable<kBits, kNumbers>& table,
                              const float (*less)[kHalves][8], Chains<kHalves>& chains) {
  const unsigned char* place = codes + 2 * kBits * begin;
  for (std::int64_t k = begin; k < end; k += 8, place += 16 * kBits) {
    Codes<kBits, kNumbers> chunk[kHalves];
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) chunk[h].read(place + h / 2 * task.panel_bytes, h % 2);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256 x = _mm256_set1_ps(task.x[k + i]);
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {
        __m256 value;
        if constexpr (kZeros == Zeros::kWhole) value = _mm256_sub_ps(chunk[h].raised(i), _mm256_load_ps(less[i % kPeriod<kBits>][h]));
        else value = chunk[h].value(i, table);
        if constexpr (kZeros == Zeros::kAny) value = _mm256_sub_ps(value, chains.zero[h]);
        if constexpr (kExact) value = _mm256_mul_ps(value, _mm256_set1_ps(kDivided<kNumbers>));
        chains.sum[h] = _mm256_fmadd_ps(_mm256_mul_ps(value, chains.scale[h]), x, chains.sum[h]);
      }
    }
  }
}

// Integers that stay exact when 2^23 is added.
QF_INLINE bool whole(__m256 zeros) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), zeros), integer = _mm256_cmp_ps(_mm256_round_ps(zeros, 8), zeros, _CMP_EQ_OQ);
  return _mm256_movemask_ps(_mm256_and_ps(integer, _mm256_cmp_ps(magnitude, _mm256_set1_ps(0x1p20f), _CMP_LE_OQ))) == 0xff;
}

QF_INLINE bool take_divisor(__m256 scales) {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), scales);
  return _mm256_movemask_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(grouped_formats::kTakesDivisor), _CMP_LT_OQ)) == 0xff;
}

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  constexpr int kHalves = 2 * kPanels;
  alignas(32) float less[kPeriod<kBits>][kHalves][8];
  Chains<kHalves> chains;
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) chains.sum[h] = _mm256_setzero_ps();
  for (std::int64_t group = 0, begin = 0; begin < task.end; ++group, begin += task.group_size) {
    bool all_whole = kNumbers == 0, all_take = true;
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) {
      const std::int64_t at = (panel + h / 2) * task.panel_bytes;
      chains.scale[h] = row_numbers(task, task.scales + at, group, h % 2);
      if constexpr (kNumbers >= 2) all_take = all_take && take_divisor(chains.scale[h]);
      if constexpr (kZeros) chains.zero[h] = row_numbers(task, task.zeros + at, group, h % 2);
      if constexpr (kZeros && kNumbers == 0) {
        all_whole = all_whole && whole(chains.zero[h]);
        for (int i = 0; i < kPeriod<kBits>; ++i) _mm256_store_ps(less[i][h], _mm256_add_ps(table.of[i], chains.zero[h]));
      }
    }
    const std::int64_t end = task.end - begin < task.group_size ? task.end : begin + task.group_size;
    const unsigned char* codes = task.codes + panel * task.panel_bytes;
    if constexpr (kNumbers >= 2) {
      if (!all_take) {
        multiply_group<kBits, kNumbers, Zeros::kNone, true, kHalves>(task, codes, begin, end, table, less, chains);
        continue;
      }
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) chains.scale[h] = _mm256_mul_ps(chains.scale[h], _mm256_set1_ps(kDivided<kNumbers>));  // exact
    }
    if constexpr (!kZeros) multiply_group<kBits, kNumbers, Zeros::kNone, false, kHalves>(task, codes, begin, end, table, less, chains);
    else if (kNumbers == 0 && all_whole) multiply_group<kBits, kNumbers, kNumbers == 0 ? Zeros::kWhole : Zeros::kAny, false, kHalves>(task, codes, begin, end, table, less, chains);
    else multiply_group<kBits, kNumbers, Zeros::kAny, false, kHalves>(task, codes, begin, end, table, less, chains);
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) store_rows(task, 16 * (panel + h / 2) + 8 * (h % 2), chains.sum[h]);
}

// A column's group is any; the groups' numbers lie in the tile as floats.
template <int kBits, bool kZeros, int kPanels>
QF_INLINE void multiply_any_groups(const GroupedTask& task, int panel, const CodeTable<kBits, 0>& table) {
  constexpr int kHalves = 2 * kPanels;
  const std::int64_t numbers = 16 * task.groups;
  __m256 sum[kHalves];
  for (int p = 0; p < kPanels; ++p) widen_numbers<kZeros>(task, panel + p, task.tile + 2 * p * numbers);
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) sum[h] = _mm256_setzero_ps();
  for (std::int64_t k = 0; k < task.end; k += 8) {
    Codes<kBits, 0> chunk[kHalves];
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) chunk[h].read(task.codes + (panel + h / 2) * task.panel_bytes + 2 * kBits * k, h % 2);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256 x = _mm256_set1_ps(task.x[k + i]);
      const float* of_group = task.tile + 16 * task.group_of[k + i];
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {
        const float* of_rows = of_group + h / 2 * 2 * numbers + 8 * (h % 2);
        __m256 value = chunk[h].value(i, table);
        if constexpr (kZeros) value = _mm256_sub_ps(value, _mm256_load_ps(of_rows + numbers));
        sum[h] = _mm256_fmadd_ps(_mm256_mul_ps(value, _mm256_load_ps(of_rows)), x, sum[h]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) store_rows(task, 16 * (panel + h / 2) + 8 * (h % 2), sum[h]);
}

// Calls some_panels for as many panels at once as there are.
template <class SomePanels>
QF_INLINE void all_panels(const GroupedTask& task, SomePanels some_panels) {
  int panel = 0;
  for (; panel + kPanelsAtOnce <= task.panels; panel += kPanelsAtOnce) some_panels.template operator()<kPanelsAtOnce>(panel);
  for (; panel < task.panels; ++panel) some_panels.template operator()<1>(panel);
}

template <int kBits, int kNumbers, bool kZeros>
[[gnu::noinline]] void multiply(const GroupedTask& task) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  all_panels(task, [&]<int kPanels>(int panel) { multiply_panels<kBits, kNumbers, kZeros, kPanels>(task, panel, table); });
}

template <int kBits, bool kZeros>
[[gnu::noinline]] void multiply_with_group_of(const GroupedTask& task) {
  const CodeTable<kBits, 0> table(task.number, task.offset);
  all_panels(task, [&]<int kPanels>(int panel) { multiply_any_groups<kBits, kZeros, kPanels>(task, panel, table); });
}

}  // namespace

void multiply_grouped(const GroupedTask& task) {
  if (task.mixed) return multiply_mixed(task);
  for_codes(task, [&task]<int kBits, int kNumbers>() {
    if constexpr (kNumbers == 0)
      if (task.group_of) return task.zeros ? multiply_with_group_of<kBits, true>(task) : multiply_with_group_of<kBits, false>(task);
    if constexpr (kNumbers < 2)
      if (task.zeros) return multiply<kBits, kNumbers, true>(task);
    multiply<kBits, kNumbers, false>(task);
  });
}

}  // namespace quantfleet::avx2
