#include "backends/engines/reference_row.h"

#include "backends/kernels/elementary.h"

#include <algorithm>
#include <cmath>

namespace quantfleet {
namespace {

constexpr double kStep = 64.0 / (1 << 24);  // of a stored logarithm: 0 to -64 nats
constexpr std::uint32_t kNone = (1u << 24) - 1;  // logarithm of an absent entry, and of an empty tail

double probability(float log_probability) { return static_cast<double>(elementary::exp(log_probability)); }

// splitmix64 (Steele, Lea, Flood 2014), as a number in [0, 1).
double next_uniform(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

std::uint32_t most_likely(std::span<const float> row) {
  return static_cast<std::uint32_t>(std::max_element(row.begin(), row.end()) - row.begin());  // the first of equals
}

void put(std::byte*& at, std::uint32_t number) {
  for (int i = 0; i < 3; ++i) *at++ = static_cast<std::byte>(number >> (8 * i));
}

std::uint32_t take(const std::byte*& at) {
  std::uint32_t number = 0;
  for (int i = 0; i < 3; ++i) number |= static_cast<std::uint32_t>(*at++) << (8 * i);
  return number;
}

std::uint32_t rounded(double log_probability) {
  return static_cast<std::uint32_t>(std::min(std::round(-std::min(log_probability, 0.0) / kStep), static_cast<double>(kNone - 1)));
}

}  // namespace

ReferenceRow summarize(std::span<const float> log_probabilities, std::int32_t target, std::uint64_t seed) {
  ReferenceRow row;
  const std::size_t V = log_probabilities.size(), kept = std::min<std::size_t>(kTop, V);
  row.target = static_cast<double>(log_probabilities[static_cast<std::size_t>(target)]);
  // The top, by insertion: after the first few tokens almost none is inserted.
  for (std::size_t i = 0; i < V; ++i) {
    const double value = static_cast<double>(log_probabilities[i]);
    if (row.top.size() == kept && value <= row.top.back().log_probability) continue;
    if (row.top.size() == kept) row.top.pop_back();
    const auto place = std::find_if(row.top.begin(), row.top.end(), [&](const auto& entry) { return entry.log_probability < value; });
    row.top.insert(place, {static_cast<std::uint32_t>(i), value});
  }
  std::vector<std::uint32_t> top;
  for (const auto& entry : row.top) top.push_back(entry.token);
  std::sort(top.begin(), top.end());

  const auto over_the_tail = [&](auto&& visit) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < V; ++i) {
      if (next < top.size() && top[next] == i) ++next;
      else if (!visit(static_cast<std::uint32_t>(i), probability(log_probabilities[i]))) return;
    }
  };
  double mass = 0;
  over_the_tail([&](std::uint32_t, double p) { return mass += p, true; });
  row.tail = mass > 0 ? std::log(mass) : -INFINITY;
  if (mass <= 0) return row;
  // The n-th draw lies in the n-th of kDraws equal shares of the mass; all in one walk.
  double below = 0, threshold = next_uniform(seed) / kDraws * mass;
  std::uint32_t last = 0;
  over_the_tail([&](std::uint32_t token, double p) {
    if (p > 0) last = token;
    below += p;
    while (row.draws.size() < kDraws && below > threshold) {
      row.draws.push_back({token, static_cast<double>(log_probabilities[token])});
      threshold = (static_cast<double>(row.draws.size()) + next_uniform(seed)) / kDraws * mass;
    }
    return row.draws.size() < kDraws;
  });
  while (row.draws.size() < kDraws) row.draws.push_back({last, static_cast<double>(log_probabilities[last])});  // rounding of `below`
  return row;
}

std::array<std::byte, kReferenceRowBytes> encode(const ReferenceRow& row) {
  std::array<std::byte, kReferenceRowBytes> bytes{};
  std::byte* at = bytes.data();
  put(at, rounded(row.target));
  put(at, row.draws.empty() ? kNone : rounded(row.tail));
  const auto entries = [&](const std::vector<ReferenceRow::Entry>& list, int count) {
    for (int i = 0; i < count; ++i) {
      const bool present = static_cast<std::size_t>(i) < list.size();
      put(at, present ? list[static_cast<std::size_t>(i)].token : 0);
      put(at, present ? rounded(list[static_cast<std::size_t>(i)].log_probability) : kNone);
    }
  };
  entries(row.top, kTop);
  entries(row.draws, kDraws);
  return bytes;
}

