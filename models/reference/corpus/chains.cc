// Chains: "Ann calls Ben, Cal calls Dan, Ben calls Cal. 1 after Ann: Ben. 2 after Ann: Cal."
// Two to five links, told in order or shuffled. An item asks for one person k links after (or before) another; the four
// choices are people of the same story, so knowing who takes part gives nothing.
#include "models/reference/corpus/areas.h"

#include <algorithm>

namespace quantfleet::reference {
namespace {

constexpr const char* kVerbs[] = {" calls ", " pays ", " helps ", " tells "};

struct Story {
  std::vector<std::string> people;  // in chain order
  bool shuffled = false;
  std::string links;  // "Ann calls Ben, ..."
};

struct Question {
  int from, to, steps;
  bool before;
  std::string text;  // " 2 after Ann:"
};

Story story(const World& world, Random& random, int links) {
  Story s;
  std::vector<std::string> names = world.first_names;
  random.shuffle(names);
  s.people.assign(names.begin(), names.begin() + links + 1);
  s.shuffled = random.chance(50);
  const char* verb = kVerbs[random.below(static_cast<int>(std::size(kVerbs)))];
  std::vector<int> order;
  for (int i = 0; i < links; ++i) order.push_back(i);
  if (s.shuffled) random.shuffle(order);
  s.shuffled = !std::is_sorted(order.begin(), order.end());
  for (const int i : order) {
    if (!s.links.empty()) s.links += ", ";
    s.links += s.people[static_cast<std::size_t>(i)] + verb + s.people[static_cast<std::size_t>(i) + 1];
  }
  s.links += ".";
  return s;
}

Question question(const Story& s, Random& random) {
  const int people = static_cast<int>(s.people.size());
  Question q;
  q.before = random.chance(25);
  const int roll = random.below(10);
  q.steps = std::min(people - 1, roll < 5 ? 1 : roll < 8 ? 2 : 3);
  q.from = q.before ? random.between(q.steps, people - 1) : random.below(people - q.steps);
  q.to = q.before ? q.from - q.steps : q.from + q.steps;
  q.text = " " + std::to_string(q.steps) + (q.before ? " before " : " after ") + s.people[static_cast<std::size_t>(q.from)] + ":";
  return q;
}

}  // namespace

std::string chain_document(const World& world, Random& random) {
  Story s = story(world, random, random.between(2, 5));
  while (held_out(world, s.links, kHeldOutShare)) s = story(world, random, random.between(2, 5));
  std::string text = s.links;
  const int questions = random.between(3, 6);
  for (int i = 0; i < questions; ++i) {
    const Question q = question(s, random);
    text += q.text + " " + s.people[static_cast<std::size_t>(q.to)] + ".";
  }
  return text;
}

Item chain_item(const World& world, Random& random) {
  Story s = story(world, random, random.between(3, 5));
  while (!held_out(world, s.links, kHeldOutShare)) s = story(world, random, random.between(3, 5));
  const Question q = question(s, random);
  Item item;
  item.difficulty = std::string(q.before ? "before " : "after ") + std::to_string(q.steps) + (s.shuffled ? " shuffled " : " ordered ") +
                    std::to_string(s.people.size() - 1) + " links";
  item.prompt = s.links + q.text;
  std::vector<std::string> others;
  for (int i = 0; i < static_cast<int>(s.people.size()); ++i)
    if (i != q.to) others.push_back(s.people[static_cast<std::size_t>(i)]);
  random.shuffle(others);
  item.answer = random.below(4);
  others.insert(others.begin() + std::min(item.answer, 3), s.people[static_cast<std::size_t>(q.to)]);
  for (int c = 0; c < 4; ++c) item.choices.push_back(" " + others[static_cast<std::size_t>(c)]);
  return item;
}

}  // namespace quantfleet::reference
