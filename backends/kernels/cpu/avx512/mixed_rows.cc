// Codes whose width differs from column to column (EXL2): each is taken from its word as the sums come to it.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kPanelsAtOnce = 4;

// How a column's codes become numbers.
struct Column {
  __m512i shift, mask;
  __m512 middle;
  std::int64_t at;  // bytes into the codes

  QF_INLINE_MEMBER explicit Column(const MixedColumn& column)
      : shift(_mm512_set1_epi32(static_cast<int>(column.shift))), mask(_mm512_set1_epi32(static_cast<int>(column.mask))), middle(_mm512_set1_ps(column.middle)),
        at(64 * static_cast<std::int64_t>(column.word)) {}

  QF_INLINE_MEMBER __m512 value(const unsigned char* codes) const {
    const __m512i word = _mm512_srlv_epi32(_mm512_loadu_si512(codes + at), shift);
    return _mm512_sub_ps(_mm512_castsi512_ps(_mm512_ternarylogic_epi32(word, mask, _mm512_set1_epi32(0x4b000000), 0xea)), middle);
  }
};

template <int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel) {
  const std::int64_t numbers = 16 * task.groups;
  const unsigned char* codes = task.codes + panel * task.panel_bytes;
  __m512 sum[kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    sum[p] = _mm512_setzero_ps();
    widen_numbers<false>(task, panel + p, task.tile + p * numbers);
  }
  for (std::int64_t k = 0; k < task.end; ++k) {
    const Column column(task.mixed[k]);
    const __m512 x = _mm512_set1_ps(task.x[k]);
    const float* scales = task.tile + 16 * task.group_of[k];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) sum[p] = _mm512_fmadd_ps(_mm512_mul_ps(column.value(codes + p * task.panel_bytes), _mm512_load_ps(scales + p * numbers)), x, sum[p]);
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) store_rows(task, panel + p, sum[p]);
}

}  // namespace

void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    __m512 value = Column(task.mixed[k]).value(task.codes);
    if (task.zeros) value = _mm512_sub_ps(value, row_numbers(task, task.zeros, task.group_of[k]));
    _mm512_store_ps(task.tile + 16 * (k - task.begin), _mm512_mul_ps(value, row_numbers(task, task.scales, task.group_of[k])));
  }
}

void multiply_mixed(const GroupedTask& task) {
  int panel = 0;
  for (; panel + kPanelsAtOnce <= task.panels; panel += kPanelsAtOnce) multiply_panels<kPanelsAtOnce>(task, panel);
  for (; panel < task.panels; ++panel) multiply_panels<1>(task, panel);
}

}  // namespace quantfleet::avx512
