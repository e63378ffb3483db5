// tokenizer.model: the protocol buffer in which SentencePiece stores a vocabulary, read as it is. Of its messages only what
// tokenization needs: pieces with scores and types, the kind of model, ids of special tokens, the normalizer.
// Source: sentencepiece_model.proto of the SentencePiece project.  Fuzz: tests/fuzz/fuzz_sentencepiece_model.cc
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::huggingface {

struct SentencePieceModel {
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    int type = 1;  // as GGUF numbers them: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  };
  std::vector<Piece> pieces;
  Kind kind = Kind::kUnigram;
  std::int64_t unknown = 0, bos = 1, eos = 2;  // -1: none
  std::string charsmap;                        // the normalizer's precompiled map; empty: the text stays as it is
  bool adds_space_prefix = true, removes_extra_spaces = true, escapes_spaces = true, spaces_behind = false;
};

// Errors: kTruncated, kBadValue, kTooLarge with the byte.
Result<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes, std::string_view place);

}  // namespace quantfleet::huggingface
