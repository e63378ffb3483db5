// Facts: a sentence has one to three facts about one person. Every (person, attribute) pair has one wording of four that is
// never used for it in training; the item asks in that wording, which the model has seen with other people only.
#include "models/reference/corpus/areas.h"

namespace quantfleet::reference {
namespace {

constexpr int kWordings = 4;
constexpr const char* kWording[kAttributes][kWordings] = {
    {" works as", " is a", " earns as", " serves as"},
    {" lives in", " is from", " stays in", " dwells in"},
    {" keeps a", " owns a", " feeds a", " has a"},
    {" eats", " likes", " cooks", " buys"},
};

int held_out_wording(const World& world, int person, int attribute) {
  return static_cast<int>(mix64(world.seed ^ mix64(static_cast<std::uint64_t>(person) * kAttributes +
                                                   static_cast<std::uint64_t>(attribute))) % kWordings);
}

}  // namespace

std::string fact_document(const World& world, Random& random) {
  const int who = kPeopleLadder.draw(random);
  const Person& person = world.people[static_cast<std::size_t>(who)];
  std::vector<int> attributes = {0, 1, 2, 3};
  random.shuffle(attributes);
  const int facts = random.between(1, 3);
  std::string text = person.name;
  for (int i = 0; i < facts; ++i) {
    const int a = attributes[static_cast<std::size_t>(i)];
    const int wording = (held_out_wording(world, who, a) + 1 + random.below(kWordings - 1)) % kWordings;
    if (i > 0) text += ",";
    text += kWording[a][wording];
    text += answer(" " + world.values[a][static_cast<std::size_t>(person.value[a])]);
  }
  return text + ".";
}

Item fact_item(const World& world, Random& random) {
  // Tiers of 16 people have 64 facts only: every second tier draw is repeated until the caller has seen enough.
  const int who = kPeopleLadder.draw(random);
  const int a = random.below(kAttributes);
  const Person& person = world.people[static_cast<std::size_t>(who)];
  Item item;
  item.difficulty = "exposure tier " + std::to_string(kPeopleLadder.tier_of(who));
  item.prompt = person.name + kWording[a][held_out_wording(world, who, a)];
  std::vector<int> others;
  for (int v = 0; v < static_cast<int>(world.values[a].size()); ++v)
    if (v != person.value[a]) others.push_back(v);
  random.shuffle(others);
  item.answer = random.below(4);
  for (int c = 0; c < 4; ++c) {
    const int value = c == item.answer ? person.value[a] : others[static_cast<std::size_t>(c)];
    item.choices.push_back(" " + world.values[a][static_cast<std::size_t>(value)]);
  }
  return item;
}

}  // namespace quantfleet::reference
