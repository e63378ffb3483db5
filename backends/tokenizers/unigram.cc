// SentencePiece unigram as T5 and its kin use it: the text is normalized by the vocabulary's map of characters, spaces become
// U+2581, and of all ways to cut it into tokens the one with the largest sum of scores is taken (Viterbi). A code point that no
// token covers is unknown, or spelled in byte tokens where the vocabulary has all of them.
// Source: Kudo 2018 (subword regularization); Kudo & Richardson 2018 (SentencePiece). Cost: O(n L), L the longest token.
#include "backends/tokenizers/charsmap.h"
#include "backends/tokenizers/sentencepiece_pieces.h"
#include "backends/tokenizers/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>

namespace quantfleet {
namespace {

constexpr float kUnknownPenalty = 10;  // below the smallest score

class Unigram final : public Tokenizer {
 public:
  Unigram(Vocabulary given, Charsmap charsmap) : Tokenizer(std::move(given)), charsmap_(std::move(charsmap)), index_(vocabulary_.tokens.size()) {
    add_bos_ = vocabulary_.add_bos.value_or(false);
    add_eos_ = vocabulary_.add_eos.value_or(true);
    add_space_prefix_ = vocabulary_.add_space_prefix.value_or(true);
    float lowest = std::numeric_limits<float>::max();
    int bytes = 0;
    TextList pieces;
    pieces.reserve(vocabulary_.tokens.size(), vocabulary_.tokens.size_bytes());
    for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id) {
      const std::string_view text = vocabulary_.tokens[id];
      pieces.push_back(sentencepiece_text(vocabulary_, id));
      const TokenType type = vocabulary_.types[id];
      if (type == TokenType::kByte && pieces[id].size() == 1) {
        std::int32_t& byte_id = byte_id_[static_cast<unsigned char>(pieces[id][0])];
        bytes += byte_id < 0;
        byte_id = static_cast<std::int32_t>(id);
      }
      if ((type != TokenType::kNormal && type != TokenType::kUserDefined) || text.empty()) continue;
      if (type == TokenType::kNormal) lowest = std::min(lowest, vocabulary_.scores[id]);
      if (id_of(text) < 0) index_.put(vocabulary_.tokens, id);
      longest_ = std::max(longest_, text.size());
    }
    has_bytes_ = bytes == 256;
    unknown_score_ = (lowest == std::numeric_limits<float>::max() ? 0 : lowest) - kUnknownPenalty;
    set_pieces(std::move(pieces));
  }

 protected:
  void encode_plain(std::string_view text, bool, std::vector<std::int32_t>& ids) const override {
    const std::string normal = normalize(text);
    if (normal.empty()) return;
    // The best cut of the first `end` bytes: its last token begins at `begin`.
    struct Best {
      double score = -std::numeric_limits<double>::infinity();
      std::size_t begin = 0;
      std::int32_t id = -1;  // -1: unknown
    };
    std::vector<Best> best(normal.size() + 1);
    best[0].score = 0;
    for (std::size_t begin = 0; begin < normal.size();) {
      const std::size_t next = begin + code_point_bytes(normal, begin);
      bool covered = false;
      const std::size_t longest = std::min(normal.size(), begin + longest_);
      for (std::size_t end = next; end <= longest; end += end < normal.size() ? code_point_bytes(normal, end) : 1) {
        const std::int32_t id = id_of(std::string_view(normal).substr(begin, end - begin));
        if (id < 0) continue;
        covered = covered || end == next;
        const bool user = vocabulary_.types[static_cast<std::size_t>(id)] == TokenType::kUserDefined;
        const double score = best[begin].score + (user ? 0.0 : static_cast<double>(vocabulary_.scores[static_cast<std::size_t>(id)]));
        if (score > best[end].score) best[end] = {score, begin, id};
      }
      if (!covered && best[begin].score + unknown_score_ > best[next].score) best[next] = {best[begin].score + unknown_score_, begin, -1};
      begin = next;
    }
    std::vector<std::pair<std::size_t, std::size_t>> cuts;  // backwards: begin and end
    for (std::size_t end = normal.size(); end > 0; end = best[end].begin) cuts.emplace_back(best[end].begin, end);
    bool after_unknown = false;
    for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
      const std::int32_t id = best[cut->second].id;
      if (id >= 0) ids.push_back(id);
      else if (has_bytes_)
        for (std::size_t i = cut->first; i < cut->second; ++i) ids.push_back(byte_id_[static_cast<unsigned char>(normal[i])]);
      else if (!after_unknown && vocabulary_.unknown) ids.push_back(*vocabulary_.unknown);  // a run of them is one
      after_unknown = id < 0;
    }
  }

 private:
  std::int32_t id_of(std::string_view text) const { return index_.find(vocabulary_.tokens, text); }  // -1: no token

  static std::size_t code_point_bytes(std::string_view text, std::size_t at) {
    return std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
  }

  std::string normalize(std::string_view text) const {
    const std::string mapped = charsmap_.apply(text);
    std::string normal(add_space_prefix_ ? kSentencePieceSpace : "");
    const std::size_t prefix = normal.size();
    bool space = true;  // at the beginning: leading spaces go
    for (const char c : mapped) {
      if (c == ' ') {
        if (vocabulary_.removes_extra_spaces && space) continue;
        normal += kSentencePieceSpace;
      } else {
        normal += c;
      }
      space = c == ' ';
    }
    if (vocabulary_.removes_extra_spaces)
      while (normal.size() > prefix && normal.ends_with(kSentencePieceSpace)) normal.resize(normal.size() - kSentencePieceSpace.size());
    return normal.size() > prefix ? normal : "";
  }

  Charsmap charsmap_;
  bool add_space_prefix_ = true, has_bytes_ = false;
  double unknown_score_ = 0;
  std::size_t longest_ = 1;
  TextIndex index_;  // of the vocabulary's normal and user-defined tokens
  std::array<std::int32_t, 256> byte_id_ = [] { std::array<std::int32_t, 256> none; none.fill(-1); return none; }();
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_unigram(Vocabulary vocabulary) {
  auto charsmap = Charsmap::parse(vocabulary.charsmap);
  if (!charsmap) return charsmap.error();
  vocabulary.charsmap = {};
  return std::unique_ptr<Tokenizer>(std::make_unique<Unigram>(std::move(vocabulary), std::move(*charsmap)));
}

}  // namespace quantfleet
