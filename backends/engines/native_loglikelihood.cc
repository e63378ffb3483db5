// Log-likelihoods of continuations (the convention of lm-evaluation-harness: contract/request.h, Loglikelihood): each
// continuation is a path of the tree, context and continuation without its last token, of which the positions from the context's
// last token on are scored.
#include "backends/engines/native_evaluation.h"
#include "backends/engines/request_tokens.h"

#include <algorithm>
#include <iterator>

namespace quantfleet {

Status NativeEngine::Evaluation::plan(const Loglikelihood& request, std::size_t index) {
  const auto scored = tokens_of(*engine_.tokenizer_, request, engine_.info_.context_tokens);
  if (!scored) return scored.error();
  Item& item = items_.emplace_back();
  item.index = index;
  std::deque<Path> planned;
  item.answer.continuations.resize(scored->size());
  item.rows.resize(scored->size());
  for (std::size_t c = 0; c < scored->size(); ++c) {
    std::vector<std::int32_t> before = (*scored)[c].context, targets = (*scored)[c].tokens;
    ContinuationScore& score = item.answer.continuations[c];
    score.is_greedy = true;
    score.count_tokens = static_cast<int>(targets.size());
    score.token_ids = targets;
    if (targets.empty()) continue;
    auto head = std::find(item.contexts.begin(), item.contexts.end(), before);
    if (head == item.contexts.end()) {
      item.prompt_tokens += static_cast<int>(before.size());
      head = item.contexts.insert(item.contexts.end(), std::move(before));
    }
    item.prompt_tokens += static_cast<int>(targets.size()) - 1;
    Path& path = planned.emplace_back();
    path.request = index;
    path.item = static_cast<int>(items_.size()) - 1;
    path.continuation = c;
    path.own = std::move(targets);
    path.tokens = {*head, std::span<const std::int32_t>(path.own).first(path.own.size() - 1), static_cast<std::int64_t>(head->size()) - 1};
  }
  item.paths_left = static_cast<int>(planned.size());
  if (planned.empty()) finish(item);
  std::move(planned.begin(), planned.end(), std::back_inserter(paths_));
  return {};
}

void NativeEngine::Evaluation::score(const Path& path, std::int64_t depth, std::span<const float> logits, const RowFacts& facts) {
  Item& item = items_[static_cast<std::size_t>(path.item)];
  const std::int32_t target = path.own[static_cast<std::size_t>(depth - path.tokens.first_wanted)];
  ContinuationScore& result = item.answer.continuations[path.continuation];
  result.loglikelihood += static_cast<double>((logits[static_cast<std::size_t>(target)] - facts.sum.max) - facts.sum.log_sum);
  result.is_greedy = result.is_greedy && facts.best == target;
  item.rows[path.continuation].push_back(facts.digest);
  if (!item.first_score_ms) item.first_score_ms = delivery_.elapsed_ms();
}

void NativeEngine::Evaluation::finish(Item& item) {
  Response response;
  response.answer = std::move(item.answer);
  response.prompt_tokens = item.prompt_tokens;
  if (!item.contexts.empty()) response.prompt_token_ids = item.contexts.front();
  response.total_ms = delivery_.elapsed_ms();
  response.first_token_ms = item.first_score_ms.value_or(response.total_ms);
  LogitsDigest digest;
  for (const auto& rows : item.rows)
    for (const RowDigest& row : rows) digest.add(row);
  response.logits_digest = digest.hex32();
  item.rows.clear();
  delivery_.deliver(item.index, std::move(response));
}

}  // namespace quantfleet
