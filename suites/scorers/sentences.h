// Where sentences end, as Punkt decides it (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary Detection"), with lists
// of our own in place of its trained tables: which abbreviations there are, and which words are met in small letters.
#pragma once

#include <string>

namespace quantfleet {

// . ? and ! before white space, a quotation mark or a bracket end a sentence; not a full stop of an abbreviation, an initial, a number or
// an ellipsis, unless the next word says otherwise. Closing marks belong to the sentence before them.
int count_sentences(const std::string& text);

}  // namespace quantfleet
