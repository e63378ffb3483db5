#include "suites/scorers/exact_match.h"

#include "suites/scorers/regular_expression.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace quantfleet {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";
constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

// How an answer is found in a text.
struct Filter {
  std::string name;  // of a further one; the first has none
  std::optional<RegularExpression> extract;
  bool last_match = false;
  std::string fallback = "[invalid]";
};

struct Options {
  bool ignore_case = false, ignore_punctuation = false, ignore_digits = false, collapse_spaces = false, trim = true, numeric = false, trim_answer = false;
  std::string targets;  // field with a list of targets; empty: the task's target
  std::vector<RegularExpression> ignore_regexes;
  std::vector<Filter> filters;  // at least one
};

Result<std::string> normalised(std::string text, const Options& options) {
  for (const RegularExpression& ignored : options.ignore_regexes) {
    auto kept = ignored.replace_all(text, "");
    if (!kept) return kept.error();
    text = std::move(*kept);
  }
  if (options.trim) text = strip_white_space(text);
  if (options.collapse_spaces) {
    std::string single;
    for (char c : text) {
      const bool space = kSpaces.find(c) != std::string_view::npos;
      if (!space) single += c;
      else if (single.empty() || single.back() != ' ') single += ' ';
    }
    text = single;
  }
  if (options.ignore_case) text = lower_case(text);
  if (options.numeric) {
    std::string number = text;
    std::erase_if(number, [](char c) { return c == ',' || c == '$'; });
    return canonical_decimal(strip_white_space(number));
  }
  if (options.ignore_punctuation) std::erase_if(text, [](char c) { return kPunctuation.find(c) != std::string_view::npos; });
  if (options.ignore_digits) std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}

class ExactMatch : public Scorer {
 public:
  explicit ExactMatch(Options options) : options_(std::move(options)) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = text_of(response, row);
    if (!answer) return;
    const auto expected = targets_of(item);
    if (!expected) {
      row.error = expected.error();
      return;
    }
    const std::string text = options_.trim_answer ? strip_white_space(answer->text) : answer->text;
    for (const Filter& filter : options_.filters) {
      bool found = true;
      auto given = extracted(text, filter, found);
      if (given) given = normalised(std::move(*given), options_);
      if (!given) {
        row.error = given.error();
        return;
      }
      const std::string suffix = filter.name.empty() ? "" : "_" + filter.name;
      row.scores["accuracy" + suffix] = std::find(expected->begin(), expected->end(), *given) != expected->end();
      if (filter.extract) row.scores["no_answer" + suffix] = !found;
    }
  }

  void tally(const ScoredItem& item, ChanceTally& tally) const override {
    if (const auto targets = targets_of(item))
      for (const std::string& target : std::set<std::string>(targets->begin(), targets->end())) tally.constant(target);
  }

  std::vector<std::string> numbers() const override {
    std::vector<std::string> names;
    for (const Filter& filter : options_.filters) names.push_back(filter.name.empty() ? "accuracy" : "accuracy_" + filter.name);
    return names;
  }

  Status check(const ScoredItem& item) const override {
    const auto targets = targets_of(item);
    if (!targets) return targets.error();
    return {};
  }

 private:
  Result<std::vector<std::string>> targets_of(const ScoredItem& item) const {
    std::vector<std::string> raw, targets;
    if (options_.targets.empty()) {
      raw.push_back(item.asked.target);
    } else {
      const auto field = item.item.fields.find(options_.targets);
      const bool fits = field != item.item.fields.end() && field->is_array() && !field->empty() &&
                        std::all_of(field->begin(), field->end(), [](const nlohmann::json& one) { return one.is_string(); });
      if (!fits) return Error{Code::kBadValue, fmt::format("item '{}' (line {}): '{}' must be a list of at least one text", item.item.id, item.item.line, options_.targets)};
      raw = field->get<std::vector<std::string>>();
    }
    for (std::string& one : raw) {
      auto target = normalised(std::move(one), options_);
      if (!target) return target.error();
      targets.push_back(std::move(*target));
    }
    return targets;
  }

  // One group: what it holds. Several: the first that holds anything.
  static Result<std::string> extracted(const std::string& text, const Filter& filter, bool& found) {
    if (!filter.extract) return text;
    auto matches = filter.extract->find_all(text);
    if (!matches) return matches.error();
    found = !matches->empty();
    if (!found) return filter.fallback;
    const auto& groups = (filter.last_match ? matches->back() : matches->front()).groups;
    if (groups.size() <= 2) return strip_white_space(groups.back());
    const auto filled = std::find_if(groups.begin() + 1, groups.end(), [](const std::string& group) { return !group.empty(); });
    found = filled != groups.end();
    return found ? strip_white_space(*filled) : filter.fallback;
  }

  Options options_;
};

Filter read_filter(const YamlTree& tree, MapReader& parent, const Task& task, bool named) {
  MapReader inner(tree, task.place, "exact_match.extract.");
  Filter filter;
  if (named) filter.name = inner.text("name");
  auto compiled = RegularExpression::compile(inner.text("regex"));
  if (!compiled) inner.fail(inner.line_of("regex"), compiled.error().detail);
  else filter.extract = *compiled;
  const std::string match = inner.text("match", "first");
  if (match != "first" && match != "last") inner.fail(inner.line_of("match"), fmt::format("'match' is '{}', allowed are first and last", match));
  filter.last_match = match == "last";
  filter.fallback = inner.text("fallback", "[invalid]");
  if (const Status status = inner.finish(); !status) parent.fail_with(status.error());
  return filter;
}

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
  options.trim_answer = reader.boolean("trim_answer", false);
  options.targets = reader.text("targets", "");
  const YamlTree* extract = reader.child("extract");
  options.filters.push_back(extract ? read_filter(*extract, reader, task, false) : Filter());
  if (const YamlTree* also = reader.child("also")) {
    if (also->kind != YamlTree::Kind::kList) reader.fail(also->line, "'exact_match.also' must be a list of filters");
    for (const YamlTree& one : also->list) options.filters.push_back(read_filter(one, reader, task, true));
  }
  if (task.target.empty() && options.targets.empty()) reader.fail(spec.line, "exact_match needs the task's 'target', or 'targets'");
  if (const Status status = reader.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<ExactMatch>(std::move(options)));
}

}  // namespace quantfleet
