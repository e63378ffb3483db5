// How SentencePiece writes its tokens, BPE and unigram alike: a space as U+2581, a byte as <0xHH>.
#pragma once

#include "backends/tokenizers/vocabulary.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace quantfleet {

inline constexpr std::string_view kSentencePieceSpace = "\xe2\x96\x81";  // U+2581

// Length that the first byte announces; bytes that cannot start a code point stand alone.
std::size_t code_point_length(unsigned char first);

// The bytes that a token stands for in a text.
std::string sentencepiece_text(const Vocabulary& vocabulary, std::size_t id);

}  // namespace quantfleet
