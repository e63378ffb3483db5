// The radix tree over token sequences against its definition: every path is the concatenation of its nodes, no two siblings
// begin alike, and nothing depends on the order of the sequences.
#include "backends/engines/prefix_tree.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <string>

namespace quantfleet {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Sequences {
  std::vector<Tokens> all;
  std::vector<TokenPath> paths;
  // Cut in two at `cut` of each, or where it ends.
  Sequences(std::vector<Tokens> tokens, std::size_t cut = 2, std::int64_t wanted = 1) : all(std::move(tokens)) {
    for (const Tokens& one : all) {
      const std::span<const std::int32_t> span(one);
      const std::size_t at = std::min(cut, one.size());
      paths.push_back({span.first(at), span.subspan(at), std::min<std::int64_t>(wanted, static_cast<std::int64_t>(one.size()) - 1)});
    }
  }
};

// "depth:tokens x paths" of every node, in order.
std::string drawing(const PrefixTree& tree, std::span<const TokenPath> paths) {
  std::string text;
  for (const auto& node : tree.nodes) {
    text += std::to_string(node.begin) + ":";
    for (std::int64_t d = node.begin; d < node.end; ++d) text += std::to_string(paths[tree.order[node.path_begin]][d]) + (d + 1 < node.end ? "," : "");
    text += "x" + std::to_string(node.path_end - node.path_begin) + " ";
  }
  return text;
}

TEST_CASE("a common prefix is counted over both parts of a sequence", "[engines]") {
  const Tokens a = {1, 2, 3, 4, 5}, b = {1, 2, 3, 9};
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      const TokenPath x{std::span(a).first(i), std::span(a).subspan(i), 0}, y{std::span(b).first(j), std::span(b).subspan(j), 0};
      CHECK(common_prefix(x, y) == 3);
      CHECK(common_prefix(x, x) == 5);
    }
  CHECK(common_prefix(TokenPath{a, {}, 0}, TokenPath{{}, {}, 0}) == 0);
}

TEST_CASE("header, stems and choices become three levels", "[engines]") {
  const Sequences s({{7, 7, 1, 5}, {7, 7, 1, 6}, {7, 7, 2, 5}, {7, 7, 2, 6, 6}, {7, 7, 2, 6}});
  const PrefixTree tree = build_prefix_tree(s.paths);
  CHECK(drawing(tree, s.paths) == "0:7,7x5 2:1x2 3:5x1 3:6x1 2:2x3 3:5x1 3:6x2 4:6x1 ");
  CHECK(tree.nodes[0].count_children == 2);
  CHECK(tree.nodes[6].count_ending == 1);
  CHECK(tree.nodes[6].count_children == 1);
}

TEST_CASE("sequences without a common beginning share an empty root, and equal ones a whole path", "[engines]") {
  const Sequences s({{1, 2}, {3}, {1, 2}});
  CHECK(drawing(build_prefix_tree(s.paths), s.paths) == "0:x3 0:1,2x2 0:3x1 ");
  CHECK(build_prefix_tree({}).nodes.empty());
}

TEST_CASE("random trees hold exactly their sequences, whatever order they came in", "[engines]") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<Tokens> tokens(1 + random() % 12);
    for (Tokens& one : tokens)
      for (std::size_t i = 0, count = 1 + random() % 9; i < count; ++i) one.push_back(static_cast<std::int32_t>(random() % 2));
    const Sequences s(tokens, random() % 4, static_cast<std::int64_t>(random() % 6));
    const PrefixTree tree = build_prefix_tree(s.paths);
    std::vector<std::int64_t> reached(s.paths.size(), 0), ended(s.paths.size(), 0);
    for (std::size_t n = 0; n < tree.nodes.size(); ++n) {
      const auto& node = tree.nodes[n];
      CHECK(node.parent < static_cast<int>(n));
      CHECK((n == 0 || node.end > node.begin));
      std::int64_t wanted = node.end;
      for (std::size_t place = node.path_begin; place < node.path_end; ++place) {
        const std::size_t p = tree.order[place];
        CHECK(reached[p] == node.begin);
        reached[p] = node.end;
        for (std::int64_t d = node.begin; d < node.end; ++d) CHECK(s.paths[p][d] == s.paths[tree.order[node.path_begin]][d]);
        wanted = std::min(wanted, std::max(node.begin, s.paths[p].first_wanted));
        if (place >= node.path_begin + node.count_ending) continue;
        ++ended[p];
        CHECK(s.paths[p].size() == node.end);
      }
      CHECK(node.first_wanted == wanted);
      std::set<std::int32_t> firsts;
      int children = 0;
      for (const auto& child : tree.nodes) {
        if (child.parent != static_cast<int>(n)) continue;
        ++children;
        CHECK(firsts.insert(s.paths[tree.order[child.path_begin]][child.begin]).second);
      }
      CHECK(children == node.count_children);
    }
    for (std::size_t p = 0; p < s.paths.size(); ++p) {
      CHECK(reached[p] == s.paths[p].size());
      CHECK(ended[p] == 1);
    }
    std::vector<Tokens> shuffled = tokens;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const Sequences other(shuffled);
    CHECK(drawing(build_prefix_tree(other.paths), other.paths) == drawing(tree, s.paths));
  }
}

}  // namespace
}  // namespace quantfleet
