// The loops around a family's attention kernel: which thread computes which queries and heads.
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/kernels.h"

#include <algorithm>
#include <cassert>

namespace quantfleet {

void store_k(const float* k, int head_dim, std::int64_t position, float* k_panel) {
  for (int d = 0; d < head_dim; ++d) k_panel[d * kPagePositions + position % kPagePositions] = k[d];
}

void store_v(const float* v, int head_dim, std::int64_t position, float* v_panel) {
  std::copy_n(v, head_dim, v_panel + (position % kPagePositions) * head_dim);
}

void attention(const KernelFamily& family, const AttentionArgs& args, ThreadPool& pool, MatmulScratch& scratch) {
  if (args.queries <= 0) return;
  assert(args.kv_heads > 0 && args.heads % args.kv_heads == 0 && args.head_dim > 0);
  const int group = args.heads / args.kv_heads;
  const int heads_at_once = std::min(group, kAttentionRows);
  const std::int64_t queries_at_once = kAttentionRows / heads_at_once;

  // Runs of consecutive queries with one table of pages, cut to what a task holds.
  struct Run {
    std::int64_t begin, end;
  };
  std::vector<Run> runs;
  std::int64_t last_position = 0;
  for (std::int64_t query = 0; query < args.queries; ++query) {
    last_position = std::max(last_position, args.positions[query]);
    const bool joins = !runs.empty() && args.pages[query] == args.pages[runs.back().begin] &&
                       runs.back().end - runs.back().begin < queries_at_once;
    if (joins) runs.back().end = query + 1;
    else runs.push_back({query, query + 1});
  }
  const std::int64_t score_stride = (last_position / 16 + 1) * 16 + 16;  // + 16: rows do not share cache sets
  const std::int64_t scores_each = kAttentionRows * score_stride;
  auto* scores = reinterpret_cast<float*>(
      scratch.tiles.reserve(static_cast<std::size_t>(pool.threads() * scores_each) * sizeof(float)));

  const int head_pieces = (group + heads_at_once - 1) / heads_at_once;
  const std::int64_t pieces = std::int64_t(args.kv_heads) * head_pieces;
  pool.parallel_for(static_cast<std::int64_t>(runs.size()) * pieces, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Run& run = runs[static_cast<std::size_t>(i / pieces)];
      AttentionTask task;
      task.args = &args;
      task.query_begin = run.begin;
      task.query_end = run.end;
      task.kv_head = static_cast<int>(i % pieces / head_pieces);
      task.head_begin = task.kv_head * group + static_cast<int>(i % head_pieces) * heads_at_once;
      task.head_end = std::min(task.head_begin + heads_at_once, (task.kv_head + 1) * group);
      task.scores = scores + thread * scores_each;
      task.score_stride = score_stride;
      family.attend(task);
    }
  });
}

}  // namespace quantfleet
