// What token sequences begin with in common, as a radix tree: a stretch of tokens that many share is one node, evaluated once
// for all of them. Depth counts tokens from the start of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet {

// A sequence in two parts, so that the continuations of one context share its memory. At least one token.
struct TokenPath {
  std::span<const std::int32_t> head, tail;
  std::int64_t first_wanted = 0;  // logits are wanted behind the tokens at this depth and below

  std::int64_t size() const { return static_cast<std::int64_t>(head.size() + tail.size()); }
  std::int32_t operator[](std::int64_t depth) const {
    const auto i = static_cast<std::size_t>(depth);
    return i < head.size() ? head[i] : tail[i - head.size()];
  }
  void append_to(std::vector<std::int32_t>& tokens, std::int64_t begin, std::int64_t end) const;
};

// Tokens that both begin with.
std::int64_t common_prefix(const TokenPath& a, const TokenPath& b);

struct PrefixTree {
  struct Node {
    int parent = -1;
    std::int64_t begin = 0, end = 0;            // depth of its first token and behind its last
    std::int64_t first_wanted = 0;              // depth of its first wanted token, or end
    std::size_t path_begin = 0, path_end = 0;   // the paths through it: order[path_begin .. path_end)
    std::size_t count_ending = 0;               // paths that end with it, the first ones of its range
    int count_children = 0;
  };
  std::vector<std::size_t> order;               // indices of paths, sorted by tokens, equal ones by index
  std::vector<Node> nodes;                      // parents before children, siblings in order; nodes[0] is the root and
                                                // may have no tokens
};

// The tree does not depend on the order of the paths.
PrefixTree build_prefix_tree(std::span<const TokenPath> paths);

}  // namespace quantfleet
