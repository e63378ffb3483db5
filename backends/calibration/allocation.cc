// Choice of one option per tensor under a budget: options on the lower convex hull by a Lagrange multiplier, then single upgrades.
#include "backends/calibration/adaptive_mix.h"

#include <algorithm>
#include <limits>

namespace quantfleet {

namespace {

std::size_t cheapest(const std::vector<FormatOption>& options, double price) {
  std::size_t best = 0;
  double best_cost = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < options.size(); ++i) {
    const double cost = options[i].loss + price * static_cast<double>(options[i].bytes);
    if (cost < best_cost || (cost == best_cost && options[i].bytes < options[best].bytes)) {
      best = i;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace

std::vector<std::size_t> allocate(std::span<const std::vector<FormatOption>> options, std::uint64_t budget) {
  std::vector<std::size_t> chosen(options.size());
  const auto choose = [&](double price) {
    std::uint64_t bytes = 0;
    for (std::size_t t = 0; t < options.size(); ++t) {
      chosen[t] = cheapest(options[t], price);
      bytes += options[t][chosen[t]].bytes;
    }
    return bytes;
  };
  // The price of a byte: bisected between free and so dear that only size counts.
  double low = 0, high = 1e-18;
  if (choose(low) > budget) {
    while (high < 1e18 && choose(high) > budget) high *= 2;
    if (choose(high) > budget) {
      std::uint64_t least = 0;
      for (std::size_t t = 0; t < options.size(); ++t) {
        chosen[t] = static_cast<std::size_t>(std::min_element(options[t].begin(), options[t].end(), [](const auto& a, const auto& b) { return a.bytes < b.bytes; }) - options[t].begin());
        least += options[t][chosen[t]].bytes;
      }
      if (least > budget) return {};
      high = std::numeric_limits<double>::infinity();
    }
    for (int i = 0; i < 100 && high < std::numeric_limits<double>::infinity(); ++i) {
      const double middle = 0.5 * (low + high);
      (choose(middle) > budget ? low : high) = middle;
    }
    if (high < std::numeric_limits<double>::infinity()) choose(high);
  }
  // What is left: the best upgrade by loss saved per byte, as long as one fits.
  std::uint64_t used = 0;
  for (std::size_t t = 0; t < options.size(); ++t) used += options[t][chosen[t]].bytes;
  for (;;) {
    std::size_t tensor = options.size(), option = 0;
    double best = 0;
    for (std::size_t t = 0; t < options.size(); ++t) {
      const FormatOption& now = options[t][chosen[t]];
      for (std::size_t i = 0; i < options[t].size(); ++i) {
        const FormatOption& other = options[t][i];
        if (other.loss >= now.loss || used - now.bytes + other.bytes > budget) continue;
        const double more = other.bytes > now.bytes ? static_cast<double>(other.bytes - now.bytes) : 1e-3;
        const double gain = (now.loss - other.loss) / more;
        if (gain > best) best = gain, tensor = t, option = i;
      }
    }
    if (tensor == options.size()) return chosen;
    used = used - options[tensor][chosen[tensor]].bytes + options[tensor][option].bytes;
    chosen[tensor] = option;
  }
}

}  // namespace quantfleet
