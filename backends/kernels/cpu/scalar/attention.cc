#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/elementary.h"

#include <cmath>
#include <limits>

namespace quantfleet::scalar {
namespace {

void attend_one(const AttentionArgs& args, std::int64_t query, int head, int kv_head, float* scores) {
  const float* q = args.q + query * args.q_stride + std::int64_t(head) * args.head_dim;
  float* out = args.out + query * args.out_stride + std::int64_t(head) * args.head_dim;
  const float* const* pages = args.pages[query];
  const std::int64_t k_place = args.k_offset + kv_head * args.kv_head_stride;
  const std::int64_t v_place = args.v_offset + kv_head * args.kv_head_stride;
  const std::int64_t last = args.positions[query];
  const std::int64_t first = args.window > 0 && last >= args.window ? last - args.window + 1 : 0;

  float max = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = first; i <= last; ++i) {
    const float* k = pages[i / kPagePositions] + k_place + i % kPagePositions;  // [head_dim], kPagePositions floats apart
    float score = 0;
    for (int d = 0; d < args.head_dim; ++d) score = std::fma(q[d], k[d * kPagePositions], score);
    score *= args.scale;
    if (args.slopes) score += args.slopes[head] * static_cast<float>(i - last);
    if (args.softcap > 0) score = args.softcap * elementary::tanh(score / args.softcap);
    scores[i] = score;
    max = score > max ? score : max;
  }

  float sums[16] = {};
  for (std::int64_t i = first; i <= last; ++i) {
    scores[i] = elementary::exp(scores[i] - max);
    sums[i % 16] += scores[i];
  }
  const float sum = join(sums);

  for (int d = 0; d < args.head_dim; ++d) {
    float acc = 0;
    for (std::int64_t i = first; i <= last; ++i) {
      const float* v = pages[i / kPagePositions] + v_place + (i % kPagePositions) * args.head_dim;
      acc = std::fma(scores[i], v[d], acc);
    }
    out[d] = acc / sum;
  }
}

}  // namespace

void attend(const AttentionTask& task) {
  for (std::int64_t query = task.query_begin; query < task.query_end; ++query)
    for (int head = task.head_begin; head < task.head_end; ++head)
      attend_one(*task.args, query, head, task.kv_head, task.scores);
}

}  // namespace quantfleet::scalar
