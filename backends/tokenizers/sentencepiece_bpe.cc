// SentencePiece BPE as Llama 1 and 2, Mistral, Gemma and Phi-3 use it: spaces become U+2581, the text falls into code points,
// and the adjacent pair whose joined text has the best score is merged until no pair is a token. What is no token in the end
// is spelled in byte tokens <0xHH>. Not the unigram search, and no Unicode normalisation.
// Source: Kudo & Richardson 2018 (SentencePiece), BPE mode. Cost: O(n log n) by a priority queue over a linked list.
#include "backends/tokenizers/sentencepiece_pieces.h"
#include "backends/tokenizers/tokenizer.h"

#include <fmt/format.h>

#include <queue>

namespace quantfleet {
namespace {

class SentencePieceBpe final : public Tokenizer {
 public:
  explicit SentencePieceBpe(Vocabulary given) : Tokenizer(std::move(given)), index_(vocabulary_.tokens.size()) {
    add_bos_ = vocabulary_.add_bos.value_or(true);
    add_eos_ = vocabulary_.add_eos.value_or(false);
    add_space_prefix_ = vocabulary_.add_space_prefix.value_or(true);
    const std::size_t count = vocabulary_.tokens.size();
    TextList pieces;
    pieces.reserve(count, vocabulary_.tokens.size_bytes());
    for (std::size_t id = 0; id < count; ++id) {
      index_.put(vocabulary_.tokens, id);
      pieces.push_back(sentencepiece_text(vocabulary_, id));
    }
    set_pieces(std::move(pieces));
    for (int byte = 0; byte < 256; ++byte) {
      std::int32_t& id = byte_id_[byte];
      id = id_of(fmt::format("<0x{:02X}>", byte));
      if (id < 0) id = id_of(std::string(1, static_cast<char>(byte)));
      if (id < 0) id = vocabulary_.unknown.value_or(-1);
    }
  }

 protected:
  void encode_plain(std::string_view text, bool follows_special, std::vector<std::int32_t>& ids) const override {
    std::string escaped;
    escaped.reserve(text.size() + text.size() / 2 + kSentencePieceSpace.size());
    if (add_space_prefix_ && follows_special) escaped += kSentencePieceSpace;
    for (const char c : text) {
      if (c == ' ') escaped += kSentencePieceSpace;
      else escaped += c;
    }
    merge(escaped, ids);
  }

 private:
  struct Symbol {
    std::uint32_t begin, size;   // bytes of the text; size 0: merged into its left neighbour
    std::int32_t previous, next; // -1: none
  };
  struct Pair {
    float score;
    std::int32_t left, right;
    std::uint32_t size;          // of both together when they were paired: stale entries are recognised by it
    bool operator<(const Pair& other) const {  // the queue's top: best score, then leftmost
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  std::int32_t id_of(std::string_view text) const { return index_.find(vocabulary_.tokens, text); }  // -1: no token

  void merge(std::string_view text, std::vector<std::int32_t>& ids) const {
    std::vector<Symbol> symbols;
    symbols.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
      const auto index = static_cast<std::int32_t>(symbols.size());
      symbols.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(size), index - 1, index + 1});
      at += size;
    }
    if (symbols.empty()) return;
    symbols.back().next = -1;

    std::vector<Pair> storage;
    storage.reserve(symbols.size());
    std::priority_queue<Pair> queue(std::less<Pair>(), std::move(storage));
    const auto offer = [&](std::int32_t left, std::int32_t right) {
      if (left < 0 || right < 0) return;
      const std::uint32_t size = symbols[left].size + symbols[right].size;
      const std::int32_t id = id_of(text.substr(symbols[left].begin, size));
      if (id >= 0) queue.push({vocabulary_.scores[id], left, right, size});
    };
    for (std::size_t i = 1; i < symbols.size(); ++i) offer(static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
    while (!queue.empty()) {
      const Pair pair = queue.top();
      queue.pop();
      Symbol& left = symbols[pair.left];
      Symbol& right = symbols[pair.right];
      if (left.size == 0 || right.size == 0 || left.size + right.size != pair.size) continue;
      left.size = pair.size;
      right.size = 0;
      left.next = right.next;
      if (right.next >= 0) symbols[right.next].previous = pair.left;
      offer(left.previous, pair.left);
      offer(pair.left, left.next);
    }
    for (std::int32_t i = 0; i >= 0; i = symbols[i].next) {
      // A symbol is one code point or the text of a token, so only a single code point can be missing.
      const std::string_view symbol = text.substr(symbols[i].begin, symbols[i].size);
      if (const std::int32_t id = id_of(symbol); id >= 0) {
        ids.push_back(id);
        continue;
      }
      for (const char c : symbol)
        if (const std::int32_t id = byte_id_[static_cast<unsigned char>(c)]; id >= 0) ids.push_back(id);
    }
  }

  bool add_space_prefix_ = true;
  TextIndex index_;  // of vocabulary_.tokens
  std::int32_t byte_id_[256];
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(Vocabulary vocabulary) {
  return std::make_unique<SentencePieceBpe>(std::move(vocabulary));
}

}  // namespace quantfleet
