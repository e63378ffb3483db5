// Scalar truth: cpu/scalar/attention.cc. Scores: lanes are the 16 keys of a page, one chain over d. Outputs: lanes are d, one
// chain over keys. Pairs of query and head in a task share the loads of K and V; what a pair does not see is masked out.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/vector_math.h"
#include "backends/kernels/cpu/attention_rows.h"

namespace quantfleet::avx512 {
namespace {

using attention_rows::Row;
using attention_rows::Rows;
using attention_rows::kKeysTogether;

constexpr std::int64_t kAheadBytes = 24 << 10;

// What a task reads from memory, in its order: K of all pages, then V. Some lines of it are asked for with each step of the
// arithmetic, because the CPU's own prefetching ends where a page does and rests where nothing is read (softmax).
class Ahead {
 public:
  Ahead(const float* const* pages, std::int64_t count, std::int64_t k_place, std::int64_t v_place, int head_dim)
      : pages_(pages), count_(count), k_place_(k_place), v_place_(v_place), page_floats_(16ll * head_dim),
        lead_(kAheadBytes / (64ll * head_dim) + 1) {
    next_ = lead_;  // what is read at once cannot be asked for ahead
    turn();
  }
  // K of `pages` pages, or all K and V of `pages`, is being read or has been.
  void reads_keys(std::int64_t pages) { limit_ = pages + lead_; }
  void reads_values(std::int64_t pages) { limit_ = count_ + pages + lead_; }
  template <int kLines>
  [[gnu::always_inline]] inline void ask() {
    if (next_ > limit_) return;
#pragma GCC unroll 4
    for (int i = 0; i < kLines; ++i) _mm_prefetch(reinterpret_cast<const char*>(line_ + 16 * i), _MM_HINT_T1);
    line_ += 16 * kLines;
    if (line_ >= end_) turn();
  }

 private:
  [[gnu::noinline]] void turn() {
    if (next_ >= 2 * count_) {
      next_ = kNever;
      return;
    }
    line_ = next_ < count_ ? pages_[next_] + k_place_ : pages_[next_ - count_] + v_place_;
    end_ = line_ + page_floats_;
    ++next_;
  }

  static constexpr std::int64_t kNever = std::int64_t{1} << 62;
  const float* const* pages_;
  std::int64_t count_, k_place_, v_place_, page_floats_, lead_;
  std::int64_t next_, limit_ = 0;  // pages, K and V counted separately
  const float *line_ = nullptr, *end_ = nullptr;
};

// Scores of kRows pairs with the keys of kPages pages.
template <int kRows, int kPages>
[[gnu::always_inline]] static inline void score_pages(const Row* rows, const float* const (&k)[kPages], int head_dim, std::int64_t position,
                                                      Ahead& ahead) {
  __m512 acc[kRows][kPages];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) acc[r][p] = _mm512_setzero_ps();
  for (int d = 0; d < head_dim; ++d) {
    __m512 keys[kPages];
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) keys[p] = _mm512_loadu_ps(k[p] + 16 * d);
    ahead.ask<kPages>();
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 q = _mm512_set1_ps(rows[r].q[d]);
#pragma GCC unroll 4
      for (int p = 0; p < kPages; ++p) acc[r][p] = _mm512_fmadd_ps(q, keys[p], acc[r][p]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPages; ++p) _mm512_store_ps(rows[r].scores + position + 16 * p, acc[r][p]);
}

// Pages [page, page_end).
template <int kRows>
[[gnu::noinline]] void score(const Row* rows, const float* const* pages, std::int64_t place, int head_dim,
                             std::int64_t page, std::int64_t page_end, Ahead& ahead) {
  constexpr int kPages = kRows >= 8 ? 2 : 4;
  for (; page + kPages <= page_end; page += kPages) {
    const float* k[kPages];
    for (int p = 0; p < kPages; ++p) k[p] = pages[page + p] + place;
    score_pages<kRows, kPages>(rows, k, head_dim, 16 * page, ahead);
  }
  for (; page < page_end; ++page) {
    const float* k[1] = {pages[page] + place};
    score_pages<kRows, 1>(rows, k, head_dim, 16 * page, ahead);
  }
}

// Lanes of the page at `position` that the row sees.
__mmask16 visible(const Row& row, std::int64_t position) {
  __mmask16 lanes = first_lanes(row.last - position + 1);
  if (position < row.first) lanes &= static_cast<__mmask16>(0xffffu << (row.first - position));
  return lanes;
}

float softmax_row(const Row& row, float scale, float softcap, const float* slope, Ahead& ahead) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512 max = _mm512_set1_ps(-__builtin_inff());
  for (std::int64_t i = row.first / 16 * 16; i <= row.last; i += 16) {
    __m512 s = _mm512_mul_ps(_mm512_load_ps(row.scores + i), _mm512_set1_ps(scale));
    if (slope) {
      const __m512i distance = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i - row.last)));
      s = _mm512_add_ps(s, _mm512_mul_ps(_mm512_set1_ps(*slope), _mm512_cvtepi32_ps(distance)));
    }
    _mm512_store_ps(row.scores + i, s);
    if (softcap > 0) {
      for (int lane = 0; lane < 16; ++lane)
        row.scores[i + lane] = softcap * elementary::tanh(row.scores[i + lane] / softcap);
      s = _mm512_load_ps(row.scores + i);
    }
    max = _mm512_mask_max_ps(max, visible(row, i), s, max);
  }
  const __m512 largest = _mm512_set1_ps(_mm512_reduce_max_ps(max));
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t i = row.first / 16 * 16; i <= row.last; i += 16) {
    const __m512 p = exp(_mm512_sub_ps(_mm512_load_ps(row.scores + i), largest));
    _mm512_store_ps(row.scores + i, p);
    ahead.ask<4>();
    sums = _mm512_mask_add_ps(sums, visible(row, i), sums, p);
  }
  return join(sums);
}

