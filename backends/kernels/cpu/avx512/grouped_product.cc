// Codes under group scales times one token: values go from the codes into the chain. Panels run side by side, because a chain waits
// four cycles for each of its sums.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kPanelsAtOnce = 4;
constexpr int kAheadBytes = 2 << 10;  // of each panel: four streams at once leave the processor's prefetchers behind

// A chunk of eight columns, and what is asked for meanwhile.
template <int kBits, int kNumbers>
QF_INLINE void read_chunk(Codes<kBits, kNumbers>& chunk, const unsigned char* place) {
#pragma GCC unroll 2
  for (int line = 0; line < 16 * kBits; line += 64) _mm_prefetch(reinterpret_cast<const char*>(place + kAheadBytes + line), _MM_HINT_T1);
  chunk.read(place);
}

template <int kPanels>
struct Chains {
  __m512 sum[kPanels], scale[kPanels], zero[kPanels];
};

// Columns [begin, end) of panels from `codes` on, all of a group.  less: of Zeros::kWhole what to take off raised codes.
// kExact: FP8 numbers themselves, for scales that cannot take their divisor.
template <int kBits, int kNumbers, Zeros kZeros, bool kExact, int kPanels>
QF_INLINE void multiply_group(const GroupedTask& task, const unsigned char* codes, std::int64_t begin, std::int64_t end, const CodeTable<kBits, kNumbers>& table,
                              const float (*less)[kPanels][16], Chains<kPanels>& chains) {
  const unsigned char* place = codes + 2 * kBits * begin;
  for (std::int64_t k = begin; k < end; k += 8, place += 16 * kBits) {
    Codes<kBits, kNumbers> chunk[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) read_chunk(chunk[p], place + p * task.panel_bytes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 x = _mm512_set1_ps(task.x[k + i]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        __m512 value;
        if constexpr (kZeros == Zeros::kWhole) value = _mm512_sub_ps(chunk[p].raised(i), _mm512_load_ps(less[i % kPeriod<kBits>][p]));
        else value = chunk[p].value(i, table);
        if constexpr (kZeros == Zeros::kAny) value = _mm512_sub_ps(value, chains.zero[p]);
        if constexpr (kExact) value = _mm512_mul_ps(value, _mm512_set1_ps(kDivided<kNumbers>));
        chains.sum[p] = _mm512_fmadd_ps(_mm512_mul_ps(value, chains.scale[p]), x, chains.sum[p]);
      }
    }
  }
}

// Integers that stay exact when 2^23 is added.
QF_INLINE bool whole(__m512 zeros) {
  return _mm512_cmp_ps_mask(_mm512_roundscale_ps(zeros, 8), zeros, _CMP_EQ_OQ) == 0xffff && _mm512_cmp_ps_mask(_mm512_abs_ps(zeros), _mm512_set1_ps(0x1p20f), _CMP_LE_OQ) == 0xffff;
}

QF_INLINE bool take_divisor(__m512 scales) {
  return _mm512_cmp_ps_mask(_mm512_abs_ps(scales), _mm512_set1_ps(grouped_formats::kTakesDivisor), _CMP_LT_OQ) == 0xffff;
}

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const CodeTable<kBits, kNumbers>& table) {
  const std::int64_t at = panel * task.panel_bytes;
  alignas(64) float less[kPeriod<kBits>][kPanels][16];
  Chains<kPanels> chains;
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) chains.sum[p] = _mm512_setzero_ps();
  for (std::int64_t group = 0, begin = 0; begin < task.end; ++group, begin += task.group_size) {
    bool all_whole = kNumbers == 0, all_take = true;
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      chains.scale[p] = row_numbers(task, task.scales + at + p * task.panel_bytes, group);
      if constexpr (kNumbers >= 2) all_take = all_take && take_divisor(chains.scale[p]);
      if constexpr (kZeros) chains.zero[p] = row_numbers(task, task.zeros + at + p * task.panel_bytes, group);
      if constexpr (kZeros && kNumbers == 0) {
        all_whole = all_whole && whole(chains.zero[p]);
        for (int i = 0; i < kPeriod<kBits>; ++i) _mm512_store_ps(less[i][p], _mm512_add_ps(table.of[i], chains.zero[p]));
      }
    }
    const std::int64_t end = task.end - begin < task.group_size ? task.end : begin + task.group_size;
    const unsigned char* codes = task.codes + at;
    if constexpr (kNumbers >= 2) {
      if (!all_take) {
        multiply_group<kBits, kNumbers, Zeros::kNone, true, kPanels>(task, codes, begin, end, table, less, chains);
        continue;
      }
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) chains.scale[p] = _mm512_mul_ps(chains.scale[p], _mm512_set1_ps(kDivided<kNumbers>));  // exact
    }
    if constexpr (!kZeros) multiply_group<kBits, kNumbers, Zeros::kNone, false, kPanels>(task, codes, begin, end, table, less, chains);
    else if (kNumbers == 0 && all_whole) multiply_group<kBits, kNumbers, kNumbers == 0 ? Zeros::kWhole : Zeros::kAny, false, kPanels>(task, codes, begin, end, table, less, chains);
    else multiply_group<kBits, kNumbers, Zeros::kAny, false, kPanels>(task, codes, begin, end, table, less, chains);
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) store_rows(task, panel + p, chains.sum[p]);
}

// A column's group is any; the groups' numbers lie in the tile as floats.
template <int kBits, bool kZeros, int kPanels>
QF_INLINE void multiply_any_groups(const GroupedTask& task, int panel, const CodeTable<kBits, 0>& table) {
  const std::int64_t numbers = 16 * task.groups;
  const unsigned char* place = task.codes + panel * task.panel_bytes;
  __m512 sum[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    sum[p] = _mm512_setzero_ps();
    widen_numbers<kZeros>(task, panel + p, task.tile + 2 * p * numbers);
  }
  for (std::int64_t k = 0; k < task.end; k += 8, place += 16 * kBits) {
    Codes<kBits, 0> chunk[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) read_chunk(chunk[p], place + p * task.panel_bytes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 x = _mm512_set1_ps(task.x[k + i]);
      const float* of_group = task.tile + 16 * task.group_of[k + i];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        __m512 value = chunk[p].value(i, table);
        if constexpr (kZeros) value = _mm512_sub_ps(value, _mm512_load_ps(of_group + (2 * p + 1) * numbers));
        sum[p] = _mm512_fmadd_ps(_mm512_mul_ps(value, _mm512_load_ps(of_group + 2 * p * numbers)), x, sum[p]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) store_rows(task, panel + p, sum[p]);
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

}  // namespace quantfleet::avx512
