// UTF-8 as suites need it: is this text valid, and where do its characters (code points) begin.
// Valid means: shortest forms only, no surrogates, at most U+10FFFF (RFC 3629).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// Position of the first invalid byte; npos when all of `text` is valid.
std::size_t find_invalid_utf8(std::string_view text);

// Characters of a valid text.
std::size_t count_characters(std::string_view text);

// Byte offset of every character of a valid text, and text.size() behind the last.
std::vector<std::size_t> character_offsets(std::string_view text);

// Bytes of the white space character, as Python's str.isspace and \s count it, that begins at `at`; 0: none does.
std::size_t white_space_at(std::string_view text, std::size_t at);

// Python's strip, lstrip, rstrip without an argument.
std::string strip_white_space(const std::string& text, bool left = true, bool right = true);

// Upper-case letters of any script become lower case.
std::string lower_case(const std::string& text);
std::string upper_case(const std::string& text);

}  // namespace quantfleet
