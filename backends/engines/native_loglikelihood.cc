// Log-likelihoods of continuations. Each item becomes a node (its context, one sequence) with branches (its continuations).
// A group of items is evaluated in three steps: what all contexts begin with, once; the rest of the contexts, together, which
// also scores every continuation's first token; then all continuations of all items, together, each on a fork of its context.
#include "backends/engines/delivery.h"
#include "backends/engines/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace quantfleet {
namespace {

constexpr std::size_t kRowsPerGroup = 512;
constexpr std::size_t kItemsPerGroup = 64;

std::size_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

struct NativeEngine::Branch {
  std::size_t continuation;             // index in the request
  std::vector<std::int32_t> targets;    // its tokens, all scored; at least one
};

struct NativeEngine::Node {
  std::vector<std::int32_t> context;    // at least one token
  std::vector<Branch> branches;
};

struct NativeEngine::Scored {
  std::size_t index = 0;                // of the request
  std::vector<Node> nodes;              // one, or more where left truncation gives continuations different contexts
  LoglikelihoodAnswer answer;
  LogitsDigest digest;
  int prompt_tokens = 0;
  std::optional<Clock::time_point> first_score;
};

Result<NativeEngine::Scored> NativeEngine::plan(const Loglikelihood& request, std::size_t index) const {
  Scored scored;
  scored.index = index;
  if (request.continuations.empty()) return Error{Code::kBadValue, "a log-likelihood request needs at least one continuation"};
  // White space at the end of the context belongs to the continuation: tokens carry the space in front.
  std::string context = request.context, space;
  const std::size_t end = context.find_last_not_of(" \t\n\r\f\v");
  space = context.substr(end == std::string::npos ? 0 : end + 1);
  context.resize(context.size() - space.size());

  const std::vector<std::int32_t> context_ids = context.empty() ? std::vector<std::int32_t>() : encode(context, true);
  const auto longest = static_cast<std::size_t>(info_.context_tokens);
  scored.answer.continuations.resize(request.continuations.size());
  for (std::size_t c = 0; c < request.continuations.size(); ++c) {
    const std::string continuation = space + request.continuations[c];
    std::vector<std::int32_t> before = context_ids, targets;
    if (context.empty()) {
      const auto prefix = tokenizer_->prefix_token();
      if (!prefix) return Error{Code::kUnsupported, "the context is empty and the model has neither a BOS nor an EOS token to stand for it"};
      before = {*prefix};
      targets = tokenizer_->encode(continuation, false, true);
      if (!targets.empty() && targets.front() == *prefix) targets.erase(targets.begin());
    } else {
      targets = encode(context + continuation, true);
      targets.erase(targets.begin(), targets.begin() + static_cast<std::ptrdiff_t>(std::min(before.size(), targets.size())));
    }
    ContinuationScore& score = scored.answer.continuations[c];
    score.is_greedy = true;
    score.count_tokens = static_cast<int>(targets.size());
    if (targets.empty()) continue;
    if (targets.size() > longest)
      return Error{Code::kTooLarge, fmt::format("continuation {} has {} tokens; the context has room for {}", c, targets.size(), longest)};
    // The model reads the last `longest` of context and continuation without its last token.
    if (before.size() + targets.size() - 1 > longest)
      before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(longest + 1 - targets.size()));
    auto node = std::find_if(scored.nodes.begin(), scored.nodes.end(), [&](const Node& n) { return n.context == before; });
    if (node == scored.nodes.end()) {
      scored.prompt_tokens += static_cast<int>(before.size());
      node = scored.nodes.insert(scored.nodes.end(), Node{std::move(before), {}});
    }
    scored.prompt_tokens += static_cast<int>(targets.size()) - 1;
    node->branches.push_back({c, std::move(targets)});
  }
  return scored;
}

