// Programs: "# add 7, double" asks for a function whose body performs the operations in that order, one statement each.
// "... twice" repeats the operation before it; "backwards:" asks for the reverse order. Some wordings are common, some
// rare. The answer is Python that a sandbox executes on five inputs; nothing compares its text.
#include "models/reference/corpus/areas.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace quantfleet::reference {
namespace {

struct Operation {
  const char* wordings[3];  // N stands for the constant; common, uncommon, rare
  const char* statement;
  std::int64_t (*apply)(std::int64_t x, std::int64_t n);
};

std::int64_t floor_div(std::int64_t x, std::int64_t n) { return x / n - (x % n != 0 && (x % n < 0) != (n < 0)); }
std::int64_t floor_mod(std::int64_t x, std::int64_t n) { return x - n * floor_div(x, n); }

const Operation kOperations[] = {
    {{"add N", "plus N", "raise by N"}, "x+=N", [](std::int64_t x, std::int64_t n) { return x + n; }},
    {{"take N", "minus N", "lower by N"}, "x-=N", [](std::int64_t x, std::int64_t n) { return x - n; }},
    {{"times N", "scale by N", "grow by N"}, "x*=N", [](std::int64_t x, std::int64_t n) { return x * n; }},
    {{"divide by N", "over N", "split by N"}, "x//=N", [](std::int64_t x, std::int64_t n) { return floor_div(x, n); }},
    {{"mod N", "rest of N", "wrap at N"}, "x%=N", [](std::int64_t x, std::int64_t n) { return floor_mod(x, n); }},
    {{"double", "twofold", "pair"}, "x+=x", [](std::int64_t x, std::int64_t) { return x + x; }},
    {{"square", "power", "quad"}, "x*=x", [](std::int64_t x, std::int64_t) { return x * x; }},
    {{"negate", "flip", "mirror"}, "x=-x", [](std::int64_t x, std::int64_t) { return -x; }},
    {{"at least N", "floor N", "min N"}, "x=max(x,N)", [](std::int64_t x, std::int64_t n) { return std::max(x, n); }},
    {{"at most N", "cap N", "limit N"}, "x=min(x,N)", [](std::int64_t x, std::int64_t n) { return std::min(x, n); }},
    {{"size", "absolute", "unsign"}, "x=abs(x)", [](std::int64_t x, std::int64_t) { return std::abs(x); }},
    {{"from N", "N minus it", "gap to N"}, "x=N-x", [](std::int64_t x, std::int64_t n) { return n - x; }},
};

struct Step {
  int operation, wording, constant;
};

std::string filled(const std::string& pattern, int constant) {
  std::string text;
  for (const char c : pattern) text += c == 'N' ? std::to_string(constant) : std::string(1, c);
  return text;
}

struct Program {
  std::string prompt, body, difficulty;
  std::vector<Step> steps;  // in the order of execution
  int operations = 0;       // told
  int constants = 0;        // that have to be copied
};

Program program(Random& random) {
  Program p;
  const int operations = random.between(1, 5);
  const bool backwards = operations > 1 && random.chance(15);
  p.operations = operations;
  std::vector<Step> told;
  std::string text;
  int rare = 0, repeats = 0;
  for (int i = 0; i < operations; ++i) {
    Step step;
    step.operation = random.below(static_cast<int>(std::size(kOperations)));
    const int roll = random.below(100);
    step.wording = roll < 75 ? 0 : roll < 96 ? 1 : 2;
    step.constant = random.chance(70) ? random.between(2, 9) : random.between(10, 30);
    rare += step.wording == 2;
    p.constants += std::string_view(kOperations[step.operation].statement).find('N') != std::string_view::npos;
    told.push_back(step);
    if (i > 0) text += ", ";
    text += filled(kOperations[step.operation].wordings[step.wording], step.constant);
    if (!backwards && random.chance(8)) {
      told.push_back(step);
      text += " twice";
      ++repeats;
    }
  }
  if (backwards) std::reverse(told.begin(), told.end());
  p.steps = told;
  p.prompt = std::string(backwards ? "# backwards: " : "# ") + text + "\ndef f(x):\n";
  for (const Step& step : told) p.body += " " + filled(kOperations[step.operation].statement, step.constant) + "\n";
  p.body += " return x";
  p.difficulty = std::to_string(operations) + " operations" + (backwards ? ", backwards" : "") + (repeats ? ", twice" : "") +
                 ", " + std::to_string(p.constants) + " constants" + (rare ? ", rare word" : "");
  return p;
}

// The function's value, or nothing when it leaves the range in which every intermediate result is small.
std::optional<std::int64_t> run(const Program& p, std::int64_t x) {
  for (const Step& step : p.steps) {
    x = kOperations[step.operation].apply(x, step.constant);
    if (std::abs(x) > 1'000'000'000) return std::nullopt;
  }
  return x;
}

}  // namespace

std::string program_document(const World& world, Random& random) {
  Program p = program(random);
  while (held_out(world, p.prompt, kHeldOutShare)) p = program(random);
  return p.prompt + answer(p.body);
}

Item program_item(const World& world, Random& random) {
  constexpr std::int64_t kInputs[] = {-7, 0, 4, 13, 52};
  // A quarter of the candidates each: no constant to copy, one, two, as it comes.
  const int wanted = random.below(4);
  const int operations = random.between(std::max(1, wanted % 3), 5);
  while (true) {
    const Program p = program(random);
    if (p.operations != operations || (wanted < 3 && p.constants != wanted)) continue;
    if (!held_out(world, p.prompt, kHeldOutShare)) continue;
    Item item;
    bool in_range = true, varies = false;
    for (const std::int64_t x : kInputs) {
      const auto value = run(p, x);
      if (!value) {
        in_range = false;
        break;
      }
      varies = varies || *value != *run(p, kInputs[0]);
      item.tests.push_back("assert f(" + std::to_string(x) + ") == " + std::to_string(*value));
    }
    if (!in_range || !varies) continue;  // a constant function would accept wrong programs
    item.difficulty = p.difficulty;
    item.prompt = p.prompt;
    item.target = p.body;
    return item;
  }
}

}  // namespace quantfleet::reference
