// Codes whose width differs from column to column (EXL2): each is taken from its word as the sums come to it.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kHalves = 4;  // of two panels

// How a column's codes become numbers.
struct Column {
  __m128i shift;
  __m256i mask;
  __m256 middle;
  std::int64_t at;  // bytes into the codes

  QF_INLINE_MEMBER explicit Column(const MixedColumn& column)
      : shift(_mm_cvtsi32_si128(static_cast<int>(column.shift))), mask(_mm256_set1_epi32(static_cast<int>(column.mask))), middle(_mm256_set1_ps(column.middle)),
        at(64 * static_cast<std::int64_t>(column.word)) {}

  QF_INLINE_MEMBER __m256 value(const unsigned char* codes, int half) const {
    const __m256i word = _mm256_srl_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + at + 32 * half)), shift);
    return _mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(word, mask), _mm256_set1_epi32(0x4b000000))), middle);
  }
};

}  // namespace

void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const Column column(task.mixed[k]);
    for (int half = 0; half < 2; ++half) {
      __m256 value = column.value(task.codes, half);
      if (task.zeros) value = _mm256_sub_ps(value, row_numbers(task, task.zeros, task.group_of[k], half));
      _mm256_store_ps(task.tile + 16 * (k - task.begin) + 8 * half, _mm256_mul_ps(value, row_numbers(task, task.scales, task.group_of[k], half)));
    }
  }
}

void multiply_mixed(const GroupedTask& task) {
  const std::int64_t numbers = 16 * task.groups;
  for (int panel = 0; panel < task.panels; panel += kHalves / 2) {
    const std::int64_t behind = panel + 1 < task.panels ? 1 : 0;  // a last single panel runs twice
    const unsigned char* codes = task.codes + panel * task.panel_bytes;
    for (int p = 0; p < kHalves / 2; ++p) widen_numbers<false>(task, panel + p * static_cast<int>(behind), task.tile + p * numbers);
    __m256 sum[kHalves];
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) sum[h] = _mm256_setzero_ps();
    for (std::int64_t k = 0; k < task.end; ++k) {
      const Column column(task.mixed[k]);
      const __m256 x = _mm256_set1_ps(task.x[k]);
      const float* scales = task.tile + 16 * task.group_of[k];
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {
        const __m256 value = column.value(codes + h / 2 * behind * task.panel_bytes, h % 2);
        sum[h] = _mm256_fmadd_ps(_mm256_mul_ps(value, _mm256_load_ps(scales + h / 2 * numbers + 8 * (h % 2))), x, sum[h]);
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < 2 + 2 * behind; ++h) store_rows(task, 16 * (panel + h / 2) + 8 * (h % 2), sum[h]);
  }
}

}  // namespace quantfleet::avx2
