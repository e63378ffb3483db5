#include "suites/scorers/instructions.h"

#include "suites/scorers/language.h"
#include "suites/scorers/regular_expression.h"
#include "suites/scorers/sentences.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {
namespace {

using Json = nlohmann::json;

struct BadArguments {
  std::string what;
};

// The arguments of one instruction; absent or null counts as missing.
class Arguments {
 public:
  explicit Arguments(const Json& json) : json_(json) {}
  std::string text(const char* name) const {
    if (!json_.contains(name) || !json_[name].is_string() || json_[name].get_ref<const std::string&>().empty()) throw BadArguments{fmt::format("'{}' must be a text", name)};
    return json_[name].get<std::string>();
  }
  int number(const char* name) const {
    if (!json_.contains(name) || !json_[name].is_number() || std::abs(json_[name].get<double>()) > 1e9) throw BadArguments{fmt::format("'{}' must be a number", name)};
    return static_cast<int>(json_[name].get<double>());
  }
  std::vector<std::string> texts(const char* name) const {
    if (!json_.contains(name) || !json_[name].is_array()) throw BadArguments{fmt::format("'{}' must be a list of texts", name)};
    std::vector<std::string> all;
    for (const Json& one : json_[name]) {
      if (!one.is_string()) throw BadArguments{fmt::format("'{}' must be a list of texts", name)};
      all.push_back(one.get<std::string>());
    }
    return all;
  }
  bool compare(const char* relation, int actual, int threshold) const {
    const std::string word = text(relation);
    if (word == "less than") return actual < threshold;
    if (word == "at least") return actual >= threshold;
    throw BadArguments{fmt::format("'{}' is '{}', known are 'less than' and 'at least'", relation, word)};
  }

 private:
  const Json& json_;
};

std::vector<RegularExpression::Match> matches_of(const std::string& pattern, const std::string& text) {
  const auto compiled = RegularExpression::compile(pattern);
  if (!compiled) throw BadArguments{compiled.error().detail};
  auto matches = compiled->find_all(text);
  if (!matches) throw BadArguments{matches.error().detail};
  return std::move(*matches);
}

int count_of(const std::string& pattern, const std::string& text) { return static_cast<int>(matches_of(pattern, text).size()); }
bool occurs(const std::string& pattern, const std::string& text) { return !matches_of(pattern, text).empty(); }

// What lies between the matches: as Python's re.split without groups.
std::vector<std::string> split_by(const std::string& pattern, const std::string& text) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (const auto& match : matches_of(pattern, text)) {
    parts.push_back(text.substr(at, match.begin - at));
    at = match.end;
  }
  parts.push_back(text.substr(at));
  return parts;
}

std::string stripped_of(std::string text, std::string_view characters, bool left = true, bool right = true) {
  if (left) text.erase(0, std::min(text.find_first_not_of(characters), text.size()));
  if (right) text.erase(text.find_last_not_of(characters) + 1);
  return text;
}

bool is_blank(const std::string& text) { return strip_white_space(text).empty(); }

// At least one letter with case, and all of them in this one.
bool is_upper(const std::string& text) { return upper_case(text) == text && lower_case(text) != text; }
bool is_lower(const std::string& text) { return lower_case(text) == text && upper_case(text) != text; }

bool in_language(const std::string& text, const std::string& language) {
  const std::string guess = language_of(text);
  return guess.empty() || guess == language;  // nothing to judge by counts as followed
}

std::string json_text(const std::string& value) {
  std::string text = strip_white_space(value);
  for (std::string_view fence : {"```json", "```Json", "```JSON", "```"})
    if (text.starts_with(fence)) text.erase(0, fence.size());
  if (text.ends_with("```")) text.resize(text.size() - 3);
  return strip_white_space(text);
}

bool has_paragraphs(const Arguments& arguments, const std::string& value) {
  const auto paragraphs = split_by(R"(\s?\*\*\*\s?)", value);
  auto count = static_cast<int>(paragraphs.size());
  for (std::size_t i = 0; i < paragraphs.size(); ++i) {
    if (!is_blank(paragraphs[i])) continue;
    if (i != 0 && i + 1 != paragraphs.size()) return false;
    --count;
  }
  return count == arguments.number("num_paragraphs");
}

bool paragraph_begins(const Arguments& arguments, const std::string& value) {
  const auto paragraphs = split_by(R"(\n\n)", value);
  const auto count = static_cast<int>(std::count_if(paragraphs.begin(), paragraphs.end(), [](const std::string& one) { return !is_blank(one); }));
  const int nth = arguments.number("nth_paragraph");
  if (nth < 1 || nth > count) return false;
  const std::string paragraph = strip_white_space(paragraphs[static_cast<std::size_t>(nth) - 1]);
  if (paragraph.empty()) return false;
  std::size_t end = 0;
  while (end < paragraph.size() && white_space_at(paragraph, end) == 0) ++end;
  const std::string word = stripped_of(stripped_of(paragraph.substr(0, end), "'", true, false), "\"", true, false);
  const std::string first = lower_case(word.substr(0, word.find_first_of(".,?!'\"")));
  return count == arguments.number("num_paragraphs") && first == lower_case(arguments.text("first_word"));
}

