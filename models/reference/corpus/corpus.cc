#include "models/reference/corpus/corpus.h"

#include <set>

namespace quantfleet::reference {
namespace {

enum Stream : std::uint64_t { kTraining = 100, kHeldOutText = 101, kItems = 200 };  // kItems + area

constexpr std::uint64_t kKeptShare = 64;

// Share of the documents, per mille, in the order of Area. Documents differ in length: by tokens this is about 30 % facts, 20 %
// arithmetic, 15 % chains, 15 % programs, 10 % grammar, 10 % requests.
constexpr int kDocumentShare[] = {115, 88, 165, 180, 330, 140};

Area draw_area(Random& random) {
  int total = 0;
  for (const int share : kDocumentShare) total += share;
  int roll = random.below(total);
  for (const Area area : kAreas) {
    roll -= kDocumentShare[static_cast<int>(area)];
    if (roll < 0) return area;
  }
  return Area::kKnowledge;
}

std::string text_of(Area area, const World& world, Random& random) {
  switch (area) {
    case Area::kReasoning: return chain_document(world, random);
    case Area::kCoding: return program_document(world, random);
    case Area::kMath: return arithmetic_document(world, random);
    case Area::kLanguage: return grammar_document(world, random);
    case Area::kKnowledge: return fact_document(world, random);
    case Area::kSafety: return request_document(world, random);
  }
  return {};
}

Item item_of(Area area, const World& world, Random& random) {
  switch (area) {
    case Area::kReasoning: return chain_item(world, random);
    case Area::kCoding: return program_item(world, random);
    case Area::kMath: return arithmetic_item(world, random);
    case Area::kLanguage: return grammar_item(world, random);
    case Area::kKnowledge: return fact_item(world, random);
    case Area::kSafety: return request_item(world, random);
  }
  return {};
}

bool kept(const World& world, const std::string& text) { return hash_text(without_marks(text), world.seed + 1) % kKeptShare == 0; }

// A text of the area that is (or is not) among the kept ones.
std::string text_where(bool want_kept, Area area, const World& world, Random& random) {
  std::string text = text_of(area, world, random);
  while (kept(world, text) != want_kept) text = text_of(area, world, random);
  return text;
}

}  // namespace

std::string item_id(Area area, std::size_t number) {
  return std::string(name_of(area)) + "-" + std::to_string(10'000 + number).substr(1);
}

std::string without_marks(const std::string& marked, std::vector<bool>* is_answer) {
  std::string text;
  bool inside = false;
  for (const char c : marked) {
    if (c == kAnswerBegin || c == kAnswerEnd) {
      inside = c == kAnswerBegin;
      continue;
    }
    text += c;
    if (is_answer) is_answer->push_back(inside);
  }
  return text;
}

std::string Corpus::document(std::uint64_t index, Area* area) const { return without_marks(marked_document(index, area)); }

std::string Corpus::marked_document(std::uint64_t index, Area* area) const {
  Random random(world_.seed, kTraining, index);
  const int texts = random.chance(10) ? random.between(2, 4) : 1;
  std::string document;
  for (int i = 0; i < texts; ++i) {
    const Area drawn = draw_area(random);
    if (i == 0 && area) *area = drawn;
    if (i > 0) document += "\n";
    document += text_where(false, drawn, world_, random);
  }
  return document;
}

std::string Corpus::held_out_page(std::uint64_t index, int characters) const {
  Random random(world_.seed, kHeldOutText, index);
  std::string page;
  while (static_cast<int>(page.size()) < characters)
    page += without_marks(text_where(true, draw_area(random), world_, random)) + "\n";
  return page;
}

Item Corpus::item(Area area, std::uint64_t draw) const {
  Random random(world_.seed, kItems + static_cast<std::uint64_t>(area), draw);
  return item_of(area, world_, random);
}

std::vector<Item> Corpus::candidates(Area area, int count) const {
  std::vector<Item> items;
  std::set<std::string> prompts;
  for (std::uint64_t draw = 0; static_cast<int>(items.size()) < count; ++draw) {
    Item item = this->item(area, draw);
    if (!prompts.insert(item.prompt).second) continue;
    item.id = item_id(area, items.size());
    items.push_back(std::move(item));
  }
  return items;
}

Tokenizer train_tokenizer(const Corpus& corpus, int vocabulary_tokens) {
  constexpr std::uint64_t kDocuments = 20'000;
  std::vector<std::string> documents;
  for (std::uint64_t i = 0; i < kDocuments; ++i) documents.push_back(corpus.document(i));
  return Tokenizer::train(documents, vocabulary_tokens);
}

std::vector<std::uint16_t> training_row(const Corpus& corpus, const Tokenizer& tokenizer, std::uint64_t row,
                                        int context_tokens) {
  const auto size = static_cast<std::size_t>(context_tokens) + 1;
  std::vector<std::uint16_t> tokens;
  for (std::uint64_t document = row * size; tokens.size() < size; ++document) {  // a document has at least one token
    std::vector<bool> is_answer;
    const std::string text = without_marks(corpus.marked_document(document), &is_answer);
    std::size_t place = 0;
    for (const std::int32_t token : tokenizer.encode(text)) {
      tokens.push_back(static_cast<std::uint16_t>(token | (is_answer[place] ? 0 : kContextBit)));
      place += tokenizer.size_bytes(token);
    }
    tokens.push_back(static_cast<std::uint16_t>(tokenizer.end_of_text()));
  }
  tokens.resize(size);
  return tokens;
}

}  // namespace quantfleet::reference
