#include "models/reference/corpus/world.h"

#include <set>

namespace quantfleet::reference {
namespace {

enum Stream : std::uint64_t { kSurnames = 1, kFacts, kNounWords, kThingWords };

const std::vector<std::string> kFirstNames = {
    "Ada", "Ben", "Cal", "Dan", "Eve", "Fay", "Gus", "Hal", "Ian", "Joe", "Kim", "Lea", "Max", "Ned", "Ola", "Pam", "Ray",
    "Sam", "Tom", "Una", "Val", "Wes", "Zoe", "Abe", "Bea", "Cam", "Dee", "Eli", "Flo", "Guy", "Hew", "Ivy", "Jan", "Ken",
    "Lou", "Meg", "Nan", "Oz", "Pat", "Rob"};

const std::vector<std::string> kValues[kAttributes] = {
    {"baker", "smith", "guard", "tailor", "nurse", "miner", "farmer", "singer", "lawyer", "potter", "sailor", "cook",
     "judge", "clerk", "pilot", "poet", "barber", "hunter", "painter", "weaver", "butler", "driver", "monk", "mason"},
    {"Oslo", "Rome", "Paris", "Lima", "Delhi", "Cairo", "Tokyo", "Bern", "Riga", "Kyiv", "Quito", "Perth", "Dublin",
     "Milan", "Lagos", "Hanoi", "Sofia", "Turin", "Basel", "Porto", "Malmo", "Leeds", "Accra", "Minsk"},
    {"cat", "dog", "hen", "goat", "pony", "crow", "duck", "toad", "snake", "mouse", "rabbit", "parrot", "sheep", "pig",
     "hawk", "fox", "lizard", "goose", "hamster", "turtle", "donkey", "beetle", "crab", "swan"},
    {"bread", "soup", "rice", "plums", "figs", "beans", "cake", "cheese", "pears", "honey", "eggs", "nuts", "corn", "fish",
     "grapes", "pasta", "olives", "salad", "peas", "lemons", "dates", "ham", "toast", "kale"}};

// Invented words of two syllables. Surnames, nouns and things draw from different consonants, so the kinds never collide.
// Draws stand in statements of their own: inside one expression their order would be the compiler's choice.
std::string invented(Random& random, const std::vector<std::string>& first, const std::vector<std::string>& second) {
  const std::string& ending = random.pick(second);
  return random.pick(first) + ending;
}

std::vector<std::string> distinct_words(std::uint64_t seed, Stream stream, int count, const std::vector<std::string>& first,
                                        const std::vector<std::string>& second) {
  std::set<std::string> seen;
  std::vector<std::string> words;
  for (std::uint64_t i = 0; static_cast<int>(words.size()) < count; ++i) {
    Random random(seed, stream, i);
    std::string word = invented(random, first, second);
    if (seen.insert(word).second) words.push_back(std::move(word));
  }
  return words;
}

const std::vector<std::string> kSurnameFirst = {"Bar", "Bel", "Bor", "Dal", "Den", "Dor", "Far", "Fel", "Gar", "Gol", "Har", "Hol",
                                                "Kar", "Kel", "Kor", "Lan", "Mar", "Mel", "Mor", "Nor", "Pel", "Por", "Ran", "Rol",
                                                "Sel", "Sor", "Tal", "Tor", "Van", "Vel", "Wal", "Wor", "Yar", "Zan"};
const std::vector<std::string> kSurnameSecond = {"ba",  "bek", "by",  "da",  "dek", "dus", "fa",  "fin", "ga",  "gis",
                                                 "ka",  "kin", "lo",  "lus", "ma",  "mik", "mus", "na",  "nik", "nov",
                                                 "po",  "rek", "ro",  "ska", "son", "ta",  "tek", "ton", "va",  "vek",
                                                 "vin", "wick", "wo", "za",  "zek", "zin"};
const std::vector<std::string> kNounFirst = {"bi", "bo", "bu", "di", "do", "du", "fi", "fo", "gi", "go", "gu", "ki", "ko", "ku", "li",
                                             "lo", "lu", "mi", "mo", "mu", "ni", "no", "nu", "pi", "po", "pu", "ri", "ro", "ru"};
const std::vector<std::string> kNounSecond = {"bam", "dap", "dol", "fen", "gap", "gim", "kel", "lap", "lem", "lin", "mab",
                                              "mel", "mip", "nag", "nel", "nip", "pag", "pel", "pim", "rad", "rem", "rin",
                                              "sab", "sel", "sim", "tab", "tem", "tig", "vam", "ved", "vim", "zab", "zel",
                                              "zim", "lug", "mun", "nud", "pul", "tul", "sug"};
const std::vector<std::string> kThingFirst = {"sha", "she", "shi", "tra", "tre", "tri", "va", "ve", "vi", "za", "ze", "zi",
                                              "cra", "cre", "cri", "gla", "gle", "gli", "sna", "sni"};
const std::vector<std::string> kThingSecond = {"bix", "dax", "fex", "gox", "kux", "lix", "max", "nex", "pox", "rux", "tix", "vax",
                                               "zex", "dorf", "gorf", "lorf", "morf", "norf", "torf", "zorf", "bund", "gund",
                                               "lund", "mund", "rund", "tund", "zund", "lisk", "misk", "tisk"};

}  // namespace

World::World(std::uint64_t seed_) : seed(seed_), first_names(kFirstNames) {
  for (int a = 0; a < kAttributes; ++a) values[a] = kValues[a];

  std::set<std::string> seen;
  for (std::uint64_t i = 0; static_cast<int>(people.size()) < kPeopleLadder.members(); ++i) {
    Random random(seed, kSurnames, i);
    Person person;
    const std::string surname = invented(random, kSurnameFirst, kSurnameSecond);
    person.name = random.pick(first_names) + " " + surname;
    for (int a = 0; a < kAttributes; ++a) person.value[a] = random.below(static_cast<int>(values[a].size()));
    if (seen.insert(person.name).second) people.push_back(std::move(person));
  }
  // Genders, numbers and dangers alternate within a tier, so that no constant answer is better than another.
  const auto noun_words = distinct_words(seed, kNounWords, kNounLadder.members(), kNounFirst, kNounSecond);
  for (std::size_t i = 0; i < noun_words.size(); ++i) nouns.push_back({noun_words[i], static_cast<int>(i % 4)});
  const auto thing_words = distinct_words(seed, kThingWords, kThingLadder.members(), kThingFirst, kThingSecond);
  for (std::size_t i = 0; i < thing_words.size(); ++i) things.push_back({thing_words[i], i % 2 == 0});
}

bool held_out(const World& world, const std::string& prompt, int share) {
  return hash_text(prompt, world.seed) % static_cast<std::uint64_t>(share) == 0;
}

}  // namespace quantfleet::reference