Status NativeEngine::score_group(std::span<Scored> group) {
  const KernelFamily& kernels = *transformer_->model().family;
  struct Place {
    Scored* item;
    Node* node;
  };
  std::vector<Place> places;
  for (Scored& item : group)
    for (Node& node : item.nodes) places.push_back({&item, &node});
  if (places.empty()) return {};

  const auto score = [&](Scored& item, const Branch& branch, std::size_t token, std::span<const float> logits, const LogSumExp& sum,
                         std::int64_t best) {
    const std::int32_t target = branch.targets[token];
    ContinuationScore& result = item.answer.continuations[branch.continuation];
    result.loglikelihood += static_cast<double>((logits[static_cast<std::size_t>(target)] - sum.max) - sum.log_sum);
    result.is_greedy = result.is_greedy && best == target;
    if (!item.first_score) item.first_score = Clock::now();
  };
  const auto summarize = [&](std::span<const float> logits) {
    const auto count = static_cast<std::int64_t>(logits.size());
    return std::pair(kernels.log_sum_exp(logits.data(), count), argmax(logits.data(), count));
  };

  // What all contexts begin with; every context keeps at least its last token for itself.
  std::span<const std::int32_t> shared = places[0].node->context;
  for (const Place& place : places)
    shared = shared.first(std::min(common_prefix(shared, place.node->context), place.node->context.size() - 1));
  KvSequence base = resume(places[0].node->context);
  if (places.size() > 1 || base.length() > static_cast<std::int64_t>(shared.size())) {
    if (base.length() > static_cast<std::int64_t>(shared.size())) base.truncate(static_cast<std::int64_t>(shared.size()));
    const Transformer::Segment segment{&base, shared.subspan(static_cast<std::size_t>(base.length())), static_cast<std::int64_t>(shared.size())};
    if (!segment.tokens.empty())
      if (auto status = transformer_->forward({&segment, 1}, [](std::size_t, std::int64_t, std::span<const float>) {}); !status) return status;
  }

  std::vector<KvSequence> contexts;
  std::vector<Transformer::Segment> segments;
  contexts.reserve(places.size());
  for (const Place& place : places) {
    contexts.emplace_back(base);
    const auto rest = std::span<const std::int32_t>(place.node->context).subspan(static_cast<std::size_t>(base.length()));
    segments.push_back({&contexts.back(), rest, static_cast<std::int64_t>(rest.size()) - 1});
  }
  auto status = transformer_->forward(segments, [&](std::size_t s, std::int64_t, std::span<const float> logits) {
    const auto [sum, best] = summarize(logits);
    places[s].item->digest.add(logits);
    for (const Branch& branch : places[s].node->branches) score(*places[s].item, branch, 0, logits, sum, best);
  });
  if (!status) return status;

  struct Fork {
    Scored* item;
    const Branch* branch;
  };
  std::vector<KvSequence> sequences;
  std::vector<Fork> forks;
  std::size_t count = 0;
  for (const Place& place : places) count += place.node->branches.size();
  sequences.reserve(count);
  segments.clear();
  for (std::size_t p = 0; p < places.size(); ++p)
    for (const Branch& branch : places[p].node->branches) {
      if (branch.targets.size() < 2) continue;
      sequences.emplace_back(contexts[p]);
      segments.push_back({&sequences.back(), std::span<const std::int32_t>(branch.targets).first(branch.targets.size() - 1), 0});
      forks.push_back({places[p].item, &branch});
    }
  status = transformer_->forward(segments, [&](std::size_t s, std::int64_t token, std::span<const float> logits) {
    const auto [sum, best] = summarize(logits);
    forks[s].item->digest.add(logits);
    score(*forks[s].item, *forks[s].branch, static_cast<std::size_t>(token) + 1, logits, sum, best);
  });
  if (!status) return status;
  keep(std::move(contexts.back()), places.back().node->context);
  return {};
}

void NativeEngine::answer_loglikelihoods(std::span<const Request> requests, std::span<const std::size_t> indices, Delivery& delivery) {
  std::vector<Scored> group;
  std::size_t rows = 0;
  const auto evaluate = [&] {
    const Status status = score_group(group);
    for (Scored& item : group) {
      if (!status) {
        delivery.deliver(item.index, status.error());
        continue;
      }
      Response response;
      response.answer = std::move(item.answer);
      response.prompt_tokens = item.prompt_tokens;
      response.total_ms = delivery.elapsed_ms();
      response.first_token_ms =
          item.first_score ? std::chrono::duration<double, std::milli>(*item.first_score - delivery.start).count() : response.total_ms;
      response.logits_digest = item.digest.hex32();
      delivery.deliver(item.index, std::move(response));
    }
    group.clear();
    rows = 0;
  };
  for (const std::size_t index : indices) {
    if (delivery.stopped()) return;
    auto item = plan(std::get<Loglikelihood>(requests[index]), index);
    if (!item) {
      delivery.deliver(index, item.error());
      continue;
    }
    std::size_t own = 0;  // rows beyond what the group's first context has, too
    for (const Node& node : item->nodes) {
      own += node.context.size();
      if (!group.empty() && !group[0].nodes.empty()) own -= common_prefix(node.context, group[0].nodes[0].context);
      for (const Branch& branch : node.branches) own += branch.targets.size() - 1;
    }
    if (!group.empty() && (rows + own > kRowsPerGroup || group.size() == kItemsPerGroup)) evaluate();
    rows += own;
    group.push_back(std::move(*item));
  }
  if (!group.empty() && !delivery.stopped()) evaluate();
}

}  // namespace quantfleet
