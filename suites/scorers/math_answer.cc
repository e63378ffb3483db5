#include "suites/scorers/math_answer.h"

#include "suites/scorers/latex_value.h"
#include "suites/scorers/regular_expression.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace quantfleet {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

std::vector<std::string> split(const std::string& text, std::string_view separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t at; (at = text.find(separator, begin)) != std::string::npos; begin = at + separator.size()) parts.push_back(text.substr(begin, at - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

// ---- Hendrycks et al. 2021 -------------------------------------------------------------------------------------------

struct NoNormalForm {};  // then the texts themselves are compared

// \frac1b and \frac12 with braces; the first character decides whether they are there already.
std::string with_braces_in_fractions(const std::string& text) {
  const auto parts = split(text, "\\frac");
  std::string out = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    out += "\\frac";
    if (part.empty()) throw NoNormalForm();
    if (part[0] == '{') {
      out += part;
      continue;
    }
    const auto places = character_offsets(part);
    if (places.size() < 3) return text;  // fewer than two characters
    const std::string a = part.substr(0, places[1]), b = part.substr(places[1], places[2] - places[1]), rest = part.substr(places[2]);
    out += "{" + a + "}" + (b == "{" ? b : "{" + b + "}") + rest;
  }
  return out;
}

std::string with_braces_in_roots(const std::string& text) {
  const auto parts = split(text, "\\sqrt");
  std::string out = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    if (part.empty()) throw NoNormalForm();
    const std::size_t first = character_offsets(part)[1];
    out += part[0] == '{' ? "\\sqrt" + part : "\\sqrt{" + part.substr(0, first) + "}" + part.substr(first);
  }
  return out;
}

// Python's int(): a sign, digits, single underscores between them. `canonical`: as int would print it.
bool is_integer(std::string_view text, bool& canonical) {
  std::string_view digits = text;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  bool digit_before = false;
  for (char c : digits) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c == '_' && digit_before)) return false;
    digit_before = digit;
  }
  if (!digit_before) return false;
  canonical = text[0] != '+' && digits.find('_') == std::string_view::npos && (digits.size() == 1 || digits[0] != '0') && text != "-0";
  return true;
}

std::string as_fraction(const std::string& text) {
  const auto parts = split(text, "/");
  if (parts.size() != 2) return text;
  bool first = false, second = false;
  if (!is_integer(parts[0], first) || !is_integer(parts[1], second)) throw NoNormalForm();
  return first && second ? "\\frac{" + parts[0] + "}{" + parts[1] + "}" : text;
}

std::string normalised_by_hendrycks(std::string text) {
  for (const auto& [from, to] : {std::pair("\n", ""), {"\\!", ""}, {"\\\\", "\\"}, {"tfrac", "frac"}, {"dfrac", "frac"}, {"\\left", ""}, {"\\right", ""},
                                 {"^{\\circ}", ""}, {"^\\circ", ""}, {"\\$", ""}})
    text = replaced(std::move(text), from, to);
  if (const auto parts = split(text, "\\text{ "); parts.size() > 2) throw NoNormalForm();
  else if (parts.size() == 2) text = parts[0];  // a unit
  for (const auto& [from, to] : {std::pair("\\%", ""), {" .", " 0."}, {"{.", "{0."}}) text = replaced(std::move(text), from, to);
  if (text.empty()) return text;
  if (text[0] == '.') text = "0" + text;
  if (const auto parts = split(text, "="); parts.size() == 2 && count_characters(parts[0]) <= 2) text = parts[1];  // "k = "
  if (text.find("\\sqrt") != std::string::npos) text = with_braces_in_roots(text);
  text = with_braces_in_fractions(replaced(std::move(text), " ", ""));
  if (text == "0.5") text = "\\frac{1}{2}";
  return as_fraction(text);
}

// ---- Lewkowycz et al. 2022, appendix D --------------------------------------------------------------------------------

constexpr std::pair<const char*, const char*> kSubstitutions[] = {{"an ", ""}, {"a ", ""}, {".$", "$"}, {"\\$", ""}, {"\\ ", ""}, {" ", ""}, {"mbox", "text"},
                                                                  {",\\text{and}", ","}, {"\\text{and}", ","}, {"\\text{m}", "\\text{}"}};
constexpr const char* kUnitWords[] = {"square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units"};
constexpr const char* kMoreUnitWords[] = {"sue", "points", "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges",
                                          "students", "childrentickets", "multiples"};
constexpr const char* kRemoved[] = {"\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ",
                                    "^{\\circ}", "\\;", ",\\!", "{,}", "\"", "\\dots"};

std::string sub(const std::string& text, const char* pattern, const char* replacement) {
  const auto compiled = RegularExpression::compile(pattern);
  const auto changed = compiled ? compiled->replace_all(text, replacement) : Result<std::string>(compiled.error());
  return changed ? *changed : text;
}

// Removes a word everywhere but inside LaTeX commands.
std::string without_word(const std::string& text, std::string_view word) {
  std::string out, plain;
  const auto flush = [&] {
    out += replaced(std::move(plain), word, "");
    plain.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    while (text[at] == '\\' && end < text.size() && ((text[end] >= 'a' && text[end] <= 'z') || (text[end] >= 'A' && text[end] <= 'Z'))) ++end;
    if (end > at + 1) {
      flush();
      out.append(text, at, end - at);
    } else {
      plain += text[at];
    }
    at = end;
  }
  flush();
  return out;
}

constexpr std::string_view kInvalid = "[invalidanswer]";

