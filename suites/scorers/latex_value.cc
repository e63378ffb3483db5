#include "suites/scorers/latex_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstdint>
#include <optional>
#include <string>

namespace quantfleet {
namespace {

using Number = std::complex<double>;
struct NoValue {};

constexpr int kDepthMax = 100;
constexpr int kPoints = 4;

// Evaluates while it reads, at one point: a letter's value is a function of its name and the point.
class Reader {
 public:
  Reader(std::string_view text, int point) : text_(text), point_(point) {}

  // Of the longest beginning that is an expression: "4, 6" has the value of 4.
  Number beginning() { return sum(); }

 private:
  struct Deeper {
    int& level;
    explicit Deeper(int& depth) : level(depth) {
      if (++level > kDepthMax) throw NoValue();
    }
    ~Deeper() { --level; }
  };

  void skip() {
    for (;;) {
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
      bool spacing = false;
      for (std::string_view space : {"\\left", "\\right", "\\,", "\\;", "\\!", "\\ "})
        if (text_.substr(at_).starts_with(space)) {
          at_ += space.size();
          spacing = true;
          break;
        }
      if (!spacing) return;
    }
  }
  char next() {
    skip();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(std::string_view word) {
    skip();
    if (!text_.substr(at_).starts_with(word)) return false;
    const bool command = word.size() > 1 && word[0] == '\\';
    if (command && at_ + word.size() < text_.size() && is_letter(text_[at_ + word.size()])) return false;
    at_ += word.size();
    return true;
  }
  void need(std::string_view word) {
    if (!take(word)) throw NoValue();
  }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  Number sum() {
    Deeper guard(depth_);
    Number value = product();
    for (;;) {
      const std::size_t before = at_;
      std::optional<Number> more;
      if (take("+")) more = unless_it_ends(before, [&] { return product(); });
      else if (take("-")) more = unless_it_ends(before, [&] { return -product(); });
      if (!more) return value;
      value += *more;
    }
  }
  Number product() {
    Number value = signed_power();
    for (;;) {
      const std::size_t before = at_;
      std::optional<Number> more;
      if (take("*") || take("\\cdot") || take("\\times")) more = unless_it_ends(before, [&] { return signed_power(); });
      else if (take("/") || take("\\div")) more = unless_it_ends(before, [&] { return Number(1) / signed_power(); });
      else if (begins_factor()) more = unless_it_ends(before, [&] { return power(); });
      if (!more) return value;
      value *= *more;
    }
  }
  // An operand; nothing, and back to `before`, where none can be read and no bracket is open: there the expression ends.
  template <class Read>
  std::optional<Number> unless_it_ends(std::size_t before, const Read& read) {
    if (open_ > 0) return read();
    try {
      return read();
    } catch (const NoValue&) {
      at_ = before;
      open_ = 0;
      return std::nullopt;
    }
  }
  bool begins_factor() {
    const char c = next();
    return is_digit(c) || is_letter(c) || c == '(' || c == '{' || c == '[' || text_.substr(at_).starts_with("\\sqrt") || text_.substr(at_).starts_with("\\frac") ||
           text_.substr(at_).starts_with("\\dfrac") || text_.substr(at_).starts_with("\\tfrac") || is_name();
  }
  static constexpr std::string_view kNames[] = {"\\pi",    "\\theta", "\\alpha", "\\beta", "\\gamma", "\\delta", "\\epsilon", "\\lambda",
                                                "\\mu",    "\\sigma", "\\phi",   "\\omega", "\\rho",  "\\in",    "\\cup",     "\\cap"};
  bool is_name() {
    const std::size_t at = at_;
    for (std::string_view name : kNames)
      if (take(name)) {
        at_ = at;
        return true;
      }
    return false;
  }
  Number signed_power() {
    if (take("-")) {
      Deeper guard(depth_);
      return -signed_power();
    }
    if (take("+")) {
      Deeper guard(depth_);
      return signed_power();
    }
    return power();
  }
  Number power() {
    const Number base = atom();
    if (!take("^")) return base;
    const Number exponent = argument();
    return raised(base, exponent);
  }
  static Number raised(Number base, Number exponent) {
    if (exponent.imag() == 0 && std::abs(exponent.real()) <= 64 && exponent.real() == std::floor(exponent.real())) {
      Number value = 1;
      for (int i = 0; i < static_cast<int>(std::abs(exponent.real())); ++i) value *= base;
      return exponent.real() < 0 ? Number(1) / value : value;
    }
    return std::pow(base, exponent);
  }
  // What follows \frac or ^: braces, or a single character, or a command.
  Number argument() {
    if (next() == '{') return atom();
    if (is_digit(next())) return Number(text_[at_++] - '0');
    if (take("-")) throw NoValue();
    return atom();
  }
  Number atom() {
    Deeper guard(depth_);
    const char c = next();
    for (const auto& [open, close] : {std::pair("(", ")"), std::pair("{", "}"), std::pair("[", "]")})
      if (c == open[0]) {
        need(open);
        ++open_;
        const Number value = sum();
        need(close);
        --open_;
        return value;
      }
    if (is_digit(c)) return number();
    if (is_letter(c)) {
      std::string name(1, text_[at_++]);
      return letter(with_index(std::move(name)));
    }
    if (take("\\frac") || take("\\dfrac") || take("\\tfrac")) {
      const Number above = argument();
      return above / argument();
    }
    if (take("\\sqrt")) {
      Number root = 2;
      if (next() == '[') root = atom();
      return root == Number(2) ? std::sqrt(argument()) : std::pow(argument(), Number(1) / root);
    }
    for (std::string_view command : kNames)
      if (take(command)) return letter(with_index(std::string(command)));
    throw NoValue();
  }
  std::string with_index(std::string name) {
    if (at_ < text_.size() && text_[at_] == '_') {
      const std::size_t begin = at_++;
      if (at_ < text_.size() && text_[at_] == '{') {
        while (at_ < text_.size() && text_[at_] != '}') ++at_;
      }
      if (at_ >= text_.size()) throw NoValue();
      name += text_.substr(begin, ++at_ - begin);
    }
    return name;
  }
  Number number() {
    std::string digits;
    bool point = false;
    // 1,080: a comma before three digits belongs to the number.
    const auto groups = [&] {
      return !point && text_[at_] == ',' && at_ + 3 < text_.size() && is_digit(text_[at_ + 1]) && is_digit(text_[at_ + 2]) && is_digit(text_[at_ + 3]);
    };
    while (at_ < text_.size() && (is_digit(text_[at_]) || (text_[at_] == '.' && !point) || groups())) {
      if (groups()) {
        digits += text_.substr(at_ + 1, 3);
        at_ += 4;
        if (at_ >= text_.size() || text_[at_] != ',') break;
        continue;
      }
      point = point || text_[at_] == '.';
      digits += text_[at_++];
    }
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size()) throw NoValue();
    return value;
  }
  Number letter(const std::string& name) const {
    std::uint64_t z = 0xcbf29ce484222325u + static_cast<std::uint64_t>(point_) * 0x9e3779b97f4a7c15u;
    for (char c : name) z = (z ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return {static_cast<double>(z >> 40) * 0x1p-23 - 1, static_cast<double>((z >> 8) & 0xffffff) * 0x1p-23 - 1};
  }

  std::string_view text_;
  int point_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int open_ = 0;  // brackets
};

std::optional<Number> value_of(std::string_view text, int point) {
  try {
    const Number value = Reader(text, point).beginning();
    if (std::isfinite(value.real()) && std::isfinite(value.imag())) return value;
  } catch (const NoValue&) {
  }
  return std::nullopt;
}

}  // namespace

bool equal_values(std::string_view a, std::string_view b) {
  if (a.size() > 10'000 || b.size() > 10'000) return false;
  for (int point = 0; point < kPoints; ++point) {
    const auto x = value_of(a, point), y = value_of(b, point);
    if (!x || !y) return false;
    if (std::abs(*x - *y) > 1e-9 * std::max({1.0, std::abs(*x), std::abs(*y)})) return false;
  }
  return true;
}

}  // namespace quantfleet