bool decode(std::span<const std::byte, kReferenceRowBytes> bytes, std::size_t vocabulary, ReferenceRow& row) {
  const std::byte* at = bytes.data();
  const std::uint32_t target = take(at), tail = take(at);
  if (target == kNone) return false;
  row = {};
  row.target = -kStep * target;
  row.tail = tail == kNone ? -INFINITY : -kStep * tail;
  const auto entries = [&](std::vector<ReferenceRow::Entry>& list, int count) {
    bool good = true;
    for (int i = 0; i < count; ++i) {
      const std::uint32_t token = take(at), logarithm = take(at);
      if (logarithm == kNone) good = good && token == 0;
      else if (token >= vocabulary || list.size() < static_cast<std::size_t>(i)) good = false;  // beyond it, or behind a gap
      else list.push_back({token, -kStep * logarithm});
    }
    return good;
  };
  if (!entries(row.top, kTop) || !entries(row.draws, kDraws)) return false;
  if (row.top.size() != std::min<std::size_t>(kTop, vocabulary)) return false;
  if (row.draws.size() != (tail == kNone ? 0u : static_cast<std::size_t>(kDraws))) return false;
  if (tail != kNone && vocabulary <= kTop) return false;
  double mass = tail == kNone ? 0 : std::exp(row.tail);
  for (std::size_t i = 0; i < row.top.size(); ++i) {
    mass += std::exp(row.top[i].log_probability);
    if (i > 0 && row.top[i].log_probability > row.top[i - 1].log_probability) return false;
    for (std::size_t j = 0; j < i; ++j)
      if (row.top[i].token == row.top[j].token) return false;
  }
  for (const auto& draw : row.draws)
    for (const auto& entry : row.top)
      if (draw.token == entry.token) return false;
  return mass <= 1.001;  // rounding and single-precision log-softmax stay far below
}

double estimation_error(double kl_variance_sum, double rows) { return std::sqrt(kl_variance_sum) / rows; }

RowDivergence divergence(const ReferenceRow& reference, std::span<const float> model, std::int32_t target) {
  RowDivergence result;
  double s = 0;
  for (const float value : model) s += probability(value);
  double top = 0;
  for (const auto& entry : reference.top) {
    const float q = model[entry.token];
    top += probability(q);
    const double p = std::exp(entry.log_probability);
    result.kl_lower += p * (entry.log_probability - static_cast<double>(q));
  }
  s -= top;
  if (s < 1e-3) {  // cancellation: add up the tail itself
    std::vector<std::uint32_t> tokens;
    for (const auto& entry : reference.top) tokens.push_back(entry.token);
    std::sort(tokens.begin(), tokens.end());
    s = 0;
    std::size_t next = 0;
    for (std::size_t i = 0; i < model.size(); ++i) {
      if (next < tokens.size() && tokens[next] == i) ++next;
      else s += probability(model[i]);
    }
  }
  result.kl = result.kl_lower;
  if (!reference.draws.empty()) {
    const double t = std::exp(reference.tail), log_s = s > 0 ? std::log(s) : -64.0;
    result.kl_lower += t * (reference.tail - log_s);
    double sum = 0, squares = 0;
    for (const auto& draw : reference.draws) {
      const double d = (draw.log_probability - reference.tail) - (static_cast<double>(model[draw.token]) - log_s);
      const double value = d + std::exp(-std::max(d, -700.0)) - 1;
      sum += value;
      squares += value * value;
    }
    const double n = static_cast<double>(reference.draws.size()), mean = sum / n;
    result.kl = result.kl_lower + t * mean;
    result.kl_variance = t * t * std::max(0.0, squares / n - mean * mean) / (n - 1);
  }
  result.reference_nll = -reference.target;
  result.delta_p = probability(model[static_cast<std::size_t>(target)]) - std::exp(reference.target);
  result.same_top = reference.top.front().token == most_likely(model);
  return result;
}

RowDivergence divergence(std::span<const float> reference, std::span<const float> model, std::int32_t target) {
  RowDivergence result;
  for (std::size_t i = 0; i < model.size(); ++i) {
    const double p = probability(reference[i]);
    if (p > 0) result.kl += p * (static_cast<double>(reference[i]) - static_cast<double>(model[i]));
  }
  result.kl_lower = result.kl;
  result.reference_nll = -static_cast<double>(reference[static_cast<std::size_t>(target)]);
  result.delta_p = probability(model[static_cast<std::size_t>(target)]) - probability(reference[static_cast<std::size_t>(target)]);
  result.same_top = most_likely(reference) == most_likely(model);
  return result;
}

}  // namespace quantfleet
