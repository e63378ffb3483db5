#include "suites/scorers/exact_match.h"

#include "suites/scorers/regular_expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace quantfleet {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";
constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(kSpaces);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

struct Options {
  bool ignore_case = false, ignore_punctuation = false, ignore_digits = false, collapse_spaces = false, trim = true, numeric = false;
  std::vector<RegularExpression> ignore_regexes;
  std::optional<RegularExpression> extract;
  bool last_match = false;
  std::string fallback = "[invalid]";
};

Result<std::string> normalised(std::string text, const Options& options) {
  for (const RegularExpression& ignored : options.ignore_regexes) {
    auto matches = ignored.find_all(text);
    if (!matches) return matches.error();
    std::string kept;
    std::size_t at = 0;
    for (const auto& match : *matches) {
      if (match.begin < at) continue;
      kept.append(text, at, match.begin - at);
      at = match.end;
    }
    text = kept.append(text, at);
  }
  if (options.trim) text = trimmed(text);
  if (options.collapse_spaces) {
    std::string single;
    for (char c : text) {
      const bool space = kSpaces.find(c) != std::string_view::npos;
      if (!space) single += c;
      else if (single.empty() || single.back() != ' ') single += ' ';
    }
    text = single;
  }
  if (options.ignore_case)
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (options.numeric) {
    std::string number = text;
    std::erase_if(number, [](char c) { return c == ',' || c == '$'; });
    return canonical_decimal(trimmed(number));
  }
  if (options.ignore_punctuation) std::erase_if(text, [](char c) { return kPunctuation.find(c) != std::string_view::npos; });
  if (options.ignore_digits) std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}

class ExactMatch : public Scorer {
 public:
  explicit ExactMatch(Options options) : options_(std::move(options)) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = std::get_if<GenerateAnswer>(&response.answer);
    if (!answer) {
      row.error = wrong_answer_kind("generated-text");
      return;
    }
    row.output = answer->text;
    auto given = extracted(answer->text);
    if (given) given = normalised(std::move(*given), options_);
    const auto expected = normalised(item.asked.target, options_);
    if (!given || !expected) {
      row.error = given ? expected.error() : given.error();
      return;
    }
    row.scores["accuracy"] = *given == *expected ? 1 : 0;
  }

  double chance(std::span<const ScoredItem> items) const override {
    std::map<std::string, int> targets;
    int most = 0;
    for (const ScoredItem& item : items)
      if (auto target = normalised(item.asked.target, options_)) most = std::max(most, ++targets[*target]);
    return items.empty() ? 0 : most / static_cast<double>(items.size());
  }

  Status check(const ScoredItem& item) const override {
    const auto target = normalised(item.asked.target, options_);
    if (!target) return target.error();
    return {};
  }

 private:
  Result<std::string> extracted(const std::string& text) const {
    if (!options_.extract) return text;
    auto matches = options_.extract->find_all(text);
    if (!matches) return matches.error();
    if (matches->empty()) return options_.fallback;
    const auto& groups = (options_.last_match ? matches->back() : matches->front()).groups;
    const auto filled = std::find_if(groups.begin() + 1, groups.end(), [](const std::string& group) { return !group.empty(); });
    return trimmed(filled == groups.end() ? groups[0] : *filled);
  }

  Options options_;
};

}  // namespace

std::string canonical_decimal(const std::string& text) {
  std::size_t at = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  const bool negative = at && text[0] == '-';
  std::string whole, fraction;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) whole += text[at];
  if (at < text.size() && text[at] == '.')
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) fraction += text[at];
  if (at != text.size() || (whole.empty() && fraction.empty())) return text;
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (whole.empty()) whole = "0";
  if (whole == "0" && fraction.empty()) return "0";
  return (negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction);
}

Result<std::unique_ptr<Scorer>> make_exact_match(const ScorerSpec& spec, const Task& task) {
  MapReader reader(spec.options, task.place, "exact_match.");
  Options options;
  options.ignore_case = reader.boolean("ignore_case", false);
  options.ignore_punctuation = reader.boolean("ignore_punctuation", false);
  options.ignore_digits = reader.boolean("ignore_digits", false);
  options.collapse_spaces = reader.boolean("collapse_spaces", false);
  options.trim = reader.boolean("trim", true);
  options.numeric = reader.boolean("numeric", false);
  for (const std::string& pattern : reader.texts("ignore_regexes")) {
    auto compiled = RegularExpression::compile(pattern);
    if (!compiled) reader.fail(reader.line_of("ignore_regexes"), compiled.error().detail);
    else options.ignore_regexes.push_back(*compiled);
  }
  if (const YamlTree* extract = reader.child("extract")) {
    MapReader inner(*extract, task.place, "exact_match.extract.");
    auto compiled = RegularExpression::compile(inner.text("regex"));
    if (!compiled) inner.fail(inner.line_of("regex"), compiled.error().detail);
    else options.extract = *compiled;
    const std::string match = inner.text("match", "first");
    if (match != "first" && match != "last") inner.fail(inner.line_of("match"), fmt::format("'match' is '{}', allowed are first and last", match));
    options.last_match = match == "last";
    options.fallback = inner.text("fallback", "[invalid]");
    if (const Status status = inner.finish(); !status) reader.fail_with(status.error());
  }
  if (task.target.empty()) reader.fail(spec.line, "exact_match needs the task's 'target'");
  if (const Status status = reader.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<ExactMatch>(std::move(options)));
}

}  // namespace quantfleet
