// SentencePiece's precompiled map of characters: which texts are replaced by which before anything else happens.
//   u32 bytes of the trie | the trie, a double array of u32 | the replacements, each ended by a zero byte
// A unit of the trie: bits 0-7 the label, bit 8 whether a value hangs on it, bit 9 whether the offset is in units of 256, bits 10-30
// the offset; of a value: bits 0-30, where its replacement begins. Source: sentencepiece's and darts-clone's file formats.
// Fuzz: tests/fuzz/fuzz_sentencepiece_model.cc
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class Charsmap {
 public:
  // Empty bytes: nothing is replaced.  Errors: kTruncated, kBadValue.
  static Result<Charsmap> parse(std::string_view bytes);

  // The longest text that the map knows at each place is replaced; bytes that are not UTF-8 become U+FFFD.
  std::string apply(std::string_view text) const;

 private:
  // How many bytes at the beginning of `text` are replaced, and by what; 0: none.
  std::size_t match(std::string_view text, std::string_view& replacement) const;

  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

}  // namespace quantfleet
