// Scalar truth: cpu/scalar/attention.cc. Scores: lanes are the 16 keys of a page, one chain over d. Outputs: lanes are d, one
// chain over keys. Pairs of query and head in a task share the loads of K and V.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/vector_math.h"
#include "backends/kernels/cpu/attention_rows.h"

namespace quantfleet::avx2 {
namespace {

using attention_rows::Row;
using attention_rows::Rows;

// Scores of kRows pairs with the keys of one page.
template <int kRows>
[[gnu::noinline]] void score_page(const Row* rows, const float* k, int head_dim, std::int64_t position) {
  __m256 low[kRows], high[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) low[r] = high[r] = _mm256_setzero_ps();
  for (int d = 0; d < head_dim; ++d) {
    const __m256 a = _mm256_loadu_ps(k + 16 * d), b = _mm256_loadu_ps(k + 16 * d + 8);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256 q = _mm256_set1_ps(rows[r].q[d]);
      low[r] = _mm256_fmadd_ps(q, a, low[r]);
      high[r] = _mm256_fmadd_ps(q, b, high[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    _mm256_store_ps(rows[r].scores + position, low[r]);
    _mm256_store_ps(rows[r].scores + position + 8, high[r]);
  }
}

float softmax_row(const Row& row, float scale, float softcap, const float* slope) {
  float max = -__builtin_inff();
  for (std::int64_t i = row.first; i <= row.last; ++i) {
    float s = row.scores[i] * scale;
    if (slope) s += *slope * static_cast<float>(i - row.last);
    if (softcap > 0) s = softcap * elementary::tanh(s / softcap);
    row.scores[i] = s;
    max = s > max ? s : max;
  }
  PartialSums sums;
  std::int64_t i = row.first;
  for (; i <= row.last && i % 16 != 0; ++i) sums.sums[i % 16] += row.scores[i] = elementary::exp(row.scores[i] - max);
  __m256 low = _mm256_load_ps(sums.sums), high = _mm256_load_ps(sums.sums + 8);
  const __m256 maxima = _mm256_set1_ps(max);
  for (; i + 16 <= row.last + 1; i += 16) {
    const __m256 a = exp(_mm256_sub_ps(_mm256_load_ps(row.scores + i), maxima));
    const __m256 b = exp(_mm256_sub_ps(_mm256_load_ps(row.scores + i + 8), maxima));
    _mm256_store_ps(row.scores + i, a);
    _mm256_store_ps(row.scores + i + 8, b);
    low = _mm256_add_ps(low, a);
    high = _mm256_add_ps(high, b);
  }
  put(sums, low, high);
  for (; i <= row.last; ++i) sums.sums[i % 16] += row.scores[i] = elementary::exp(row.scores[i] - max);
  return join(sums);
}

// out[r] += sum over keys [begin, end) of p[r][key] v[key].
template <int kRows>
[[gnu::noinline]] void weigh(const Row* rows, const float* const* pages, std::int64_t place, int head_dim, std::int64_t begin,
                             std::int64_t end) {
  if (begin >= end) return;
  int d = 0;
  for (; d + 16 <= head_dim; d += 16) {
    __m256 low[kRows], high[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) low[r] = _mm256_loadu_ps(rows[r].out + d), high[r] = _mm256_loadu_ps(rows[r].out + d + 8);
    for (std::int64_t key = begin; key < end; ++key) {
      const float* v = pages[key / 16] + place + (key % 16) * head_dim + d;
      const __m256 a = _mm256_loadu_ps(v), b = _mm256_loadu_ps(v + 8);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m256 p = _mm256_set1_ps(rows[r].scores[key]);
        low[r] = _mm256_fmadd_ps(p, a, low[r]);
        high[r] = _mm256_fmadd_ps(p, b, high[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(rows[r].out + d, low[r]), _mm256_storeu_ps(rows[r].out + d + 8, high[r]);
  }
  for (; d < head_dim; ++d)
    for (int r = 0; r < kRows; ++r) {
      float acc = rows[r].out[d];
      for (std::int64_t key = begin; key < end; ++key)
        acc = __builtin_fmaf(rows[r].scores[key], pages[key / 16][place + (key % 16) * head_dim + d], acc);
      rows[r].out[d] = acc;
    }
}

}  // namespace

void attend(const AttentionTask& task) {
  const AttentionArgs& args = *task.args;
  const Rows rows(task);
  for (std::int64_t page = rows.first / 16; page <= rows.last / 16; ++page) {
    const float* k = rows.pages[page] + rows.k_place;
    int r = 0;
    for (; r + 4 <= rows.count; r += 4) score_page<4>(rows.row + r, k, args.head_dim, 16 * page);
    for (; r < rows.count; ++r) score_page<1>(rows.row + r, k, args.head_dim, 16 * page);
  }
  float sums[kAttentionRows];
  for (int r = 0; r < rows.count; ++r) sums[r] = softmax_row(rows.row[r], args.scale, args.softcap, slope_of(task, r));
  const auto weigh_some = [&]<int kRows>(const Row* some, std::int64_t begin, std::int64_t end) { weigh<kRows>(some, rows.pages, rows.v_place, args.head_dim, begin, end); };
  attention_rows::weigh_all(rows, args.head_dim, sums, weigh_some, [](std::int64_t) {});
}

}  // namespace quantfleet::avx2