bool has_highlights(const Arguments& arguments, const std::string& value) {
  int count = 0;
  for (const auto& match : matches_of(R"(\*[^\n\*]*\*)", value)) count += !is_blank(stripped_of(match.groups[0], "*"));
  for (const auto& match : matches_of(R"(\*\*[^\n\*]*\*\*)", value)) count += !is_blank(match.groups[0].substr(2, match.groups[0].size() - 4));
  return count >= arguments.number("num_highlights");
}

bool has_postscript(const Arguments& arguments, const std::string& value) {
  const std::string marker = strip_white_space(arguments.text("postscript_marker"));
  const std::string pattern = marker == "P.P.S" ? R"(\s*p\.\s?p\.\s?s.*$)" : marker == "P.S." ? R"(\s*p\.\s?s\..*$)" : R"(\s*)" + lower_case(marker) + ".*$";
  return occurs("(?m)" + pattern, lower_case(value));
}

bool has_two_responses(const Arguments&, const std::string& value) {
  const auto parts = split_by(R"(\*\*\*\*\*\*)", value);
  std::vector<std::string> responses;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!is_blank(parts[i])) responses.push_back(strip_white_space(parts[i]));
    else if (i != 0 && i + 1 != parts.size()) return false;
  }
  return responses.size() == 2 && responses[0] != responses[1];
}

struct Instruction {
  std::string_view name;
  bool (*follows)(const Arguments& arguments, const std::string& value);
};

const Instruction kInstructions[] = {
    {"keywords:existence", [](const Arguments& a, const std::string& v) {
       const auto words = a.texts("keywords");
       return std::all_of(words.begin(), words.end(), [&](const std::string& word) { return occurs("(?i)" + word, v); });
     }},
    {"keywords:frequency", [](const Arguments& a, const std::string& v) {
       return a.compare("relation", count_of("(?i)" + strip_white_space(a.text("keyword")), v), a.number("frequency"));
     }},
    {"keywords:forbidden_words", [](const Arguments& a, const std::string& v) {
       const auto words = a.texts("forbidden_words");
       return std::none_of(words.begin(), words.end(), [&](const std::string& word) { return occurs("(?i)\\b" + word + "\\b", v); });
     }},
    {"keywords:letter_frequency", [](const Arguments& a, const std::string& v) {
       const std::string letter = lower_case(a.text("letter")), text = lower_case(v);
       int count = 0;
       for (std::size_t at = text.find(letter); at != std::string::npos; at = text.find(letter, at + letter.size())) ++count;
       return a.compare("let_relation", count, a.number("let_frequency"));
     }},
    {"language:response_language", [](const Arguments& a, const std::string& v) { return in_language(v, a.text("language")); }},
    {"length_constraints:number_sentences", [](const Arguments& a, const std::string& v) {
       return a.compare("relation", count_sentences(v), a.number("num_sentences"));
     }},
    {"length_constraints:number_paragraphs", has_paragraphs},
    {"length_constraints:number_words", [](const Arguments& a, const std::string& v) { return a.compare("relation", count_of(R"(\w+)", v), a.number("num_words")); }},
    {"length_constraints:nth_paragraph_first_word", paragraph_begins},
    {"detectable_content:number_placeholders", [](const Arguments& a, const std::string& v) { return count_of(R"(\[.*?\])", v) >= a.number("num_placeholders"); }},
    {"detectable_content:postscript", has_postscript},
    {"detectable_format:number_bullet_lists", [](const Arguments& a, const std::string& v) {
       return count_of(R"((?m)^\s*\*[^\*].*$)", v) + count_of(R"((?m)^\s*-.*$)", v) == a.number("num_bullets");
     }},
    {"detectable_format:constrained_response", [](const Arguments&, const std::string& v) {
       return v.find("My answer is yes.") != std::string::npos || v.find("My answer is no.") != std::string::npos || v.find("My answer is maybe.") != std::string::npos;
     }},
    {"detectable_format:number_highlighted_sections", has_highlights},
    {"detectable_format:multiple_sections", [](const Arguments& a, const std::string& v) {
       return count_of(R"(\s?)" + strip_white_space(a.text("section_spliter")) + R"(\s?\d+\s?)", v) >= a.number("num_sections");
     }},
    {"detectable_format:json_format", [](const Arguments&, const std::string& v) { return Json::accept(json_text(v)); }},
    {"detectable_format:title", [](const Arguments&, const std::string& v) {
       const auto titles = matches_of(R"(<<[^\n]+>>)", v);
       return std::any_of(titles.begin(), titles.end(), [](const auto& title) { return !is_blank(stripped_of(stripped_of(title.groups[0], "<", true, false), ">", false, true)); });
     }},
    {"combination:two_responses", has_two_responses},
    {"combination:repeat_prompt", [](const Arguments& a, const std::string& v) {
       return lower_case(strip_white_space(v)).starts_with(lower_case(strip_white_space(a.text("prompt_to_repeat"))));
     }},
    {"startend:end_checker", [](const Arguments& a, const std::string& v) {
       return lower_case(stripped_of(strip_white_space(v), "\"")).ends_with(lower_case(strip_white_space(a.text("end_phrase"))));
     }},
    {"startend:quotation", [](const Arguments&, const std::string& v) {
       const std::string text = strip_white_space(v);
       return text.size() > 1 && text.front() == '"' && text.back() == '"';
     }},
    {"change_case:capital_word_frequency", [](const Arguments& a, const std::string& v) {
       const auto words = treebank_words(v);
       return a.compare("capital_relation", static_cast<int>(std::count_if(words.begin(), words.end(), is_upper)), a.number("capital_frequency"));
     }},
    {"change_case:english_capital", [](const Arguments&, const std::string& v) { return is_upper(v) && in_language(v, "en"); }},
    {"change_case:english_lowercase", [](const Arguments&, const std::string& v) { return is_lower(v) && in_language(v, "en"); }},
    {"punctuation:no_comma", [](const Arguments&, const std::string& v) { return v.find(',') == std::string::npos; }},
};