std::string minerva_answer(const std::string& text) {
  static const auto pattern = RegularExpression::compile("Final Answer: The final answer is(.*?). I hope it is correct.");
  const auto matches = pattern->find_all(text + "I hope it is correct.");
  if (!matches || matches->empty()) return std::string(kInvalid);
  return strip_white_space(matches->front().groups[1]);
}

// ---- the scorer --------------------------------------------------------------------------------------------------------

class MathAnswer : public Scorer {
 public:
  MathAnswer(Template solution, bool minerva) : solution_(std::move(solution)), minerva_(minerva) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = text_of(response, row);
    if (!answer) return;
    const auto right = right_answer(item);
    if (!right) {
      row.error = right.error();
      return;
    }
    if (minerva_) {
      const std::string given = minerva_answer(answer->text), form = normalised_by_minerva(given), expected = normalised_by_minerva(*right);
      row.scores["no_answer"] = given == kInvalid;
      row.scores["accuracy"] = (!form.empty() && form == expected) || equal_values(form, expected);
      return;
    }
    const std::size_t first = answer->text.find('$'), last = answer->text.rfind('$');
    const std::string given = first == last ? answer->text : answer->text.substr(first + 1, last - first - 1);
    row.scores["accuracy"] = equal_by_hendrycks(given, *right);
  }

  void tally(const ScoredItem& item, ChanceTally& tally) const override {
    if (const auto right = right_answer(item)) tally.constant(*right);
  }

  std::vector<std::string> numbers() const override { return {"accuracy"}; }

  Status check(const ScoredItem& item) const override {
    const auto right = right_answer(item);
    if (!right) return right.error();
    return {};
  }

 private:
  Result<std::string> right_answer(const ScoredItem& item) const {
    const auto solution = solution_.render(item.item.fields);
    if (!solution) return solution.error();
    if (auto boxed = last_boxed(*solution)) return *boxed;
    return Error{Code::kBadValue, fmt::format("item '{}' (line {}): the solution has no \\boxed answer", item.item.id, item.item.line)};
  }

  Template solution_;
  bool minerva_;
};

}  // namespace

std::optional<std::string> last_boxed(const std::string& solution) {
  if (const auto parts = split(solution, "\\boxed "); parts.size() > 1) return split(parts.back(), "$")[0];
  std::string_view word = "\\boxed";
  std::size_t begin = solution.rfind(word);
  if (begin == std::string::npos) return std::nullopt;
  begin += word.size();
  if (begin >= solution.size() || solution[begin] != '{') return std::nullopt;
  int open = 0;
  for (std::size_t i = begin; i < solution.size(); ++i) {
    open += solution[i] == '{';
    open -= solution[i] == '}';
    if (open == 0) return solution.substr(begin + 1, i - begin - 1);
  }
  return std::nullopt;
}

bool equal_by_hendrycks(const std::string& a, const std::string& b) {
  try {
    return normalised_by_hendrycks(a) == normalised_by_hendrycks(b);
  } catch (const NoNormalForm&) {
    return a == b;
  }
}

std::string normalised_by_minerva(std::string answer) {
  answer = split(answer, "=").back();
  const auto for_words = [&](const auto& remove) {
    for (const char* word : kUnitWords) answer = remove(answer, word);
    for (const char* word : kMoreUnitWords) answer = remove(answer, word);
  };
  // While spaces still delimit them, so that "2\pi cm" loses its unit and "\left" keeps its "ft".
  for_words([](const std::string& text, const char* word) {
    if (text.find(word) == std::string::npos) return text;
    return sub(text, fmt::format("(?<!\\\\)\\b{}\\b", word).c_str(), "");
  });
  for (const auto& [from, to] : kSubstitutions) answer = replaced(std::move(answer), from, to);
  for (const char* word : kUnitWords) answer = without_word(answer, word);
  answer = replaced(std::move(answer), "\\ldots", "");
  for (const char* word : kMoreUnitWords) answer = without_word(answer, word);
  for (const char* text : kRemoved) answer = replaced(std::move(answer), text, "");
  answer = sub(answer, R"((.*?)(\$)(.*?)(\$)(.*))", R"($\3$)");
  for (const char* pattern : {R"((\\text\{)(.*?)(\}))", R"((\\textbf\{)(.*?)(\}))", R"((\\overline\{)(.*?)(\}))", R"((\\boxed\{)(.*)(\}))"})
    answer = sub(answer, pattern, R"(\2)");
  answer = sub(answer, R"((frac)([^{])(.))", R"(frac{\2}{\3})");
  answer = sub(answer, R"((sqrt)(\[[^\]]*\])(\w))", R"(\1\2{\3})");
  answer = sub(answer, R"((sqrt)(?!\[)([^{]))", R"(sqrt{\2})");
  answer = replaced(std::move(answer), "$", "");
  const auto thousands = RegularExpression::compile(R"(\A-?\d{1,3}(,\d{3})+\z)");
  if (const auto matches = thousands->find_all(answer); matches && !matches->empty()) answer = replaced(std::move(answer), ",", "");
  return answer;
}

Result<std::unique_ptr<Scorer>> make_math_answer(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "math_answer.");
  const std::string rules = options.text("rules"), solution = options.text("solution");
  if (rules != "hendrycks" && rules != "minerva")
    options.fail(options.line_of("rules"), fmt::format("'math_answer.rules' is '{}', allowed are hendrycks and minerva", rules));
  if (const Status status = options.finish(); !status) return status.error();
  auto compiled = Template::parse(solution, fmt::format("{}, math_answer.solution", task.place));
  if (!compiled) return compiled.error();
  return std::unique_ptr<Scorer>(std::make_unique<MathAnswer>(std::move(*compiled), rules == "minerva"));
}

}  // namespace quantfleet
