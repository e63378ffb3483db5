// Scalar truth: cpu/scalar/attention.cc. Scores: lanes are the 16 keys of a page, one chain over d. Outputs: lanes are d, one
// chain over keys. Pairs of query and head in a task share the loads of K and V.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/vector_math.h"

namespace quantfleet::neon {
namespace {

struct Row {
  const float* q;
  float* out;
  float* scores;              // indexed by absolute position
  std::int64_t first, last;   // visible keys
};

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

// All rows see [begin, end); each sees more before and behind, which it adds alone, in ascending order.
template <int kRows>
void weigh_all(const Row* rows, const float* const* pages, std::int64_t place, int head_dim) {
  std::int64_t begin = rows[0].first, end = rows[0].last + 1;
  for (int r = 1; r < kRows; ++r) {
    begin = rows[r].first > begin ? rows[r].first : begin;
    end = rows[r].last + 1 < end ? rows[r].last + 1 : end;
  }
  if (begin > end) begin = end;
  for (int r = 0; r < kRows; ++r)
    weigh<1>(rows + r, pages, place, head_dim, rows[r].first, rows[r].last + 1 < begin ? rows[r].last + 1 : begin);
  weigh<kRows>(rows, pages, place, head_dim, begin, end);
  for (int r = 0; r < kRows; ++r)
    weigh<1>(rows + r, pages, place, head_dim, rows[r].first > end ? rows[r].first : end, rows[r].last + 1);
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
  for (std::int64_t page = first / 16; page <= last / 16; ++page) {
    const float* k = pages[page] + k_place;
    int r = 0;
    for (; r + 4 <= count; r += 4) score_page<4>(rows + r, k, args.head_dim, 16 * page);
    for (; r < count; ++r) score_page<1>(rows + r, k, args.head_dim, 16 * page);
  }

  float sums[kAttentionRows];
  for (int r = 0; r < count; ++r) sums[r] = softmax_row(rows[r], args.scale, args.softcap, slope_of(task, r));

  int r = 0;
  for (; r + 4 <= count; r += 4) weigh_all<4>(rows + r, pages, v_place, args.head_dim);
  for (; r < count; ++r) weigh_all<1>(rows + r, pages, v_place, args.head_dim);

  for (r = 0; r < count; ++r)
    for (int d = 0; d < args.head_dim; ++d) rows[r].out[d] /= sums[r];
}

}  // namespace quantfleet::neon