// out[r][d ..] += sum over keys of p[r][key] v[key][d ..], for kVectors vectors of d; the last may be partial.
template <int kRows, int kVectors>
[[gnu::noinline]] void weigh(const Row* rows, const float* const* pages, std::int64_t place, int head_dim, int d,
                             __mmask16 lanes, std::int64_t begin, std::int64_t end, Ahead& ahead) {
  __m512 acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) acc[r][i] = _mm512_maskz_loadu_ps(lanes, rows[r].out + d + 16 * i);
  for (std::int64_t key = begin; key < end; ++key) {
    const float* v = pages[key / 16] + place + (key % 16) * head_dim + d;
    __m512 values[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) values[i] = _mm512_maskz_loadu_ps(lanes, v + 16 * i);
    ahead.ask<kRows >= 4 ? (kVectors + 1) / 2 : kVectors>();
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 p = _mm512_set1_ps(rows[r].scores[key]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) acc[r][i] = _mm512_fmadd_ps(p, values[i], acc[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) _mm512_mask_storeu_ps(rows[r].out + d + 16 * i, lanes, acc[r][i]);
}

template <int kRows>
void weigh_rows(const Row* rows, const float* const* pages, std::int64_t place, int head_dim, std::int64_t begin,
                std::int64_t end, Ahead& ahead) {
  if (begin >= end) return;
  int d = 0;
  for (; d + 64 <= head_dim; d += 64) weigh<kRows, 4>(rows, pages, place, head_dim, d, 0xffff, begin, end, ahead);
  for (; d < head_dim; d += 16) weigh<kRows, 1>(rows, pages, place, head_dim, d, first_lanes(head_dim - d), begin, end, ahead);
}

}  // namespace

void attend(const AttentionTask& task) {
  const AttentionArgs& args = *task.args;
  const Rows rows(task);
  const std::int64_t pages_begin = rows.first / 16, pages_end = rows.last / 16 + 1;
  Ahead ahead(rows.pages + pages_begin, pages_end - pages_begin, rows.k_place, rows.v_place, args.head_dim);
  for (std::int64_t page = pages_begin; page < pages_end; page += kKeysTogether / 16) {
    const std::int64_t page_end = page + kKeysTogether / 16 < pages_end ? page + kKeysTogether / 16 : pages_end;
    ahead.reads_keys(page_end - pages_begin);
    int r = 0;
    for (; r + 8 <= rows.count; r += 8) score<8>(rows.row + r, rows.pages, rows.k_place, args.head_dim, page, page_end, ahead);
    for (; r + 4 <= rows.count; r += 4) score<4>(rows.row + r, rows.pages, rows.k_place, args.head_dim, page, page_end, ahead);
    for (; r < rows.count; ++r) score<1>(rows.row + r, rows.pages, rows.k_place, args.head_dim, page, page_end, ahead);
  }
  ahead.reads_values(0);
  float sums[kAttentionRows];
  for (int r = 0; r < rows.count; ++r) sums[r] = softmax_row(rows.row[r], args.scale, args.softcap, slope_of(task, r), ahead);
  const auto weigh_some = [&]<int kRows>(const Row* some, std::int64_t begin, std::int64_t end) {
    weigh_rows<kRows>(some, rows.pages, rows.v_place, args.head_dim, begin, end, ahead);
  };
  attention_rows::weigh_all(rows, args.head_dim, sums, weigh_some, [&](std::int64_t end) { ahead.reads_values((end - 1) / 16 + 1 - pages_begin); });
}

}  // namespace quantfleet::avx512
