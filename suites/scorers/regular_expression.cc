#include "suites/scorers/regular_expression.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

namespace quantfleet {
namespace {

constexpr std::size_t kPatternBytesMax = 10'000;
constexpr std::size_t kMatchesMax = 100'000;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

Result<RegularExpression> RegularExpression::compile(const std::string& pattern) {
  if (pattern.size() > kPatternBytesMax)
    return Error{Code::kTooLarge, fmt::format("the regular expression has {} bytes, at most {} are allowed", pattern.size(), kPatternBytesMax)};
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, nullptr);
  if (!compiled)
    return Error{Code::kBadValue, fmt::format("'{}' is not a regular expression: {} at byte {}", pattern, message_of(code), offset)};
  RegularExpression result;
  result.code_ = std::shared_ptr<const void>(compiled, [](const void* p) {
    pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p)));
  });
  return result;
}

Result<std::vector<RegularExpression::Match>> RegularExpression::find_all(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits(pcre2_match_context_create(nullptr),
                                                                                          pcre2_match_context_free);
  pcre2_set_match_limit(limits.get(), 1'000'000);
  pcre2_set_heap_limit(limits.get(), 65'536);  // KiB
  std::vector<Match> matches;
  std::size_t at = 0;
  std::uint32_t options = 0;
  while (at <= text.size()) {
    const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, options, data.get(), limits.get());
    if (count == PCRE2_ERROR_NOMATCH) {
      if (!options) return matches;
      options = 0;  // behind an empty match: one character on
      ++at;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
      continue;
    }
    if (count < 0) return Error{Code::kTooLarge, fmt::format("the regular expression gave up: {}", message_of(count))};
    if (matches.size() >= kMatchesMax) return Error{Code::kTooLarge, fmt::format("more than {} matches", kMatchesMax)};
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    Match match{bounds[0], bounds[1], {}};
    if (match.end < match.begin) match.begin = match.end;  // \K inside a look-ahead
    for (std::uint32_t group = 0; group < pcre2_get_ovector_count(data.get()); ++group) {
      const bool took_part = static_cast<int>(group) < count && bounds[2 * group] != PCRE2_UNSET && bounds[2 * group] <= bounds[2 * group + 1];
      match.groups.emplace_back(took_part ? text.substr(bounds[2 * group], bounds[2 * group + 1] - bounds[2 * group]) : std::string_view());
    }
    options = match.end == match.begin ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0;
    if (match.end < at) return matches;
    at = match.end;
    matches.push_back(std::move(match));
  }
  return matches;
}

Result<std::string> RegularExpression::replace_all(std::string_view text, std::string_view replacement) const {
  const auto matches = find_all(text);
  if (!matches) return matches.error();
  std::string changed;
  std::size_t at = 0;
  for (const Match& match : *matches) {
    if (match.begin < at) continue;
    changed.append(text.substr(at, match.begin - at));
    for (std::size_t i = 0; i < replacement.size(); ++i) {
      const bool group = replacement[i] == '\\' && i + 1 < replacement.size() && replacement[i + 1] >= '1' && replacement[i + 1] <= '9';
      if (!group) changed += replacement[i];
      else if (const auto number = static_cast<std::size_t>(replacement[++i] - '0'); number < match.groups.size()) changed += match.groups[number];
    }
    at = match.end;
  }
  return changed.append(text.substr(at));
}

}  // namespace quantfleet