class Instructions : public Scorer {
 public:
  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = text_of(response, row);
    if (!answer) return;
    const Json &names = item.item.fields["instruction_id_list"], &arguments = item.item.fields["kwargs"];
    const std::vector<std::string> variants = loose_variants(answer->text);
    int strict = 0, loose = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      bool any = false;
      for (std::size_t v = 0; v < variants.size() && !any; ++v) {
        if (is_blank(variants[v])) continue;
        const auto followed = follows(names[i].get<std::string>(), arguments[i], variants[v]);
        if (!followed) {
          row.error = followed.error();
          return;
        }
        any = *followed;
        if (v == 0) strict += any;  // the response as it is
      }
      loose += any;
    }
    const auto count = static_cast<int>(names.size());
    row.scores["accuracy"] = strict == count;
    row.scores["accuracy_loose"] = loose == count;
    row.scores["instructions"] = count;
    row.scores["instructions_strict"] = strict;
    row.scores["instructions_loose"] = loose;
  }

  void tally(const ScoredItem&, ChanceTally&) const override {}

  std::vector<std::string> numbers() const override { return {"accuracy", "accuracy_loose", "instruction_level_strict", "instruction_level_loose"}; }

  Status check(const ScoredItem& item) const override {
    const auto bad = [&](std::string_view what) { return Error{Code::kBadValue, fmt::format("item '{}' (line {}): {}", item.item.id, item.item.line, what)}; };
    const Json& fields = item.item.fields;
    if (!fields.contains("instruction_id_list") || !fields["instruction_id_list"].is_array() || fields["instruction_id_list"].empty()) return bad("'instruction_id_list' must be a list");
    const std::size_t count = fields["instruction_id_list"].size();
    if (!fields.contains("kwargs") || !fields["kwargs"].is_array() || fields["kwargs"].size() != count) return bad(fmt::format("'kwargs' must be a list of {}", count));
    for (std::size_t i = 0; i < count; ++i) {
      if (!fields["instruction_id_list"][i].is_string() || !fields["kwargs"][i].is_object()) return bad("an instruction must be a name with arguments");
      if (const auto tried = follows(fields["instruction_id_list"][i].get<std::string>(), fields["kwargs"][i], "x"); !tried) return bad(tried.error().detail);
    }
    return {};
  }
};

}  // namespace

Result<bool> follows(const std::string& instruction, const Json& arguments, const std::string& response) {
  const auto known = std::find_if(std::begin(kInstructions), std::end(kInstructions), [&](const Instruction& one) { return one.name == instruction; });
  if (known == std::end(kInstructions)) return Error{Code::kUnknownName, fmt::format("no instruction is called '{}'", instruction)};
  try {
    return known->follows(Arguments(arguments), response);
  } catch (const BadArguments& bad) {
    return Error{Code::kBadValue, fmt::format("{}: {}", instruction, bad.what)};
  }
}

std::vector<std::string> loose_variants(const std::string& response) {
  const std::size_t first = response.find('\n'), last = response.rfind('\n');
  const std::string without_first = first == std::string::npos ? "" : strip_white_space(response.substr(first + 1));
  const std::string without_last = last == std::string::npos ? "" : strip_white_space(response.substr(0, last));
  const std::string without_both = first == last ? "" : strip_white_space(response.substr(first + 1, last - first - 1));
  std::vector<std::string> variants = {response, without_first, without_last, without_both};
  for (std::size_t i = 0; i < 4; ++i) {
    std::string plain = variants[i];
    std::erase(plain, '*');
    variants.push_back(std::move(plain));
  }
  return variants;
}

Result<std::unique_ptr<Scorer>> make_instructions(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "instructions.");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<Instructions>());
}

}  // namespace quantfleet
