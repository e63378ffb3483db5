// The pairs of query and head of an attention task and what they see, the same for all instruction sets.
#pragma once

#include "backends/kernels/cpu/tasks.h"

namespace quantfleet::attention_rows {

// Keys whose V all rows of a task read while it is in the first two levels of the cache.
inline constexpr std::int64_t kKeysTogether = 128;

struct Row {
  const float* q;
  float* out;
  float* scores;             // indexed by absolute position
  std::int64_t first, last;  // visible keys
};

struct Rows {
  Row row[kAttentionRows];           // their outputs begin as zeros
  int count = 0;
  std::int64_t first = 0, last = 0;  // of all
  const float* const* pages;
  std::int64_t k_place, v_place;     // of the head in a page

  [[gnu::always_inline]] inline explicit Rows(const AttentionTask& task) {
    const AttentionArgs& args = *task.args;
    pages = args.pages[task.query_begin];
    k_place = args.k_offset + task.kv_head * args.kv_head_stride;
    v_place = args.v_offset + task.kv_head * args.kv_head_stride;
    for (std::int64_t query = task.query_begin; query < task.query_end; ++query)
      for (int head = task.head_begin; head < task.head_end; ++head, ++count) {
        Row& one = row[count];
        one.q = args.q + query * args.q_stride + std::int64_t(head) * args.head_dim;
        one.out = args.out + query * args.out_stride + std::int64_t(head) * args.head_dim;
        one.scores = task.scores + count * task.score_stride;
        one.last = args.positions[query];
        one.first = args.window > 0 && one.last >= args.window ? one.last - args.window + 1 : 0;
        first = count == 0 || one.first < first ? one.first : first;
        last = one.last > last ? one.last : last;
        for (int d = 0; d < args.head_dim; ++d) one.out[d] = 0;
      }
  }
};

// The keys of [from, to) that each of kRows rows sees: those which all see together, before and behind them each row's own, in ascending order.
//   weigh<n>(rows, begin, end): outputs of n rows += their shares of values [begin, end); begin may be behind end
template <int kRows, class Weigh>
[[gnu::always_inline]] static inline void weigh_together(const Row* rows, std::int64_t from, std::int64_t to, Weigh weigh) {
  std::int64_t firsts[kRows], ends[kRows];
  std::int64_t begin = from, end = to;
  for (int r = 0; r < kRows; ++r) {
    firsts[r] = rows[r].first > from ? rows[r].first : from;
    ends[r] = rows[r].last + 1 < to ? rows[r].last + 1 : to;
    begin = firsts[r] > begin ? firsts[r] : begin;
    end = ends[r] < end ? ends[r] : end;
  }
  if (begin > end) begin = end;
  for (int r = 0; r < kRows; ++r) weigh.template operator()<1>(rows + r, firsts[r], ends[r] < begin ? ends[r] : begin);
  weigh.template operator()<kRows>(rows, begin, end);
  for (int r = 0; r < kRows; ++r) weigh.template operator()<1>(rows + r, firsts[r] > end ? firsts[r] : end, ends[r]);
}

// All rows' outputs: shares of the values that they see, by kKeysTogether keys, then divided by the sum of the shares.
//   reads(end): values before `end` are read next
template <class Weigh, class Reads>
[[gnu::always_inline]] static inline void weigh_all(const Rows& rows, int head_dim, const float* sums, Weigh weigh, Reads reads) {
  for (std::int64_t from = rows.first / 16 * 16; from <= rows.last; from += kKeysTogether) {
    const std::int64_t to = from + kKeysTogether < rows.last + 1 ? from + kKeysTogether : rows.last + 1;
    reads(to);
    int r = 0;
    for (; r + 4 <= rows.count; r += 4) weigh_together<4>(rows.row + r, from, to, weigh);
    for (; r < rows.count; ++r) weigh_together<1>(rows.row + r, from, to, weigh);
  }
  for (int r = 0; r < rows.count; ++r)
    for (int d = 0; d < head_dim; ++d) rows.row[r].out[d] /= sums[r];
}

}  // namespace quantfleet::attention_rows
