#include "backends/tokenizers/sentencepiece_pieces.h"

#include <cstdio>

namespace quantfleet {

std::size_t code_point_length(unsigned char first) {
  if (first >= 0xf0) return 4;
  if (first >= 0xe0) return 3;
  if (first >= 0xc0) return 2;
  return 1;
}

std::string sentencepiece_text(const Vocabulary& vocabulary, std::size_t id) {
  const std::string text(vocabulary.tokens[id]);
  switch (vocabulary.types[id]) {
    case TokenType::kByte: {
      unsigned byte = 0;
      if (text.size() == 6 && std::sscanf(text.c_str(), "<0x%2X>", &byte) == 1) return std::string(1, static_cast<char>(byte));
      return text;
    }
    case TokenType::kNormal: {
      std::string piece;
      for (std::size_t at = 0; at < text.size();) {
        if (text.compare(at, kSentencePieceSpace.size(), kSentencePieceSpace) == 0) {
          piece += ' ';
          at += kSentencePieceSpace.size();
        } else {
          piece += text[at++];
        }
      }
      return piece;
    }
    case TokenType::kUnused: return "";
    default: return text;
  }
}

}  // namespace quantfleet
