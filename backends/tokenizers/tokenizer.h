// Text to token ids and back: SentencePiece BPE ("llama", merges by score with bytes as the last resort), SentencePiece unigram
// ("t5", the cut with the best sum of scores) and byte-level BPE ("gpt2", merges by rank inside the pieces that a pre-tokenizer's
// regular expressions cut).
// Any byte string can be encoded. Bytes that are not UTF-8: SentencePiece passes them through byte tokens; byte-level BPE
// and unigram read each as U+FFFD. Reference for ids: llama.cpp of February 2025. A Tokenizer is immutable and may be shared by threads.
// Not here: WordPiece, Unicode normalisation other than unigram's map, chat templates.
#pragma once

#include "backends/tokenizers/vocabulary.h"
#include "contract/error.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class Tokenizer {
 public:
  // kUnsupported where the vocabulary names a pre-tokenizer that is not known; kBadValue for merges without two parts.
  static Result<std::shared_ptr<const Tokenizer>> create(Vocabulary vocabulary);
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufFile& file);
  virtual ~Tokenizer() = default;

  // add_special: BOS before and EOS behind, where the model wants them. parse_special: the text of a control token stands
  // for that token instead of for its characters. User-defined tokens are always recognised.
  std::vector<std::int32_t> encode(std::string_view text, bool add_special, bool parse_special) const;

  // Bytes of the tokens one after the other; may end inside a code point. Control tokens print only with `special`.
  // Ids outside the vocabulary print nothing.
  std::string decode(std::span<const std::int32_t> ids, bool special) const;
  std::string_view piece(std::int32_t id) const;   // bytes of one token, control tokens included; empty when out of range

  int size() const { return static_cast<int>(vocabulary_.types.size()); }
  bool is_control(std::int32_t id) const;          // control and unknown tokens
  bool is_end_of_text(std::int32_t id) const;
  bool adds_bos() const { return add_bos_; }
  // What stands before a text that has nothing before it: BOS, else EOS, else nothing.
  std::optional<std::int32_t> prefix_token() const { return vocabulary_.bos ? vocabulary_.bos : vocabulary_.eos; }
  const Vocabulary& vocabulary() const { return vocabulary_; }  // byte-level BPE: without tokens and merges, which are kept as it needs them

 protected:
  explicit Tokenizer(Vocabulary vocabulary);
  // Tokens of a stretch without special tokens. follows_special: it is the first, or behind a special token.
  virtual void encode_plain(std::string_view text, bool follows_special, std::vector<std::int32_t>& ids) const = 0;
  // Bytes of every token; where it is a special one, its text.
  void set_pieces(TextList pieces) { pieces_ = std::move(pieces); }
  const TextList& pieces() const { return pieces_; }

  Vocabulary vocabulary_;
  bool add_bos_ = false, add_eos_ = false;

 private:
  struct Special {
    std::int32_t id;
    bool only_when_parsing;   // control and unknown tokens
    bool strip_right;         // white space behind the token belongs to it
  };
  std::vector<Special> specials_;   // longest text first
  TextList pieces_;
};

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(Vocabulary vocabulary);
Result<std::unique_ptr<Tokenizer>> make_byte_level_bpe(Vocabulary vocabulary);
Result<std::unique_ptr<Tokenizer>> make_unigram(Vocabulary vocabulary);  // kTruncated, kBadValue: a damaged map of characters

// Passes bytes through in whole UTF-8 code points: what is incomplete waits for the next call. Bytes that can never become
// a code point pass as they are.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish();   // what still waits

 private:
  std::string waiting_;   // at most 3 bytes
};

}  // namespace quantfleet
