#include "models/reference/corpus/suites.h"

#include <map>
#include <set>
#include <string_view>

namespace quantfleet::reference {
namespace {

constexpr int kTextPages = 16;
constexpr int kTextPageCharacters = 3600;

// Chosen from the model's F16 accuracy by class (models/reference/README.md has the table).
constexpr ClassCount kReasoning[] = {{"path step 2*3 links", 160}, {"path step 3*3 links", 120}, {"", 20}};
constexpr ClassCount kCoding[] = {{"3 operations, 0 constants", 110}, {"4 operations, 0 constants", 80},
                                  {"5 operations, 0 constants", 60},  {"1 operations, 1 constants", 20},
                                  {"4 operations, 1 constants", 30}};
constexpr ClassCount kMath[] = {{"2+2 digits", 110}, {"2-2 digits", 90}, {"2+1 digits", 25}, {"2-1 digits", 15},
                                {"3+1 digits", 30},  {"3-1 digits", 20}, {"", 10}};
constexpr ClassCount kLanguage[] = {{"tier 0", 30}, {"tier 1", 50}, {"tier 2", 70}, {"tier 3", 80}, {"tier 4", 70}};
constexpr ClassCount kKnowledge[] = {{"tier 4", 60}, {"tier 5", 160}, {"tier 6", 80}};
constexpr ClassCount kSafety[] = {{"", 300}};

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '\n') json += "\\n";
    else if (c == '"' || c == '\\') json += std::string("\\") + c;
    else json += c;
  }
  return json + "\"";
}

bool is_meant(std::string_view pattern, std::string_view difficulty) {
  std::size_t place = 0;
  while (true) {
    const std::size_t star = pattern.find('*');
    const std::string_view part = pattern.substr(0, star);
    place = difficulty.find(part, place);
    if (place == std::string_view::npos) return false;
    if (star == std::string_view::npos) return true;
    place += part.size();
    pattern.remove_prefix(star + 1);
  }
}

std::string_view without_leading_space(std::string_view text) { return text.starts_with(' ') ? text.substr(1) : text; }

}  // namespace

std::span<const ClassCount> class_mix(Area area) {
  switch (area) {
    case Area::kReasoning: return kReasoning;
    case Area::kCoding: return kCoding;
    case Area::kMath: return kMath;
    case Area::kLanguage: return kLanguage;
    case Area::kKnowledge: return kKnowledge;
    case Area::kSafety: return kSafety;
  }
  return {};
}

std::vector<Item> suite_items(const Corpus& corpus, Area area) {
  constexpr std::uint64_t kDrawsMax = 40'000;
  const auto mix = class_mix(area);
  std::vector<int> missing;
  int missing_all = 0;
  for (const ClassCount& line : mix) {
    missing.push_back(line.count);
    missing_all += line.count;
  }
  std::vector<Item> items;
  std::set<std::string> prompts;
  for (std::uint64_t draw = 0; draw < kDrawsMax && missing_all > 0; ++draw) {
    Item item = corpus.item(area, draw);
    for (std::size_t line = 0; line < mix.size(); ++line) {
      if (missing[line] == 0 || !is_meant(mix[line].pattern, item.difficulty)) continue;
      if (!prompts.insert(item.prompt).second) break;
      item.id = item_id(area, items.size());
      items.push_back(std::move(item));
      --missing[line];
      --missing_all;
      break;
    }
  }
  return items;
}

std::vector<Item> fresh_twins(const Corpus& corpus, Area area, std::span<const Item> originals, std::uint64_t seed) {
  constexpr std::uint64_t kDrawsMax = 1'000'000;
  std::map<std::string, std::vector<std::size_t>> wanted;  // by class, the last first
  std::set<std::string> prompts;
  for (std::size_t i = originals.size(); i-- > 0;) {
    wanted[originals[i].difficulty].push_back(i);
    prompts.insert(originals[i].prompt);
  }
  std::vector<Item> twins(originals.size());
  std::size_t missing = originals.size();
  const std::uint64_t begin = mix64(seed) | 1ull << 63;  // far from the draws that suites are made of
  for (std::uint64_t draw = 0; draw < kDrawsMax && missing > 0; ++draw) {
    Item item = corpus.item(area, begin + draw);
    const auto line = wanted.find(item.difficulty);
    if (line == wanted.end() || line->second.empty() || !prompts.insert(item.prompt).second) continue;
    const std::size_t i = line->second.back();
    line->second.pop_back();
    item.id = originals[i].id;
    twins[i] = std::move(item);
    --missing;
  }
  std::erase_if(twins, [](const Item& item) { return item.id.empty(); });
  return twins;
}

std::string items_jsonl(std::span<const Item> items, Area area) {
  std::string out;
  for (const Item& item : items) {
    out += "{\"id\": " + json_string(item.id) + ", \"class\": " + json_string(item.difficulty) + ", \"prompt\": " + json_string(item.prompt);
    if (!item.choices.empty()) {
      out += ", \"choices\": [";
      for (std::size_t c = 0; c < item.choices.size(); ++c)
        out += (c ? ", " : "") + json_string(without_leading_space(item.choices[c]));
      out += "], \"answer\": " + std::to_string(item.answer);
    }
    if (area == Area::kMath) out += ", \"target\": " + json_string(item.target);
    if (area == Area::kSafety) out += item.should_refuse ? ", \"expects\": \"refuse\"" : ", \"expects\": \"comply\"";
    if (!item.tests.empty()) {
      std::string tests;
      for (const std::string& test : item.tests) tests += (tests.empty() ? "" : "\n") + test;
      out += ", \"tests\": " + json_string(tests);
    }
    out += "}\n";
  }
  return out;
}

std::string text_items_jsonl(const Corpus& corpus) {
  std::string out;
  for (int i = 0; i < kTextPages; ++i)
    out += "{\"id\": \"text-" + std::to_string(100 + i).substr(1) +
           "\", \"text\": " + json_string(corpus.held_out_page(static_cast<std::uint64_t>(i), kTextPageCharacters)) + "}\n";
  return out;
}

}  // namespace quantfleet::reference
