#include "backends/engines/native_evaluation.h"

#include <openssl/sha.h>

#include <algorithm>
#include <span>

namespace quantfleet {
namespace {

std::int64_t pages_of(std::int64_t tokens) { return (tokens + kPagePositions - 1) / kPagePositions; }

}  // namespace

std::int64_t NativeEngine::Evaluation::growth(const Path& path) const {
  return pages_of(path.tokens.size() + tokens_max(path)) - path.tokens.size() / kPagePositions;
}

NativeEngine::Evaluation::Evaluation(NativeEngine& engine, std::span<const Request> requests, Delivery& delivery,
                                     const std::function<void(std::string_view)>& text)
    : engine_(engine), requests_(requests), delivery_(delivery), text_(text) {}

void NativeEngine::Evaluation::run() {
  for (std::size_t i = 0; i < requests_.size() && !delivery_.stopped(); ++i) {
    Status planned;
    if (const auto* loglikelihood = std::get_if<Loglikelihood>(&requests_[i])) planned = plan(*loglikelihood, i);
    else if (const auto* generate = std::get_if<Generate>(&requests_[i])) planned = plan(*generate, i);
    if (!planned) delivery_.deliver(i, planned.error());
  }
  if (paths_.empty()) return;
  std::vector<TokenPath> tokens;
  for (const Path& path : paths_) tokens.push_back(path.tokens);
  tree_ = build_prefix_tree(tokens);
  states_.resize(tree_.nodes.size());
  ready_.insert(0);
  while (!delivery_.stopped() && step()) {}
}

bool NativeEngine::Evaluation::ends_texts(const PrefixTree::Node& node) const {
  for (std::size_t place = node.path_begin; place < node.path_begin + node.count_ending; ++place)
    if (path(place).item < 0) return true;
  return false;
}

bool NativeEngine::Evaluation::fits(std::int64_t pages) const {
  return engine_.cache_->pages_in_use() + promised_pages_ + pages <= engine_.pages_max_;
}

// Takes pages from what is not under way: the kept text, then nodes that wait for their children's turn, from the tree's end.
// What `node` itself builds on stays.
void NativeEngine::Evaluation::make_room(int node, std::int64_t pages) {
  std::set<int> ancestors;
  for (int at = node; at >= 0; at = node_of(at).parent) ancestors.insert(at);
  if (!fits(pages)) engine_.forget();
  for (int other = static_cast<int>(states_.size()) - 1; other >= 0 && !fits(pages); --other)
    if (state_of(other).read && !ancestors.contains(other)) state_of(other).sequence.reset();
}

// Gives a node its sequence: what its parent has, or the nearest ancestor that still has something, or the kept text.
bool NativeEngine::Evaluation::begin(int index, bool force) {
  const PrefixTree::Node& node = node_of(index);
  NodeState& state = state_of(index);
  int from = node.parent;
  while (from >= 0 && !state_of(from).sequence) from = node_of(from).parent;
  std::int64_t length = from >= 0 ? state_of(from).sequence->length() : 0;
  const TokenPath& tokens = path(node.path_begin).tokens;
  const std::int64_t kept = std::min({common_prefix(tokens, TokenPath{engine_.kept_tokens_, {}, 0}), node.end, node.first_wanted});
  const bool resumes = kept > length;
  if (resumes) length = kept;

  std::int64_t pages = pages_of(node.end) - length / kPagePositions;
  for (std::size_t place = node.path_begin; place < node.path_begin + node.count_ending; ++place)
    if (path(place).item < 0) {
      pages += growth(path(place));
      break;  // the others wait for room (collect)
    }
  if (!fits(pages)) {
    if (!force) return false;
    make_room(index, pages);
    if (resumes && engine_.kept_tokens_.empty()) return begin(index, true);
  }
  if (resumes) state.sequence.emplace(*engine_.kept_, length);
  else if (from < 0) state.sequence.emplace(*engine_.cache_);
  else state.sequence.emplace(*state_of(from).sequence);
  if (!state.begun && node.parent >= 0) {
    NodeState& parent = state_of(node.parent);
    if (--parent.children_left == 0) parent.sequence.reset();
  }
  state.begun = true;
  state.pages = pages;
  promised_pages_ += pages;
  ++under_way_;
  return true;
}

void NativeEngine::Evaluation::add_part(int index, std::int64_t& rows) {
  const PrefixTree::Node& node = node_of(index);
  NodeState& state = state_of(index);
  const std::int64_t before = state.sequence->length(), take = std::min(kRowsTogether - rows, node.end - before);
  state.pending.clear();
  path(node.path_begin).tokens.append_to(state.pending, before, before + take);
  segments_.push_back({&*state.sequence, state.pending, std::max(node.first_wanted, state.scored) - before});
  parts_.push_back({index, 0, before, false});
  rows += take;
}

void NativeEngine::Evaluation::collect() {
  parts_.clear();
  segments_.clear();
  while (!waiting_.empty() && texts_.size() < kTextsTogether && (texts_.empty() || fits(waiting_.front().pages))) {
    promised_pages_ += waiting_.front().pages;
    texts_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  std::int64_t rows = 0;
  for (std::size_t t = 0; t < texts_.size(); ++t, ++rows) {
    segments_.push_back({&texts_[t].sequence, std::span<const std::int32_t>(&texts_[t].latest, 1), 0});
    parts_.push_back({-1, t, texts_[t].sequence.length(), false});
  }
  // Prompts under way will be texts, too.
  std::size_t texts = texts_.size() + waiting_.size();
  bool may_begin = true;
  int seen = 0;
  for (const int index : ready_) {
    if (rows >= kRowsTogether || (!may_begin && seen == under_way_)) break;
    NodeState& state = state_of(index);
    const bool begun = state.sequence.has_value();
    if (!begun) {
      if (!may_begin) continue;
      may_begin = texts < kTextsTogether && begin(index, false);
      if (!may_begin) continue;
    }
    ++seen;
    if (ends_texts(node_of(index))) ++texts;
    add_part(index, rows);
  }
  if (parts_.empty() && !ready_.empty()) {
    begin(*ready_.begin(), true);
    add_part(*ready_.begin(), rows);
  }
}

bool NativeEngine::Evaluation::step() {
  collect();
  if (parts_.empty()) return false;
  std::vector<Error> errors(parts_.size());
  if (Status status = forward(); !status) {
    // Which part is to blame? No answer depends on company: each alone.
    const std::vector<Part> parts = parts_;
    const std::vector<Transformer::Segment> segments = segments_;
    for (std::size_t s = 0; s < parts.size(); ++s) {
      segments[s].sequence->truncate(parts[s].before);
      parts_.assign(1, parts[s]);
      segments_.assign(1, segments[s]);
      if (status = forward(); !status) errors[s] = status.error();
    }
    parts_ = parts;
    for (std::size_t s = 0; s < parts.size(); ++s) parts_[s].failed = !errors[s].detail.empty();
  }

  std::vector<Text> running;
  std::vector<std::size_t> done;
  for (std::size_t s = 0; s < parts_.size() && parts_[s].node < 0; ++s) {
    Text& text = texts_[parts_[s].text];
    if (parts_[s].failed) delivery_.deliver(text.index, errors[s]);
    else if (advance(text)) {
      running.push_back(std::move(text));
      continue;
    }
    promised_pages_ -= text.pages;
  }
  texts_ = std::move(running);
  for (std::size_t s = 0; s < parts_.size(); ++s) {
    const int node = parts_[s].node;
    if (node < 0) continue;
    if (parts_[s].failed) fail(node, errors[s]);
    else if (state_of(node).sequence->length() == node_of(node).end) complete(node);
  }
  born_.clear();
  return true;
}

Status NativeEngine::Evaluation::forward() {
  facts_.assign(segments_.size(), {});
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const auto count = static_cast<std::int64_t>(segments_[s].tokens.size());
    engine_.tokens_read_ += count;
    if (parts_[s].node >= 0) facts_[s].resize(static_cast<std::size_t>(count - std::clamp<std::int64_t>(segments_[s].first_wanted, 0, count)));
  }
  const auto see = [this](std::size_t segment, std::int64_t token, std::span<const float> logits) { see_row(segment, token, logits); };
  const auto read = [this](std::size_t segment, std::int64_t token, std::span<const float> logits) { read_row(segment, token, logits); };
  return engine_.transformer_->forward(segments_, see, read);
}

// A text has one row in a batch, so nobody else touches it.
void NativeEngine::Evaluation::read_row(std::size_t segment, std::int64_t token, std::span<const float> logits) {
  const Part& part = parts_[segment];
  if (part.node < 0) {
    if (Text& text = texts_[part.text]; text.chosen < 0) choose(text, logits);
    return;
  }
  RowFacts& facts = facts_of(segment, token);
  const auto count = static_cast<std::int64_t>(logits.size());
  facts.sum = engine_.transformer_->model().family->log_sum_exp(logits.data(), count);
  facts.best = argmax(logits.data(), count);
  SHA256(reinterpret_cast<const unsigned char*>(logits.data()), logits.size_bytes(), facts.digest.data());
}

void NativeEngine::Evaluation::see_row(std::size_t segment, std::int64_t token, std::span<const float> logits) {
  const Part& part = parts_[segment];
  if (part.node < 0) return;
  const PrefixTree::Node& node = node_of(part.node);
  NodeState& state = state_of(part.node);
  const std::int64_t depth = part.before + token;
  if (depth < state.scored) return;  // seen already, before a part beside it failed
  state.scored = depth + 1;
  const RowFacts& facts = facts_of(segment, token);
  for (std::size_t place = node.path_begin; place < node.path_end; ++place) {
    const Path& one = path(place);
    if (depth < one.tokens.first_wanted) continue;
    if (one.item < 0) {
      born_.push_back(begin_text(one, part.node));
      choose(born_.back(), logits);
      continue;
    }
    score(one, depth, logits, facts);
  }
}

void NativeEngine::Evaluation::complete(int index) {
  const PrefixTree::Node& node = node_of(index);
  NodeState& state = state_of(index);
  ready_.erase(index);
  state.read = true;
  promised_pages_ -= state.pages;
  --under_way_;
  for (Text& text : born_)
    if (text.node == index) {
      text.sequence = *state.sequence;
      if (advance(text)) waiting_.push_back(std::move(text));
    }
  for (std::size_t place = node.path_begin; place < node.path_begin + node.count_ending; ++place)
    if (path(place).item >= 0)
      if (Item& item = items_[static_cast<std::size_t>(path(place).item)]; --item.paths_left == 0) finish(item);
  state.children_left = node.count_children;
  // Children follow in the order of the tree: the first right behind their parent, the others behind what is below it.
  for (int child = index + 1; child < static_cast<int>(tree_.nodes.size()) && node_of(child).path_begin < node.path_end; ++child)
    if (node_of(child).parent == index) ready_.insert(child);
  if (ready_.empty()) {
    engine_.kept_tokens_.clear();
    path(node.path_begin).tokens.append_to(engine_.kept_tokens_, 0, node.end);
    *engine_.kept_ = *state.sequence;
  }
  if (node.count_children == 0) state.sequence.reset();
}

// All requests through this node share its end.
void NativeEngine::Evaluation::fail(int index, const Error& error) {
  const PrefixTree::Node& node = node_of(index);
  NodeState& state = state_of(index);
  ready_.erase(index);
  promised_pages_ -= state.pages;
  --under_way_;
  state.sequence.reset();
  for (std::size_t place = node.path_begin; place < node.path_end; ++place) delivery_.deliver(path(place).request, error);
}

}  // namespace quantfleet
