#include "backends/tokenizers/charsmap.h"

#include <cstring>

namespace quantfleet {
namespace {

// Bytes of the well-formed code point at the beginning, 0 where there is none (Unicode 15, table 3-7).
std::size_t valid_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto is_next = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4 || !is_next(1)) return 0;
  if (first < 0xe0) return 2;
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  if (!is_next(2)) return 0;
  if (first < 0xf0) return 3;
  return is_next(3) ? 4 : 0;
}

}  // namespace

Result<Charsmap> Charsmap::parse(std::string_view bytes) {
  Charsmap map;
  if (bytes.empty()) return map;
  std::uint32_t size = 0;
  if (bytes.size() < sizeof size) return Error{Code::kTruncated, "precompiled_charsmap is shorter than its header"};
  std::memcpy(&size, bytes.data(), sizeof size);
  bytes.remove_prefix(sizeof size);
  if (size > bytes.size() || size % sizeof(std::uint32_t) != 0 || size == 0)
    return Error{Code::kBadValue, "precompiled_charsmap has a trie of " + std::to_string(size) + " bytes where " + std::to_string(bytes.size()) + " follow"};
  map.trie_.resize(size / sizeof(std::uint32_t));
  std::memcpy(map.trie_.data(), bytes.data(), size);
  map.replacements_ = bytes.substr(size);
  return map;
}

std::size_t Charsmap::match(std::string_view text, std::string_view& replacement) const {
  const auto offset = [](std::uint32_t unit) { return static_cast<std::size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6); };
  std::size_t longest = 0, place = trie_.empty() ? 0 : offset(trie_[0]);
  if (trie_.empty()) return 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    place ^= static_cast<unsigned char>(text[i]);
    if (place >= trie_.size()) break;
    const std::uint32_t unit = trie_[place];
    if ((unit & (0x80000000u | 0xffu)) != static_cast<unsigned char>(text[i])) break;
    place ^= offset(unit);
    if (!(unit >> 8 & 1)) continue;
    if (place >= trie_.size()) break;
    const std::size_t begin = trie_[place] & 0x7fffffffu;
    if (begin >= replacements_.size()) break;
    longest = i + 1;
    replacement = std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
  }
  return longest;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string mapped;
  mapped.reserve(text.size());
  while (!text.empty()) {
    std::string_view replacement;
    if (const std::size_t length = match(text, replacement); length > 0) {
      mapped += replacement;
      text.remove_prefix(length);
    } else if (const std::size_t length_as_is = valid_code_point(text); length_as_is > 0) {
      mapped += text.substr(0, length_as_is);
      text.remove_prefix(length_as_is);
    } else {
      mapped += "\xef\xbf\xbd";
      text.remove_prefix(1);
    }
  }
  return mapped;
}

}  // namespace quantfleet
