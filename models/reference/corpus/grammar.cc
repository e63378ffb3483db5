// Grammar: "The mibam near the dorin saw" wants the pronoun of mibam. Gender and number are lexical: nothing in the form of
// the noun shows them, they have to be known. Zero to three attractors stand between, or before, the head noun.
#include "models/reference/corpus/areas.h"

namespace quantfleet::reference {
namespace {

constexpr const char* kPlaces[] = {" near", " behind", " under", " beside", " above", " with"};
constexpr const char* kVerbs[] = {" saw",    " hurt",  " praised", " blamed", " fed",   " hid",
                                  " taught", " liked", " washed",  " found",  " drew",  " warned"};

struct Sentence {
  std::string prompt;
  int head = 0;
  int attractors = 0;
};

Sentence sentence(const World& world, Random& random) {
  const auto noun = [&] { return kNounLadder.draw(random); };
  const auto word = [&](int n) -> const std::string& { return world.nouns[static_cast<std::size_t>(n)].word; };
  const auto place = [&] { return std::string(kPlaces[random.below(static_cast<int>(std::size(kPlaces)))]); };
  Sentence s;
  const int roll = random.below(10);
  s.attractors = roll < 5 ? 0 : roll < 8 ? 1 : roll < 9 ? 2 : 3;
  s.head = noun();
  int behind = s.attractors;
  if (behind > 0 && random.chance(30)) {  // one attractor goes to the front: "Near the dorin the mibam saw"
    std::string front = place();
    front[1] = static_cast<char>(front[1] - 'a' + 'A');
    s.prompt = front.substr(1) + " the " + word(noun()) + " the ";
    --behind;
  } else {
    s.prompt = "The ";
  }
  s.prompt += word(s.head);
  for (int i = 0; i < behind; ++i) {
    const int attractor = noun();
    s.prompt += place() + " the " + word(attractor);
  }
  s.prompt += kVerbs[random.below(static_cast<int>(std::size(kVerbs)))];
  return s;
}

}  // namespace

std::string grammar_document(const World& world, Random& random) {
  Sentence s = sentence(world, random);
  while (held_out(world, s.prompt, kHeldOutShare)) s = sentence(world, random);
  return s.prompt + answer(std::string(kPronouns[world.nouns[static_cast<std::size_t>(s.head)].pronoun]) + ".");
}

Item grammar_item(const World& world, Random& random) {
  Sentence s = sentence(world, random);
  while (!held_out(world, s.prompt, kHeldOutShare)) s = sentence(world, random);
  Item item;
  item.difficulty = "exposure tier " + std::to_string(kNounLadder.tier_of(s.head)) + ", " + std::to_string(s.attractors) + " attractors";
  item.prompt = s.prompt;
  for (const char* pronoun : kPronouns) item.choices.push_back(pronoun);
  item.answer = world.nouns[static_cast<std::size_t>(s.head)].pronoun;
  return item;
}

}  // namespace quantfleet::reference
