// Byte-level byte-pair encoding, trained on the corpus itself and written to GGUF as model "gpt2", pre "smollm".
//   Pre-tokenizer: every digit alone; between digits GPT-2's pattern (contractions, a word, or a run of other signs, each
//   with at most one space before it; white space). So a space never merges with a digit. ASCII text only.
//   Ids: 0..255 the bytes in order, then the merges in the order they were learned, last <|endoftext|>.
// Method: Sennrich et al. 2016; ties in frequency go to the pair of lowest ids, so the result has one value.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace quantfleet::reference {

// The pieces between which nothing merges; their concatenation is the text.
std::vector<std::string_view> pre_tokenize(std::string_view text);

class Tokenizer {
 public:
  static constexpr const char* kEndOfText = "<|endoftext|>";

  // Learns merges until there are vocabulary_tokens tokens (at least 257), or no pair occurs twice.
  static Tokenizer train(std::span<const std::string> documents, int vocabulary_tokens);

  std::vector<std::int32_t> encode(std::string_view text) const;  // no special tokens are recognised or added
  std::string decode(std::span<const std::int32_t> tokens) const; // the separator prints as its name

  std::size_t size_bytes(std::int32_t token) const { return bytes_.at(static_cast<std::size_t>(token)).size(); }  // not the separator's

  int vocabulary_tokens() const { return static_cast<int>(bytes_.size()) + 1; }
  std::int32_t end_of_text() const { return static_cast<std::int32_t>(bytes_.size()); }

  // As GGUF stores them: bytes as printable code points (GPT-2's table, UTF-8), merges as "left right".
  std::vector<std::string> gguf_tokens() const;
  std::vector<std::string> gguf_merges() const;
  std::vector<std::int32_t> gguf_token_types() const;  // 1 normal, 3 control

 private:
  void encode_piece(std::string_view piece, std::vector<std::int32_t>& out) const;

  std::vector<std::string> bytes_;                                   // the bytes of each token but the separator
  std::vector<std::pair<std::int32_t, std::int32_t>> merges_;        // merge i makes token 256 + i
  std::unordered_map<std::uint64_t, std::int32_t> merge_of_pair_;    // left << 32 | right -> token
};

}  // namespace quantfleet::reference
