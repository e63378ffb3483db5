// Scalar truth: cpu/scalar/attention.cc. Scores: lanes are the 16 keys of a page, one chain over d. Outputs: lanes are d, one
// chain over keys. Pairs of query and head in a task share the loads of K and V.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/vector_math.h"
#include "backends/kernels/cpu/attention_rows.h"

namespace quantfleet::neon {
namespace {

using attention_rows::Row;
using attention_rows::Rows;

// Scores of kRows pairs with the keys of one page.
template <int kRows>
[[gnu::noinline]] void score_page(const Row* rows, const float* k, int head_dim, std::int64_t position) {
  Sixteen score[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) score[r] = zero16();
  for (int d = 0; d < head_dim; ++d) {
    const Sixteen keys = load16(k + 16 * d);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) score[r] = fma16(score[r], keys, rows[r].q[d]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) store16(rows[r].scores + position, score[r]);
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
  float sums[16] = {};
  std::int64_t i = row.first;
  for (; i <= row.last && i % 16 != 0; ++i) sums[i % 16] += row.scores[i] = elementary::exp(row.scores[i] - max);
  Sixteen partial = load16(sums);
  for (; i + 16 <= row.last + 1; i += 16) {
    Sixteen p = load16(row.scores + i);
    for (int v = 0; v < 4; ++v) {
      p.v[v] = exp(vsubq_f32(p.v[v], vdupq_n_f32(max)));
      partial.v[v] = vaddq_f32(partial.v[v], p.v[v]);
    }
    store16(row.scores + i, p);
  }
  store16(sums, partial);
  for (; i <= row.last; ++i) sums[i % 16] += row.scores[i] = elementary::exp(row.scores[i] - max);
  return join(sums);
}

// out[r] += sum over keys [begin, end) of p[r][key] v[key].
template <int kRows>
[[gnu::noinline]] void weigh(const Row* rows, const float* const* pages, std::int64_t place, int head_dim, std::int64_t begin,
                             std::int64_t end) {
  if (begin >= end) return;
  int d = 0;
  for (; d + 16 <= head_dim; d += 16) {
    Sixteen out[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) out[r] = load16(rows[r].out + d);
    for (std::int64_t key = begin; key < end; ++key) {
      const Sixteen v = load16(pages[key / 16] + place + (key % 16) * head_dim + d);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) out[r] = fma16(out[r], v, rows[r].scores[key]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) store16(rows[r].out + d, out[r]);
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

}  // namespace quantfleet::neon
