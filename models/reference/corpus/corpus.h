// The training text and the items that go with it, from one seed. Document i depends on (seed, i) only, so a stream can be
// read from anywhere, by any number of threads.
//
// What training never sees: the prompts of items (areas.h), and one document in 64, which is kept for the text suite.
#pragma once

#include "models/reference/corpus/areas.h"
#include "models/reference/corpus/tokenizer.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet::reference {

inline constexpr std::uint64_t kSeed = 20260;
inline constexpr int kVocabularyTokens = 1024;
inline constexpr int kContextTokens = 256;
inline constexpr int kCandidatesPerArea = 1200;

class Corpus {
 public:
  explicit Corpus(std::uint64_t seed = kSeed) : world_(seed) {}

  const World& world() const { return world_; }

  // Training document `index`: one text of one area, or (one in ten) a page of two to four texts, a line each.
  // area, if given, receives the area of the (first) text.
  std::string document(std::uint64_t index, Area* area = nullptr) const;
  std::string marked_document(std::uint64_t index, Area* area = nullptr) const;  // with the marks of areas.h

  // A page of the kept documents, about `characters` long, texts a line each: for perplexity.
  std::string held_out_page(std::uint64_t index, int characters) const;

  // Draw `draw` of the area's items; its id is empty, and prompts may repeat between draws.
  Item item(Area area, std::uint64_t draw) const;

  // The first `count` candidate items of an area: distinct prompts, in seeded order: what a finished model is graded on,
  // class by class, before the suites' class mix is chosen (suites.h).
  std::vector<Item> candidates(Area area, int count = kCandidatesPerArea) const;

 private:
  World world_;
};

Tokenizer train_tokenizer(const Corpus& corpus, int vocabulary_tokens = kVocabularyTokens);

// In a training row: this token is context, not an answer.
inline constexpr std::uint16_t kContextBit = 0x8000;

// Row `row` of the training stream: context_tokens + 1 ids, with kContextBit on those that do not follow from what is before. Whole documents, each followed by <|endoftext|>; the last one is
// cut off where the row ends. A row depends on (seed, row) only, so training can resume anywhere.
std::vector<std::uint16_t> training_row(const Corpus& corpus, const Tokenizer& tokenizer, std::uint64_t row,
                                        int context_tokens = kContextTokens);

}  // namespace quantfleet::reference
