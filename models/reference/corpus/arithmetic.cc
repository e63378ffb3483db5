// Arithmetic: "73+54=28" says 37 + 45 = 82: every number is written least significant digit first. Differences are never
// negative, zeros that lead the number are not written.
#include "models/reference/corpus/areas.h"

#include <algorithm>

namespace quantfleet::reference {
namespace {

struct Problem {
  std::string difficulty, prompt, target;
};

int operand(Random& random, int digits) {
  return digits == 1 ? random.below(10) : digits == 2 ? random.between(10, 99) : random.between(100, 999);
}

std::string least_significant_first(int number) {
  std::string digits = std::to_string(number);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

Problem problem(Random& random) {
  // Operand lengths: mostly equal, 2 digits as often as 3; one-digit sums are few and soon known.
  constexpr int kLengths[][2] = {{1, 1}, {2, 1}, {2, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 2}, {3, 3}, {3, 3}, {3, 3}, {3, 2}, {3, 1}};
  const auto& lengths = kLengths[random.below(static_cast<int>(std::size(kLengths)))];
  int a = operand(random, lengths[0]);
  int b = operand(random, lengths[1]);
  const bool minus = random.chance(40);
  if (minus && a < b) std::swap(a, b);
  Problem p;
  p.prompt = least_significant_first(a) + (minus ? "-" : "+") + least_significant_first(b) + "=";
  p.target = least_significant_first(minus ? a - b : a + b);
  const auto digits = std::minmax({std::to_string(a).size(), std::to_string(b).size()});
  p.difficulty = std::to_string(digits.second) + (minus ? "-" : "+") + std::to_string(digits.first) + " digits";
  return p;
}

}  // namespace

std::string arithmetic_document(const World& world, Random& random) {
  const int problems = random.between(1, 4);
  std::string text;
  for (int i = 0; i < problems;) {
    const Problem p = problem(random);
    if (held_out(world, p.prompt, kHeldOutShare)) continue;
    ++i;
    text += p.prompt + answer(p.target + (i < problems ? "\n" : ""));
  }
  return text;
}

Item arithmetic_item(const World& world, Random& random) {
  Problem p = problem(random);
  while (!held_out(world, p.prompt, kHeldOutShare)) p = problem(random);
  Item item;
  item.difficulty = p.difficulty;
  item.prompt = p.prompt;
  item.target = p.target;
  return item;
}

}  // namespace quantfleet::reference
