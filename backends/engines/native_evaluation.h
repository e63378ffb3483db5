// All log-likelihoods and generations of one call, evaluated as one prefix tree: what several begin with is read once, at any
// depth, whatever order they come in. Every step of the loop fills one batch: the running texts' latest tokens, then tokens of
// the tree's nodes whose parents are read, in the order of the tree, the last one cut where the batch is full. So the choices of
// many items share a pass, prompts join while other texts decode, and only a narrow front of the tree is in memory.
//
// Memory: a node is not begun unless its pages, and those of what is under way, fit the engine's limit. Where nothing fits and
// nothing is under way, nodes that are read and wait for their turn give their pages back (the last in the tree first), and are
// read again when one of their children needs them.
#pragma once

#include "backends/engines/delivery.h"
#include "backends/engines/native.h"
#include "backends/engines/prefix_tree.h"

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

namespace quantfleet {

class NativeEngine::Evaluation {
 public:
  static constexpr std::int64_t kRowsTogether = 128;   // tokens in a batch
  static constexpr std::size_t kTextsTogether = 64;    // texts that decode at once

  // `text` gets the first request's text as it grows (NativeEngine::generate).
  Evaluation(NativeEngine& engine, std::span<const Request> requests, Delivery& delivery, const std::function<void(std::string_view)>& text);
  void run();

 private:
  using RowDigest = std::array<unsigned char, 32>;

  // A log-likelihood request under way.
  struct Item {
    std::size_t index = 0;                              // of the request
    std::deque<std::vector<std::int32_t>> contexts;     // one, or more where left truncation gives continuations different ones
    LoglikelihoodAnswer answer;
    std::vector<std::vector<RowDigest>> rows;           // per continuation: of its scored rows
    int paths_left = 0;
    int prompt_tokens = 0;
    std::optional<double> first_score_ms;
  };
  // Where a path of the tree comes from: a continuation of an item, or a prompt (item: -1).
  struct Path {
    TokenPath tokens;
    std::size_t request = 0;
    int item = -1;
    std::size_t continuation = 0;
    std::vector<std::int32_t> own;                      // the continuation's tokens, or the prompt's
  };
  // A text that decodes.
  struct Text {
    std::size_t index;                                  // of the request
    const Generate* request;
    int node;                                           // its prompt's
    KvSequence sequence;
    std::int64_t pages;                                 // that it may take
    int tokens_max;                                     // of its request, or what the context leaves
    std::int32_t latest = -1;                           // its last token, not yet evaluated
    std::int32_t chosen = -1;                           // what follows; -1: not known
    LogitsDigest digest = {};
    GenerateAnswer answer = {};
    Response response = {};
    Clock::time_point at = {};                          // when its latest token was chosen
    std::size_t shown = 0;                              // bytes of the text already passed on
  };
  struct NodeState {
    std::optional<KvSequence> sequence;
    std::vector<std::int32_t> pending;                  // what the current batch reads
    std::int64_t scored = 0;                            // depth up to which wanted rows have been seen
    std::int64_t pages = 0;                             // that it may take while it is under way
    int children_left = 0;                              // not yet begun
    bool begun = false;                                 // has been taken from its parent
    bool read = false;                                  // completely, once
  };
  // What scoring needs of a row.
  struct RowFacts {
    LogSumExp sum = {};
    std::int64_t best = 0;
    RowDigest digest = {};
  };
  // Part of a batch.
  struct Part {
    int node = -1;                                      // or a text
    std::size_t text = 0;
    std::int64_t before = 0;                            // length of its sequence before the batch
    bool failed = false;
  };

  // native_loglikelihood.cc
  Status plan(const Loglikelihood& request, std::size_t index);
  void score(const Path& path, std::int64_t depth, std::span<const float> logits, const RowFacts& facts);
  void finish(Item& item);
  // native_generate.cc
  Status plan(const Generate& request, std::size_t index);
  Text begin_text(const Path& path, int node) const;
  void choose(Text& text, std::span<const float> logits) const;
  bool advance(Text& text);                             // takes the chosen token in; false: the text is finished and delivered
  void finish(Text& text, GenerateAnswer::Stop stop);
  // native_evaluation.cc
  bool step();
  void collect();                                       // parts_ and segments_ of the next batch
  bool begin(int node, bool force);
  void add_part(int node, std::int64_t& rows);
  Status forward();
  void read_row(std::size_t segment, std::int64_t token, std::span<const float> logits);  // for rows of a batch in any order, side by side
  void see_row(std::size_t segment, std::int64_t token, std::span<const float> logits);   // then in order
  RowFacts& facts_of(std::size_t segment, std::int64_t token) {
    return facts_[segment][static_cast<std::size_t>(token - std::max<std::int64_t>(0, segments_[segment].first_wanted))];
  }
  void complete(int node);
  void fail(int node, const Error& error);
  bool fits(std::int64_t pages) const;
  void make_room(int node, std::int64_t pages);
  const Path& path(std::size_t place) const { return paths_[tree_.order[place]]; }
  bool ends_texts(const PrefixTree::Node& node) const;
  int tokens_max(const Path& path) const;               // of its request, or what the context leaves
  std::int64_t growth(const Path& path) const;          // pages that its generated tokens will take
  const PrefixTree::Node& node_of(int node) const { return tree_.nodes[static_cast<std::size_t>(node)]; }
  NodeState& state_of(int node) { return states_[static_cast<std::size_t>(node)]; }

  NativeEngine& engine_;
  std::span<const Request> requests_;
  Delivery& delivery_;
  const std::function<void(std::string_view)>& text_;
  std::deque<Item> items_;
  std::deque<Path> paths_;
  PrefixTree tree_;
  std::vector<NodeState> states_;
  std::set<int> ready_;                                 // nodes that may be read or are being read: their parents are read
  int under_way_ = 0;                                   // of these, the ones begun
  std::int64_t promised_pages_ = 0;                     // that nodes and texts under way will still take
  std::vector<Text> texts_;
  std::deque<Text> waiting_;                            // texts that have their first token and no place yet
  std::vector<Text> born_;                              // of the current batch
  std::vector<Part> parts_;
  std::vector<Transformer::Segment> segments_;
  std::vector<std::vector<RowFacts>> facts_;            // per segment that is a node: of its wanted rows
};

}  // namespace quantfleet
