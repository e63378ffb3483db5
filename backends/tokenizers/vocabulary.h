// The tokens of a model and the rules that come with them, as a GGUF file states them (keys tokenizer.ggml.*). Data only;
// how a text becomes tokens is in tokenizer.h.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/tokenizers/text_list.h"
#include "contract/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet {

enum class TokenType : std::uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Vocabulary {
  std::string model;                 // "llama" (SentencePiece BPE), "t5" (SentencePiece unigram) or "gpt2" (byte-level BPE)
  std::string pre;                   // name of the pre-tokenizer, byte-level BPE only: "llama-bpe"
  std::string model_name;            // general.name: some whitespace rules hang on it
  TextList tokens;                   // id -> text as stored (U+2581 for space, or the byte alphabet)
  std::vector<TokenType> types;      // as many as tokens
  std::vector<float> scores;         // SentencePiece: as many as tokens
  TextList merges;                   // byte-level BPE: "left right", best first
  std::optional<std::int32_t> bos, eos, eot, eom, unknown;
  std::vector<std::int32_t> end_of_text;   // every id that ends a text, eos first, no duplicates
  std::optional<bool> add_bos, add_eos, add_space_prefix;  // where the file says so
  bool removes_extra_spaces = false; // unigram: at both ends, and of several only one stays
  std::string charsmap;              // unigram: precompiled map of characters (charsmap.h), or empty
};

// Reads and checks the keys: as many types and scores as tokens, ids inside the vocabulary (-1 and 2^32 - 1 mean none).
// Errors: kBadValue, kBadShape, kTooLarge with the key; kUnsupported for an unknown tokenizer.ggml.model.
Result<Vocabulary> read_vocabulary(const GgufFile& file);

}  // namespace quantfleet
