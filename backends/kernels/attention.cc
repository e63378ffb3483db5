// The loops around a family's attention kernel: which thread computes which queries and heads.
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/kernels.h"
#include "backends/kernels/kv_pages.h"

#include <algorithm>
#include <cassert>

namespace quantfleet {
namespace {

// One thread's floats of the pages that its tasks read, for caches of other kinds than F32. A page that several tasks in a row
// share is decoded once.
class DecodedPages {
 public:
  DecodedPages(const KernelFamily& family, const AttentionArgs& args, std::int64_t pages, float* floats)
      : args_(args), load_(family.load_kv && args.head_dim % 32 == 0 ? family.load_kv : scalar::load_kv), decoded_(pages), tables_(args.queries) {
    const std::int64_t half = std::int64_t{kPagePositions} * args.head_dim;
    for (std::int64_t page = 0; page < pages; ++page) table_.push_back(floats + 2 * half * page);
    for (auto& table : tables_) table = table_.data();
    args_.pages = tables_.data();
    args_.kv = KvKind::kF32;
    args_.k_offset = args_.kv_head_stride = 0;
    args_.v_offset = half;
  }
  // The arguments with pages of floats in place of what is stored, for the queries and KV head of a task.
  const AttentionArgs& load(const AttentionArgs& stored, const AttentionTask& task) {
    const auto [first, last] = std::minmax_element(stored.positions + task.query_begin, stored.positions + task.query_end);
    const std::int64_t begin = stored.window > 0 ? std::max<std::int64_t>(0, *first - stored.window + 1) / kPagePositions : 0;
    const std::int64_t end = *last / kPagePositions + 1;
    const std::int64_t place = stored.layer_offset + task.kv_head * kv_head_bytes(stored.kv, stored.head_dim);
    for (std::int64_t page = begin; page < end; ++page) {
      const auto* head = reinterpret_cast<const unsigned char*>(stored.pages[task.query_begin][page]) + place;
      if (decoded_[static_cast<std::size_t>(page)] == head) continue;
      decoded_[static_cast<std::size_t>(page)] = head;
      float* floats = table_[static_cast<std::size_t>(page)];
      load_({stored.kv, stored.head_dim, head, floats, floats + args_.v_offset});
    }
    return args_;
  }

 private:
  AttentionArgs args_;
  void (*load_)(const KvPageTask& task);
  std::vector<const unsigned char*> decoded_;
  std::vector<float*> table_;
  std::vector<const float* const*> tables_;
};

}  // namespace

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
  const std::int64_t scores_each = kAttentionRows * score_stride, pages = last_position / kPagePositions + 1;
  const bool stored = args.kv != KvKind::kF32;
  const std::int64_t floats_each = stored ? 2ll * kPagePositions * args.head_dim * pages : 0;
  auto* scores = reinterpret_cast<float*>(
      scratch.tiles.reserve(static_cast<std::size_t>(pool.threads() * (scores_each + floats_each)) * sizeof(float)));
  std::vector<DecodedPages> decoded;
  for (int thread = 0; stored && thread < pool.threads(); ++thread)
    decoded.emplace_back(family, args, pages, scores + pool.threads() * scores_each + thread * floats_each);

  const int head_pieces = (group + heads_at_once - 1) / heads_at_once;
  const std::int64_t pieces = std::int64_t(args.kv_heads) * head_pieces;
  // Decoded pages serve neighbours in a thread: then heads are outside and several runs go to a thread at once.
  const auto count_runs = static_cast<std::int64_t>(runs.size());
  const std::int64_t at_once = stored ? std::clamp<std::int64_t>(count_runs * pieces / (8 * pool.threads()), 1, count_runs) : 1;
  pool.parallel_for(count_runs * pieces, at_once, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Run& run = runs[static_cast<std::size_t>(stored ? i % count_runs : i / pieces)];
      const std::int64_t piece = stored ? i / count_runs : i % pieces;
      AttentionTask task;
      task.query_begin = run.begin;
      task.query_end = run.end;
      task.kv_head = static_cast<int>(piece / head_pieces);
      task.args = stored ? &decoded[static_cast<std::size_t>(thread)].load(args, task) : &args;
      task.head_begin = task.kv_head * group + static_cast<int>(piece % head_pieces) * heads_at_once;
      task.head_end = std::min(task.head_begin + heads_at_once, (task.kv_head + 1) * group);
      task.scores = scores + thread * scores_each;
      task.score_stride = score_stride;
      family.attend(task);
    }
  });
}

}  // namespace quantfleet
