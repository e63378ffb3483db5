// What a checker of instructions needs to know of natural language, by rules of thumb: no statistics, no data files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

// ISO 639-1 code by script, letters of one language alone, and the commonest small words; "" where the text has no letters.
// Latin text without any such word counts as "en".
std::string language_of(const std::string& text);

// Words of the Penn Treebank: contractions in two, hyphens kept, the full stop off a sentence's last word; marks are none.
std::vector<std::string> treebank_words(const std::string& text);

}  // namespace quantfleet
