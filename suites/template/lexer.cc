// Text runs to the next "{{", "{%" or "{#"; inside a tag, tokens are names, numbers, strings and operators, longest first.
#include "suites/template/lexer.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace quantfleet::jinja {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_name(char c) { return is_name_start(c) || is_digit(c); }

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

class Lexer {
 public:
  Lexer(std::string_view source, const TemplateOptions& options) : source_(source), options_(options) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    tokens_.push_back({Token::Kind::kEnd, "", position_});
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  void advance(std::size_t count = 1) {
    for (; count && at_ < source_.size(); --count, ++at_) {
      if (source_[at_] == '\n') {
        ++position_.line;
        position_.column = 1;
      } else {
        ++position_.column;
      }
    }
  }

  void text() {
    const Position begin = position_;
    std::size_t end = at_;
    while (end < source_.size() &&
           !(source_[end] == '{' && end + 1 < source_.size() &&
             (source_[end + 1] == '{' || source_[end + 1] == '%' || source_[end + 1] == '#')))
      ++end;
    std::string piece(source_.substr(at_, end - at_));
    const bool line_begins_here = at_ == 0 || source_[at_ - 1] == '\n';
    advance(end - at_);
    const bool tag_follows = at_ < source_.size();
    const char kind = tag_follows ? peek(1) : '\0';
    const char control = tag_follows ? peek(2) : '\0';

    if (strip_before_text_) {
      piece.erase(0, std::min(piece.find_first_not_of(" \t\n\r\f\v"), piece.size()));
    } else if (trim_newline_) {
      if (piece.starts_with("\r\n")) piece.erase(0, 2);
      else if (piece.starts_with('\n')) piece.erase(0, 1);
    }
    strip_before_text_ = trim_newline_ = false;
    if (tag_follows && control == '-') {
      while (!piece.empty() && is_space(piece.back())) piece.pop_back();
    } else if (tag_follows && options_.lstrip_blocks && kind != '{' && control != '+') {
      const std::size_t last = piece.find_last_not_of(" \t");
      if (last == std::string::npos ? line_begins_here : piece[last] == '\n')
        piece.resize(last == std::string::npos ? 0 : last + 1);
    }
    if (!tag_follows && !options_.keep_trailing_newline) {
      if (piece.ends_with("\r\n")) piece.resize(piece.size() - 2);
      else if (piece.ends_with('\n')) piece.pop_back();
    }
    if (!piece.empty()) tokens_.push_back({Token::Kind::kText, std::move(piece), begin});
    if (!tag_follows) return;
    if (kind == '#') comment();
    else tag(kind == '{');
  }

  void comment() {
    const Position begin = position_;
    const std::size_t end = source_.find("#}", at_ + 2);
    if (end == std::string_view::npos) throw Failure{begin, "expected '#}' that ends this comment"};
    if (source_[end - 1] == '-' && end > at_ + 2) strip_before_text_ = true;
    else trim_newline_ = options_.trim_blocks;
    advance(end + 2 - at_);
  }

  void tag(bool print) {
    const Position begin = position_;
    tokens_.push_back({print ? Token::Kind::kPrintBegin : Token::Kind::kTagBegin, print ? "{{" : "{%", position_});
    advance(2);
    if (peek() == '-' || (peek() == '+' && !print)) advance();
    int depth = 0;  // of brackets: "}}" may close two dictionaries
    for (;;) {
      while (at_ < source_.size() && is_space(peek())) advance();
      if (at_ >= source_.size())
        throw Failure{begin, fmt::format("expected '{}' that ends this tag", print ? "}}" : "%}")};
      const char* close = print ? "}}" : "%}";
      const std::size_t dash = peek() == '-' || (peek() == '+' && !print) ? 1 : 0;
      if (depth == 0 && source_.substr(at_ + dash, 2) == close) {
        strip_before_text_ = peek() == '-';
        trim_newline_ = !print && options_.trim_blocks && peek() != '+';
        tokens_.push_back({print ? Token::Kind::kPrintEnd : Token::Kind::kTagEnd, close, position_});
        advance(2 + dash);
        return;
      }
      token(depth);
    }
  }

  void token(int& depth) {
    const Position begin = position_;
    const char c = peek();
    const std::size_t start = at_;
    if (is_name_start(c)) {
      while (is_name(peek())) advance();
      tokens_.push_back({Token::Kind::kName, std::string(source_.substr(start, at_ - start)), begin});
    } else if (is_digit(c)) {
      bool is_float = false;
      while (is_digit(peek())) advance();
      if (peek() == '.' && is_digit(peek(1))) {
        is_float = true;
        advance();
        while (is_digit(peek())) advance();
      }
      if ((peek() == 'e' || peek() == 'E') && (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
        is_float = true;
        advance(2);
        while (is_digit(peek())) advance();
      }
      tokens_.push_back({is_float ? Token::Kind::kFloat : Token::Kind::kInteger,
                         std::string(source_.substr(start, at_ - start)), begin});
    } else if (c == '\'' || c == '"') {
      tokens_.push_back({Token::Kind::kString, string(c), begin});
    } else {
      static constexpr std::array<std::string_view, 27> kOperators = {
          "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">",
          "=",  "(",  ")",  "[",  "]",  "{",  "}", ".", ",", ":", "|", ";", "!"};
      for (std::string_view op : kOperators) {
        if (source_.substr(at_, op.size()) != op) continue;
        if (op == "(" || op == "[" || op == "{") ++depth;
        if ((op == ")" || op == "]" || op == "}") && --depth < 0)
          throw Failure{begin, fmt::format("'{}' closes nothing", op)};
        tokens_.push_back({Token::Kind::kOperator, std::string(op), begin});
        advance(op.size());
        return;
      }
      throw Failure{begin, fmt::format("unexpected byte 0x{:02x} inside a tag", static_cast<unsigned char>(c))};
    }
  }

  std::string string(char quote) {
    const Position begin = position_;
    advance();
    std::string value;
    for (;;) {
      if (at_ >= source_.size()) throw Failure{begin, "expected the quote that ends this string"};
      const char c = peek();
      advance();
      if (c == quote) return value;
      if (c != '\\') {
        value += c;
        continue;
      }
      const char escaped = peek();
      advance();
      switch (escaped) {
        case 'n': value += '\n'; break;
        case 't': value += '\t'; break;
        case 'r': value += '\r'; break;
        case 'b': value += '\b'; break;
        case 'f': value += '\f'; break;
        case 'u': {
          std::uint32_t code = 0;
          for (int i = 0; i < 4; ++i) {
            const char digit = peek();
            const int hex = is_digit(digit) ? digit - '0'
                            : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                            : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
            if (hex < 0) throw Failure{position_, "expected four hexadecimal digits after \\u"};
            code = code * 16 + static_cast<std::uint32_t>(hex);
            advance();
          }
          if (code >= 0xd800 && code < 0xe000) throw Failure{begin, "\\u must not name half of a surrogate pair"};
          append_utf8(value, code);
          break;
        }
        case '\\': case '\'': case '"': case '/': value += escaped; break;
        case '\0': throw Failure{begin, "expected the quote that ends this string"};
        default: value += '\\'; value += escaped;
      }
    }
  }

  std::string_view source_;
  TemplateOptions options_;
  std::size_t at_ = 0;
  Position position_;
  bool strip_before_text_ = false, trim_newline_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const TemplateOptions& options) {
  return Lexer(source, options).run();
}

}  // namespace quantfleet::jinja
