#include "backends/engines/prefix_tree.h"

#include <algorithm>
#include <numeric>

namespace quantfleet {

void TokenPath::append_to(std::vector<std::int32_t>& tokens, std::int64_t begin, std::int64_t end) const {
  for (std::int64_t depth = begin; depth < end; ++depth) tokens.push_back((*this)[depth]);
}

std::int64_t common_prefix(const TokenPath& a, const TokenPath& b) {
  const auto rest = [](const TokenPath& path, std::size_t depth) {
    return depth < path.head.size() ? path.head.subspan(depth) : path.tail.subspan(std::min(depth - path.head.size(), path.tail.size()));
  };
  std::size_t depth = a.head.data() == b.head.data() ? std::min(a.head.size(), b.head.size()) : 0;
  for (;;) {
    const auto left = rest(a, depth), right = rest(b, depth);
    const std::size_t count = std::min(left.size(), right.size());
    if (count == 0) return static_cast<std::int64_t>(depth);
    const auto same = static_cast<std::size_t>(
        std::mismatch(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(count), right.begin()).first - left.begin());
    depth += same;
    if (same < count) return static_cast<std::int64_t>(depth);
  }
}

PrefixTree build_prefix_tree(std::span<const TokenPath> paths) {
  PrefixTree tree;
  tree.order.resize(paths.size());
  std::iota(tree.order.begin(), tree.order.end(), std::size_t{0});
  std::sort(tree.order.begin(), tree.order.end(), [&](std::size_t i, std::size_t j) {
    const TokenPath &a = paths[i], &b = paths[j];
    const std::int64_t same = common_prefix(a, b);
    if (same == a.size() || same == b.size()) return a.size() != b.size() ? a.size() < b.size() : i < j;
    return a[same] < b[same];
  });
  const auto path = [&](std::size_t place) -> const TokenPath& { return paths[tree.order[place]]; };
  std::vector<std::int64_t> shared(paths.size(), 0);  // with the path before
  for (std::size_t i = 1; i < paths.size(); ++i) shared[i] = common_prefix(path(i - 1), path(i));

  struct Range {
    int parent;
    std::size_t begin, end;
  };
  std::vector<Range> open;
  if (!paths.empty()) open.push_back({-1, 0, paths.size()});
  while (!open.empty()) {
    const Range range = open.back();
    open.pop_back();
    PrefixTree::Node node;
    node.parent = range.parent;
    node.path_begin = range.begin, node.path_end = range.end;
    node.begin = range.parent < 0 ? 0 : tree.nodes[static_cast<std::size_t>(range.parent)].end;
    node.end = path(range.begin).size();  // the shortest of those that are prefixes of all
    for (std::size_t i = range.begin + 1; i < range.end; ++i) node.end = std::min(node.end, shared[i]);
    node.first_wanted = node.end;
    for (std::size_t i = range.begin; i < range.end; ++i) node.first_wanted = std::min(node.first_wanted, std::max(node.begin, path(i).first_wanted));
    std::size_t first = range.begin;
    while (first < range.end && path(first).size() == node.end) ++first;
    node.count_ending = first - range.begin;
    const int index = static_cast<int>(tree.nodes.size());
    const std::size_t children_begin = open.size();
    for (std::size_t begin = first; begin < range.end;) {
      std::size_t end = begin + 1;
      while (end < range.end && shared[end] > node.end) ++end;
      open.push_back({index, begin, end});
      ++node.count_children;
      begin = end;
    }
    std::reverse(open.begin() + static_cast<std::ptrdiff_t>(children_begin), open.end());
    tree.nodes.push_back(node);
  }
  return tree;
}

}  // namespace quantfleet
