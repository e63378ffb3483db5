// Scalar truth: cpu/scalar/attention.cc. Scores: lanes are the 16 keys of a page, one chain over d. Outputs: lanes are d, one
// chain over keys. Pairs of query and head in a task share the loads of K and V.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/vector_math.h"

namespace quantfleet::avx2 {
namespace {

// Keys whose V all rows of a task read while it is in the first two levels of the cache.
constexpr std::int64_t kKeysTogether = 128;

struct Row {
  const float* q;
  float* out;
  float* scores;              // indexed by absolute position
  std::int64_t first, last;   // visible keys
};

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

// The keys of [from, to) that each row sees: those which all see together, before and behind them each row's own, in ascending order.
template <int kRows>
void weigh_all(const Row* rows, const float* const* pages, std::int64_t place, int head_dim, std::int64_t from, std::int64_t to) {
  std::int64_t firsts[kRows], ends[kRows];
  std::int64_t begin = from, end = to;
  for (int r = 0; r < kRows; ++r) {
    firsts[r] = rows[r].first > from ? rows[r].first : from;
    ends[r] = rows[r].last + 1 < to ? rows[r].last + 1 : to;
    begin = firsts[r] > begin ? firsts[r] : begin;
    end = ends[r] < end ? ends[r] : end;
  }
  if (begin > end) begin = end;
  for (int r = 0; r < kRows; ++r) weigh<1>(rows + r, pages, place, head_dim, firsts[r], ends[r] < begin ? ends[r] : begin);
  weigh<kRows>(rows, pages, place, head_dim, begin, end);
  for (int r = 0; r < kRows; ++r) weigh<1>(rows + r, pages, place, head_dim, firsts[r] > end ? firsts[r] : end, ends[r]);
}

}  // namespace

void attend(const AttentionTask& task) {
  const AttentionArgs& args = *task.args;
  const float* const* pages = args.pages[task.query_begin];
  const std::int64_t k_place = args.k_offset + task.kv_head * args.kv_head_stride;
  const std::int64_t v_place = args.v_offset + task.kv_head * args.kv_head_stride;
  Row rows[kAttentionRows];
  int count = 0;
  std::int64_t first = 0, last = 0;
  for (std::int64_t query = task.query_begin; query < task.query_end; ++query) {
    for (int head = task.head_begin; head < task.head_end; ++head, ++count) {
      Row& row = rows[count];
      row.q = args.q + query * args.q_stride + std::int64_t(head) * args.head_dim;
      row.out = args.out + query * args.out_stride + std::int64_t(head) * args.head_dim;
      row.scores = task.scores + count * task.score_stride;
      row.last = args.positions[query];
      row.first = args.window > 0 && row.last >= args.window ? row.last - args.window + 1 : 0;
      first = count == 0 || row.first < first ? row.first : first;
      last = row.last > last ? row.last : last;
      for (int d = 0; d < args.head_dim; ++d) row.out[d] = 0;
    }
  }
  const std::int64_t page = first / 16, page_end = last / 16 + 1;
  int r = 0;
  for (std::int64_t i = page; i < page_end; ++i) {
    const float* k = pages[i] + k_place;
    for (r = 0; r + 4 <= count; r += 4) score_page<4>(rows + r, k, args.head_dim, 16 * i);
    for (; r < count; ++r) score_page<1>(rows + r, k, args.head_dim, 16 * i);
  }

  float sums[kAttentionRows];
  for (r = 0; r < count; ++r) sums[r] = softmax_row(rows[r], args.scale, args.softcap, slope_of(task, r));

  for (std::int64_t from = first / 16 * 16; from <= last; from += kKeysTogether) {
    const std::int64_t to = from + kKeysTogether < last + 1 ? from + kKeysTogether : last + 1;
    for (r = 0; r + 4 <= count; r += 4) weigh_all<4>(rows + r, pages, v_place, args.head_dim, from, to);
    for (; r < count; ++r) weigh_all<1>(rows + r, pages, v_place, args.head_dim, from, to);
  }

  for (r = 0; r < count; ++r)
    for (int d = 0; d < args.head_dim; ++d) rows[r].out[d] /= sums[r];
}

}  // namespace quantfleet::avx2
