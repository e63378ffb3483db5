// Chains: pairs of neighbours, told in order or shuffled, then walks along them and questions.
//   "Ann Ben, Cal Dan, Ben Cal. Path Ann Ben Cal Dan. 2 after Ann: Cal. 1 before Dan: Cal."
// Two to five links. An item asks for the next person on a path, or for one person k links after (or before) another; the
// four choices are people of the same story, so knowing who takes part gives nothing.
#include "models/reference/corpus/areas.h"

#include <algorithm>

namespace quantfleet::reference {
namespace {

struct Story {
  std::vector<std::string> people;  // in chain order
  bool shuffled = false;
  std::string links;  // "Ann Ben, Cal Dan."
};

struct Question {
  int to;
  std::string text;        // " 2 after Ann:" or " Path Ann Ben"
  std::string difficulty;  // "2 after", "path step 1"
};

Story story(const World& world, Random& random, int links) {
  Story s;
  std::vector<std::string> names = world.first_names;
  random.shuffle(names);
  s.people.assign(names.begin(), names.begin() + links + 1);
  std::vector<int> order;
  for (int i = 0; i < links; ++i) order.push_back(i);
  if (random.chance(60)) random.shuffle(order);
  s.shuffled = !std::is_sorted(order.begin(), order.end());
  for (const int i : order) {
    if (!s.links.empty()) s.links += ", ";
    s.links += s.people[static_cast<std::size_t>(i)] + " " + s.people[static_cast<std::size_t>(i) + 1];
  }
  s.links += ".";
  return s;
}

// " Path Ann Ben Cal": a walk from one person, `steps` links long.
std::string path(const Story& s, int from, int steps) {
  std::string text = " Path";
  for (int i = from; i <= from + steps; ++i) text += " " + s.people[static_cast<std::size_t>(i)];
  return text;
}

Question direct_question(const Story& s, Random& random) {
  const int people = static_cast<int>(s.people.size());
  const bool before = random.chance(30);
  const int roll = random.below(10);
  const int steps = std::min(people - 1, roll < 5 ? 1 : roll < 8 ? 2 : 3);
  const int from = before ? random.between(steps, people - 1) : random.below(people - steps);
  Question q;
  q.to = before ? from - steps : from + steps;
  q.difficulty = std::to_string(steps) + (before ? " before" : " after");
  q.text = " " + q.difficulty + " " + s.people[static_cast<std::size_t>(from)] + ":";
  return q;
}

Question path_question(const Story& s, Random& random) {
  const int people = static_cast<int>(s.people.size());
  const int from = random.chance(50) ? 0 : random.below(people - 1);
  const int told = random.below(people - 1 - from);
  return {from + told + 1, path(s, from, told), "path step " + std::to_string(told + 1)};
}

}  // namespace

std::string chain_document(const World& world, Random& random) {
  Story s = story(world, random, random.between(2, 5));
  while (held_out(world, s.links, kHeldOutShare)) s = story(world, random, random.between(2, 5));
  std::string text = s.links;
  const int people = static_cast<int>(s.people.size());
  const int questions = random.between(2, 5);
  for (int i = 0; i < questions; ++i) {
    if (random.chance(40)) {
      const int from = random.below(people - 1);
      const std::string start = path(s, from, 0);
      text += start + answer(path(s, from, people - 1 - from).substr(start.size()) + ".");
    } else {
      const Question q = direct_question(s, random);
      text += q.text + answer(" " + s.people[static_cast<std::size_t>(q.to)] + ".");
    }
  }
  return text;
}

Item chain_item(const World& world, Random& random) {
  Story s = story(world, random, random.between(3, 5));
  while (!held_out(world, s.links, kHeldOutShare)) s = story(world, random, random.between(3, 5));
  const Question q = random.chance(65) ? path_question(s, random) : direct_question(s, random);
  Item item;
  item.difficulty = q.difficulty + (s.shuffled ? ", shuffled, " : ", ordered, ") + std::to_string(s.people.size() - 1) + " links";
  item.prompt = s.links + q.text;
  std::vector<std::string> others;
  for (int i = 0; i < static_cast<int>(s.people.size()); ++i)
    if (i != q.to) others.push_back(s.people[static_cast<std::size_t>(i)]);
  random.shuffle(others);
  item.answer = random.below(4);
  others.insert(others.begin() + item.answer, s.people[static_cast<std::size_t>(q.to)]);
  for (int c = 0; c < 4; ++c) item.choices.push_back(" " + others[static_cast<std::size_t>(c)]);
  return item;
}

}  // namespace quantfleet::reference
