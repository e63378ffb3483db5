// The little world the corpus talks about: people with facts, nouns with a lexical gender and number, things that are
// dangerous or not. Everything follows from one seed.
//
// Exposure ladder: people, nouns and things come in tiers; tier t holds first_tier_size * 2^t members and every tier is
// mentioned equally often, so a member of tier t is seen half as often as one of tier t - 1 (Zipf's law in octaves).
#pragma once

#include "models/reference/corpus/random.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet::reference {

struct Ladder {
  int first_tier_size;
  int tiers;
  constexpr int members() const { return first_tier_size * ((1 << tiers) - 1); }
  constexpr int begin(int tier) const { return first_tier_size * ((1 << tier) - 1); }
  constexpr int size(int tier) const { return first_tier_size << tier; }
  int draw(Random& random) const {
    const int tier = random.below(tiers);
    return begin(tier) + random.below(size(tier));
  }
  int tier_of(int member) const {
    int tier = 0;
    while (member >= begin(tier + 1)) ++tier;
    return tier;
  }
};

inline constexpr Ladder kPeopleLadder{16, 7};   // 2,032 people
inline constexpr Ladder kNounLadder{8, 6};      // 504 nouns
inline constexpr Ladder kThingLadder{8, 6};     // 504 things

inline constexpr int kAttributes = 4;  // job, home, pet, food

struct Person {
  std::string name;            // "Mira Tolvek"
  int value[kAttributes];      // index into World::values[attribute]
};

struct Noun {
  std::string word;
  int pronoun;  // index into kPronouns: gender and number belong to the word, its form does not show them
};

struct Thing {
  std::string word;
  bool harmful;
};

inline constexpr const char* kPronouns[] = {" himself", " herself", " itself", " themselves"};

struct World {
  explicit World(std::uint64_t seed);

  std::uint64_t seed;
  std::vector<std::string> first_names;           // 40, also the people of the reasoning chains
  std::vector<std::string> values[kAttributes];   // 24 words each
  std::vector<Person> people;
  std::vector<Noun> nouns;
  std::vector<Thing> things;
};

// True for one prompt in `share`: those are never generated for training, and items are made only from them.
bool held_out(const World& world, const std::string& prompt, int share);

}  // namespace quantfleet::reference
