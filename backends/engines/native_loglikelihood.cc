// Log-likelihoods of continuations (the convention of lm-evaluation-harness: contract/request.h, Loglikelihood): each
// continuation is a path of the tree, context and continuation without its last token, of which the positions from the context's
// last token on are scored.
#include "backends/engines/native_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace quantfleet {

Status NativeEngine::Evaluation::plan(const Loglikelihood& request, std::size_t index) {
  if (request.continuations.empty()) return Error{Code::kBadValue, "a log-likelihood request needs at least one continuation"};
  if (!request.contexts.empty() && request.contexts.size() != request.continuations.size())
    return Error{Code::kBadValue, fmt::format("{} contexts for {} continuations", request.contexts.size(), request.continuations.size())};
  Item& item = items_.emplace_back();
  item.index = index;
  std::deque<Path> planned;
  std::string context, space;
  std::vector<std::int32_t> context_ids;
  const auto longest = static_cast<std::size_t>(engine_.info_.context_tokens);
  item.answer.continuations.resize(request.continuations.size());
  item.rows.resize(request.continuations.size());
  for (std::size_t c = 0; c < request.continuations.size(); ++c) {
    if (c == 0 || !request.contexts.empty()) {
      // White space at the end of the context belongs to the continuation: tokens carry the space in front.
      context = request.contexts.empty() ? request.context : request.contexts[c];
      const std::size_t end = context.find_last_not_of(" \t\n\r\f\v");
      space = context.substr(end == std::string::npos ? 0 : end + 1);
      context.resize(context.size() - space.size());
      context_ids = context.empty() ? std::vector<std::int32_t>() : engine_.encode(context, true);
    }
    const std::string continuation = space + request.continuations[c];
    std::vector<std::int32_t> before = context_ids, targets;
    if (context.empty()) {
      const auto prefix = engine_.tokenizer_->prefix_token();
      if (!prefix) return Error{Code::kUnsupported, "the context is empty and the model has neither a BOS nor an EOS token to stand for it"};
      before = {*prefix};
      targets = engine_.tokenizer_->encode(continuation, false, true);
      if (!targets.empty() && targets.front() == *prefix) targets.erase(targets.begin());
    } else {
      targets = engine_.encode(context + continuation, true);
      targets.erase(targets.begin(), targets.begin() + static_cast<std::ptrdiff_t>(std::min(before.size(), targets.size())));
    }
    ContinuationScore& score = item.answer.continuations[c];
    score.is_greedy = true;
    score.count_tokens = static_cast<int>(targets.size());
    score.token_ids = targets;
    if (targets.empty()) continue;
    if (targets.size() > longest)
      return Error{Code::kTooLarge, fmt::format("continuation {} has {} tokens; the context has room for {}", c, targets.size(), longest)};
    // The model reads the last `longest` of context and continuation without its last token.
    if (before.size() + targets.size() - 1 > longest)
      before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(longest + 1 - targets.size()));
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

void NativeEngine::Evaluation::score(const Path& path, std::int64_t depth, std::span<const float> logits, const LogSumExp& sum,
                                     std::int64_t best, const RowDigest& digest) {
  Item& item = items_[static_cast<std::size_t>(path.item)];
  const std::int32_t target = path.own[static_cast<std::size_t>(depth - path.tokens.first_wanted)];
  ContinuationScore& result = item.answer.continuations[path.continuation];
  result.loglikelihood += static_cast<double>((logits[static_cast<std::size_t>(target)] - sum.max) - sum.log_sum);
  result.is_greedy = result.is_greedy && best == target;
  item.rows[path.continuation].push_back(digest);
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
