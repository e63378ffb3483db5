#include "models/reference/corpus/corpus.h"

#include <catch2/catch.hpp>

#include <map>
#include <set>
#include <unordered_set>

namespace quantfleet::reference {
namespace {

// Training it takes longer than what the tests ask of it.
const Tokenizer& trained_tokenizer() {
  static const Tokenizer tokenizer = train_tokenizer(Corpus());
  return tokenizer;
}

TEST_CASE("a document depends on seed and index alone", "[corpus]") {
  const Corpus corpus, again, other(kSeed + 1);
  CHECK(corpus.document(12'345) == again.document(12'345));
  CHECK(corpus.document(12'345) != corpus.document(12'346));
  CHECK(corpus.document(12'345) != other.document(12'345));
}

TEST_CASE("the generator's first draws stay what they are", "[corpus]") {
  Random random(1, 2, 3);
  const std::uint64_t first = random.next();
  Random same(1, 2, 3);
  CHECK(same.next() == first);
  CHECK(mix64(0) == 0xe220a8397b1dcdafull);  // SplitMix64's published first output for seed 0
}

TEST_CASE("a tier of the exposure ladder is mentioned as often as any other", "[corpus]") {
  std::map<int, int> mentions;
  for (std::uint64_t i = 0; i < 14'000; ++i) {
    Random random(7, 7, i);
    ++mentions[kPeopleLadder.tier_of(kPeopleLadder.draw(random))];
  }
  CHECK(mentions.size() == 7);
  for (const auto& [tier, count] : mentions) {
    CAPTURE(tier);
    CHECK(count == Approx(2'000).margin(200));  // 4.8 standard deviations of a binomial
  }
}

TEST_CASE("no prompt of an item occurs in training", "[corpus]") {
  const Corpus corpus;
  std::unordered_set<std::string> prompts;
  for (const Area area : kAreas)
    for (const Item& item : corpus.candidates(area, 400)) prompts.insert(item.prompt);
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    // A prompt begins where a line begins and ends at an arbitrary place within the next lines.
    const std::string document = corpus.document(i);
    for (std::size_t line = 0; line != std::string::npos && line < document.size();
         line = document.find('\n', line) == std::string::npos ? std::string::npos : document.find('\n', line) + 1) {
      const std::string rest = document.substr(line);
      CAPTURE(i, document);
      for (std::size_t end = 1; end <= rest.size(); ++end)
        if (prompts.contains(rest.substr(0, end))) FAIL("training has the prompt " << rest.substr(0, end));
    }
  }
}

TEST_CASE("pages for perplexity consist of texts that training never has", "[corpus]") {
  const Corpus corpus;
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 20'000; ++i) seen.insert(corpus.document(i));
  const std::string page = corpus.held_out_page(0, 2'000);
  CHECK(page.size() >= 2'000);
  for (const std::string& document : seen) {
    if (document.find('\n') != std::string::npos) continue;  // single lines suffice: every area but code and requests
    REQUIRE(("\n" + page).find("\n" + document + "\n") == std::string::npos);
  }
}

TEST_CASE("candidates are distinct, numbered and well formed", "[corpus]") {
  const Corpus corpus;
  const Tokenizer& tokenizer = trained_tokenizer();
  const Area area = GENERATE(from_range(std::begin(kAreas), std::end(kAreas)));
  CAPTURE(name_of(area));
  const auto items = corpus.candidates(area);
  REQUIRE(items.size() == kCandidatesPerArea);
  std::set<std::string> ids, prompts;
  for (const Item& item : items) {
    INFO(item.id << ": " << item.prompt);
    CHECK(ids.insert(item.id).second);
    CHECK(prompts.insert(item.prompt).second);
    CHECK_FALSE(item.difficulty.empty());
    CHECK(tokenizer.encode(item.prompt).size() < 160);
    if (!item.choices.empty()) {
      REQUIRE(item.choices.size() == 4);
      CHECK(std::set<std::string>(item.choices.begin(), item.choices.end()).size() == 4);
      CHECK((item.answer >= 0 && item.answer < 4));
      for (const std::string& choice : item.choices) {
        CHECK(choice.starts_with(' '));
        CHECK(tokenizer.encode(choice).size() == tokenizer.encode(item.choices[0]).size());
      }
    }
  }
}

TEST_CASE("training has the intended share of each area", "[corpus]") {
  const Corpus corpus;
  const Tokenizer& tokenizer = trained_tokenizer();
  std::map<Area, double> tokens;
  double all = 0;
  for (std::uint64_t i = 0; i < 8'000; ++i) {
    Area area{};
    const std::string document = corpus.document(i, &area);
    if (document.find("\n\n") != std::string::npos) continue;
    const auto count = static_cast<double>(tokenizer.encode(document).size() + 1);
    tokens[area] += count;
    all += count;
  }
  for (const Area area : kAreas) {
    CAPTURE(name_of(area));
    CHECK(tokens[area] / all > 0.08);
    CHECK(tokens[area] / all < 0.34);
  }
}

TEST_CASE("a training row is whole documents, separators between them, and depends on its number alone", "[corpus]") {
  const Corpus corpus;
  const Tokenizer& tokenizer = trained_tokenizer();
  const auto row = training_row(corpus, tokenizer, 7);
  REQUIRE(row.size() == kContextTokens + 1);
  CHECK(row == training_row(corpus, tokenizer, 7));
  CHECK(row != training_row(corpus, tokenizer, 8));
  std::vector<std::int32_t> ids;
  for (const std::uint16_t token : row) ids.push_back(token & ~kContextBit);
  CHECK(tokenizer.decode(ids).starts_with(corpus.document(7 * row.size()) + Tokenizer::kEndOfText +
                                          corpus.document(7 * row.size() + 1).substr(0, 1)));
}

}  // namespace
}  // namespace quantfleet::reference
