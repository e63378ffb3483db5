#include "suites/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace quantfleet {

std::size_t find_invalid_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    std::size_t length = 1;
    unsigned char low = 0x80, high = 0xbf;  // of the second byte
    if (lead < 0x80) {
    } else if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return i;
    }
    if (text.size() - i < length) return i;
    for (std::size_t k = 1; k < length; ++k) {
      if (byte(i + k) < low || byte(i + k) > high) return i;
      low = 0x80, high = 0xbf;
    }
    i += length;
  }
  return std::string_view::npos;
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

std::vector<std::size_t> character_offsets(std::string_view text) {
  std::vector<std::size_t> offsets;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

std::size_t white_space_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned a = byte(0), b = byte(1), c = byte(2);
  if ((a >= 0x09 && a <= 0x0d) || (a >= 0x1c && a <= 0x20)) return 1;
  if (a == 0xc2 && (b == 0x85 || b == 0xa0)) return 2;                                                    // U+0085, U+00A0
  if (a == 0xe1 && b == 0x9a && c == 0x80) return 3;                                                      // U+1680
  if (a == 0xe2 && b == 0x80 && ((c >= 0x80 && c <= 0x8a) || c == 0xa8 || c == 0xa9 || c == 0xaf)) return 3;  // U+2000 to 202F
  if ((a == 0xe2 && b == 0x81 && c == 0x9f) || (a == 0xe3 && b == 0x80 && c == 0x80)) return 3;           // U+205F, U+3000
  return 0;
}

std::string strip_white_space(const std::string& text, bool left, bool right) {
  std::size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const std::size_t bytes = white_space_at(text, begin);
    if (bytes == 0) break;
    begin += bytes;
  }
  while (right && begin < end) {
    std::size_t bytes = 0;
    for (std::size_t length = 1; length <= 3 && length <= end - begin; ++length)
      if (white_space_at(text, end - length) == length) bytes = length;
    if (bytes == 0) break;
    end -= bytes;
  }
  return text.substr(begin, end - begin);
}

namespace {

// Case by PCRE2's Unicode tables: one character for one character, as str.lower nearly always does.
std::string in_case(const std::string& text, const char* replacement) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    std::string changed = text;
    const bool up = replacement[1] == 'U';
    for (char& c : changed)
      if (up ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z') c = static_cast<char>(c ^ 0x20);
    return changed;
  }
  int code = 0;
  PCRE2_SIZE offset = 0;
  static const pcre2_code* const kAll = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("(?s).+"), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr);
  std::string changed(3 * text.size() + 1, '\0');  // a character may take more bytes in the other case
  PCRE2_SIZE size = changed.size();
  const int done = pcre2_substitute(kAll, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, PCRE2_SUBSTITUTE_EXTENDED, nullptr, nullptr,
                                    reinterpret_cast<PCRE2_SPTR>(replacement), PCRE2_ZERO_TERMINATED, reinterpret_cast<PCRE2_UCHAR*>(changed.data()), &size);
  if (done < 0) return text;  // not valid UTF-8
  changed.resize(size);
  return changed;
}

}  // namespace

std::string lower_case(const std::string& text) { return in_case(text, "\\L$0"); }
std::string upper_case(const std::string& text) { return in_case(text, "\\U$0"); }

}  // namespace quantfleet
