#include "models/reference/corpus/suites.h"

#include <string_view>

namespace quantfleet::reference {
namespace {

constexpr int kTextPages = 16;
constexpr int kTextPageCharacters = 3600;

constexpr ClassCount kEven[] = {{"", 300}};
constexpr ClassCount kKnowledge[] = {{"tier 6", 140}, {"tier 5", 80}, {"", 80}};

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '\n') json += "\\n";
    else if (c == '"' || c == '\\') json += std::string("\\") + c;
    else json += c;
  }
  return json + "\"";
}

std::string_view without_leading_space(std::string_view text) { return text.starts_with(' ') ? text.substr(1) : text; }

}  // namespace

std::span<const ClassCount> class_mix(Area area) { return area == Area::kKnowledge ? std::span<const ClassCount>(kKnowledge) : kEven; }

std::vector<Item> suite_items(const Corpus& corpus, Area area) {
  const std::vector<Item> candidates = corpus.candidates(area);
  std::vector<bool> taken(candidates.size(), false);
  for (const ClassCount& line : class_mix(area)) {
    int missing = line.count;
    for (std::size_t i = 0; i < candidates.size() && missing > 0; ++i) {
      if (taken[i] || candidates[i].difficulty.find(line.pattern) == std::string::npos) continue;
      taken[i] = true;
      --missing;
    }
  }
  std::vector<Item> items;
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (taken[i]) items.push_back(candidates[i]);
  return items;
}

std::string items_jsonl(std::span<const Item> items, Area area) {
  std::string out;
  for (const Item& item : items) {
    out += "{\"id\": " + quoted(item.id) + ", \"class\": " + quoted(item.difficulty) + ", \"prompt\": " + quoted(item.prompt);
    if (!item.choices.empty()) {
      out += ", \"choices\": [";
      for (std::size_t c = 0; c < item.choices.size(); ++c)
        out += (c ? ", " : "") + quoted(without_leading_space(item.choices[c]));
      out += "], \"answer\": " + std::to_string(item.answer);
    }
    if (area == Area::kMath) out += ", \"target\": " + quoted(item.target);
    if (area == Area::kSafety) out += std::string(", \"expects\": ") + (item.should_refuse ? "\"refuse\"" : "\"comply\"");
    if (!item.tests.empty()) {
      std::string tests;
      for (const std::string& test : item.tests) tests += (tests.empty() ? "" : "\n") + test;
      out += ", \"tests\": " + quoted(tests);
    }
    out += "}\n";
  }
  return out;
}

std::string text_items_jsonl(const Corpus& corpus) {
  std::string out;
  for (int i = 0; i < kTextPages; ++i)
    out += "{\"id\": \"text-" + std::to_string(100 + i).substr(1) +
           "\", \"text\": " + quoted(corpus.held_out_page(static_cast<std::uint64_t>(i), kTextPageCharacters)) + "}\n";
  return out;
}

}  // namespace quantfleet::reference
