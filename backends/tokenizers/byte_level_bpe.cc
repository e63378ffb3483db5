// Byte-level BPE (Sennrich et al. 2016; GPT-2's byte alphabet): a pre-tokenizer cuts the text, each byte of a piece becomes a
// printable code point, and the adjacent pair of lowest rank is merged until none is in the list. Ranks are positions in
// tokenizer.ggml.merges. Cost: O(n log n) in the length of a piece.
#include "backends/tokenizers/pretokenize.h"
#include "backends/tokenizers/tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <queue>
#include <unordered_map>
#include <utility>

namespace quantfleet {
namespace {

std::string utf8(std::uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xc0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3f))};  // below U+0800 here
}

// Bytes that are printable as they are stand for themselves, the other 68 for U+0100 upwards.
std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> alphabet;
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    alphabet[byte] = utf8(itself ? byte : next++);
  }
  return alphabet;
}

std::size_t code_point_length(unsigned char first) { return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1; }

// Bytes that do not belong to a code point become U+FFFD each; overlong forms are read as the code point they spell.
std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    if (first < 0x80) {
      out += text[at++];
      continue;
    }
    const std::size_t length = first < 0xc0 || first >= 0xf8 ? 0 : code_point_length(first);
    bool whole = length > 0 && at + length <= text.size();
    std::uint32_t code_point = length == 2 ? first & 0x1fu : length == 3 ? first & 0x0fu : first & 0x07u;
    for (std::size_t i = 1; whole && i < length; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      whole = (byte & 0xc0) == 0x80;
      code_point = code_point << 6 | (byte & 0x3fu);
    }
    if (!whole) {
      out += "\xef\xbf\xbd";
      ++at;
      continue;
    }
    if (code_point < 0x80) {
      out += static_cast<char>(code_point);
    } else if (code_point < 0x800) {
      out += utf8(code_point);
    } else if (code_point < 0x10000) {
      out += {static_cast<char>(0xe0 | code_point >> 12), static_cast<char>(0x80 | (code_point >> 6 & 0x3f)),
              static_cast<char>(0x80 | (code_point & 0x3f))};
    } else {
      out += text.substr(at, length);
    }
    at += length;
  }
  return out;
}

class ByteLevelBpe final : public Tokenizer {
 public:
  ByteLevelBpe(Vocabulary given, std::unique_ptr<PreTokenizer> pre_tokenizer)
      : Tokenizer(std::move(given)), pre_tokenizer_(std::move(pre_tokenizer)) {
    add_bos_ = vocabulary_.add_bos.value_or(pre_tokenizer_->adds_bos);
    add_eos_ = vocabulary_.add_eos.value_or(false);
  }

  Status build() {
    const auto alphabet = byte_alphabet();
    std::unordered_map<std::string_view, unsigned char> byte_of;
    for (int byte = 0; byte < 256; ++byte) byte_of.emplace(alphabet[byte], static_cast<unsigned char>(byte));

    const TextList tokens = std::exchange(vocabulary_.tokens, {}), merges = std::exchange(vocabulary_.merges, {});
    count_tokens_ = static_cast<std::int32_t>(tokens.size());
    TextIndex index(tokens.size());
    for (std::size_t id = 0; id < tokens.size(); ++id) index.put(tokens, id);
    std::unordered_map<std::string, std::int32_t> others;  // texts that merges make and that are no tokens: few, mostly none
    const auto symbol_of = [&](std::string_view text) {
      if (const std::int32_t id = index.find(tokens, text); id >= 0) return id;
      const auto [found, fresh] = others.try_emplace(std::string(text), count_tokens_ + static_cast<std::int32_t>(spellings_.size()));
      if (!fresh) return found->second;
      std::vector<std::int32_t>& spelling = spellings_.emplace_back();
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
        if (const std::int32_t part = index.find(tokens, text.substr(at, size)); size < text.size() && part >= 0) spelling.push_back(part);
        at += size;
      }
      return found->second;
    };
    for (int byte = 0; byte < 256; ++byte) byte_symbol_[byte] = symbol_of(alphabet[byte]);
    merges_.reserve(merges.size());
    merge_index_ = NumberIndex(merges.size());
    std::string both;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view merge = merges[rank];
      const std::size_t space = merge.size() < 2 ? std::string_view::npos : merge.find(' ', 1);
      if (space == std::string_view::npos || space + 1 == merge.size())
        return Error{Code::kBadValue, fmt::format("tokenizer.ggml.merges[{}] is not two parts with a space between them", rank)};
      const std::string_view before = merge.substr(0, space), behind = merge.substr(space + 1);
      const std::int32_t left = symbol_of(before), right = symbol_of(behind);
      if (rank_of(left, right) >= 0) continue;  // the better rank counts
      both.assign(before).append(behind);
      merges_.push_back({left, right, symbol_of(both)});
      merge_index_.put(pair_hash(left, right), static_cast<std::uint32_t>(merges_.size() - 1), [](std::uint32_t) { return false; });
    }

    TextList pieces;
    pieces.reserve(tokens.size(), tokens.size_bytes());
    std::string piece;
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      const std::string_view text = tokens[id];
      const TokenType type = vocabulary_.types[id];
      piece.clear();
      if (type != TokenType::kNormal && type != TokenType::kUnused) piece = text;
      for (std::size_t at = 0; type == TokenType::kNormal && at < text.size();) {
        const std::size_t size = std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
        const auto found = byte_of.find(text.substr(at, size));
        if (found != byte_of.end()) piece += static_cast<char>(found->second);
        else piece += text.substr(at, size);
        at += size;
      }
      pieces.push_back(piece);
    }
    set_pieces(std::move(pieces));
    if (pre_tokenizer_->ignores_merges) {
      whole_ = TextIndex(tokens.size());
      for (std::size_t id = 0; id < tokens.size(); ++id)
        if (vocabulary_.types[id] == TokenType::kNormal) whole_.put(this->pieces(), id);
    }
    return {};
  }

 protected:
  void encode_plain(std::string_view text, bool, std::vector<std::int32_t>& ids) const override {
    const std::string valid = valid_utf8(text);
    Scratch scratch;
    for (const std::string_view piece : pre_tokenizer_->split(valid)) {
      if (pre_tokenizer_->ignores_merges) {
        if (const std::int32_t id = whole_.find(pieces(), piece); id >= 0) {
          ids.push_back(id);
          continue;
        }
      }
      merge(piece, scratch, ids);
    }
  }

 private:
  // A symbol is a token's id, or, where a merge's text is no token, count_tokens_ and its place in spellings_.
  struct Merge {
    std::int32_t left, right, joined;  // symbols
  };
  struct Node {
    std::int32_t symbol;  // -1: merged into its left neighbour
    std::int32_t previous, next;
  };
  struct Candidate {
    std::int32_t rank, left, right, left_symbol, right_symbol, joined;
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  struct Scratch {
    std::vector<Node> nodes;
    std::priority_queue<Candidate> queue;
  };

  static std::uint64_t pair_hash(std::int32_t left, std::int32_t right) {
    const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
    const std::uint64_t product = pair * 0x9e3779b97f4a7c15ull;  // the upper bits depend on all of the pair
    return product ^ product >> 32;
  }

  // Place in merges_; -1: the pair is not merged.
  std::int32_t rank_of(std::int32_t left, std::int32_t right) const {
    return merge_index_.find(pair_hash(left, right), [&](std::uint32_t rank) { return merges_[rank].left == left && merges_[rank].right == right; });
  }

  void merge(std::string_view piece, Scratch& scratch, std::vector<std::int32_t>& ids) const {
    std::vector<Node>& nodes = scratch.nodes;
    std::priority_queue<Candidate>& queue = scratch.queue;
    nodes.clear();
    for (const char c : piece) {
      const auto index = static_cast<std::int32_t>(nodes.size());
      nodes.push_back({byte_symbol_[static_cast<unsigned char>(c)], index - 1, index + 1});
    }
    nodes.back().next = -1;
    const auto offer = [&](std::int32_t left, std::int32_t right) {
      if (left < 0 || right < 0) return;
      const std::int32_t rank = rank_of(nodes[left].symbol, nodes[right].symbol);
      if (rank >= 0) queue.push({rank, left, right, nodes[left].symbol, nodes[right].symbol, merges_[rank].joined});
    };
    for (std::size_t i = 1; i < nodes.size(); ++i) offer(static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Node& left = nodes[best.left];
      Node& right = nodes[best.right];
      if (left.symbol != best.left_symbol || right.symbol != best.right_symbol || left.next != best.right) continue;
      left.symbol = best.joined;
      right.symbol = -1;
      left.next = right.next;
      if (right.next >= 0) nodes[right.next].previous = best.left;
      offer(left.previous, best.left);
      offer(best.left, left.next);
    }
    for (std::int32_t i = 0; i >= 0; i = nodes[i].next) {
      const std::int32_t symbol = nodes[i].symbol;
      if (symbol < count_tokens_) {
        ids.push_back(symbol);
        continue;
      }
      const std::vector<std::int32_t>& spelling = spellings_[symbol - count_tokens_];
      ids.insert(ids.end(), spelling.begin(), spelling.end());
    }
  }

  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::int32_t count_tokens_ = 0;
  std::array<std::int32_t, 256> byte_symbol_{};
  std::vector<Merge> merges_;  // best first
  NumberIndex merge_index_;    // of merges_, by their pairs
  std::vector<std::vector<std::int32_t>> spellings_;  // tokens, character by character, as far as those are tokens
  TextIndex whole_;  // of the pieces of normal tokens, where merges are ignored
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_byte_level_bpe(Vocabulary vocabulary) {
  auto pre_tokenizer = PreTokenizer::create(vocabulary.pre);
  if (!pre_tokenizer) return pre_tokenizer.error();
  auto tokenizer = std::make_unique<ByteLevelBpe>(std::move(vocabulary), std::move(*pre_tokenizer));
  if (auto status = tokenizer->build(); !status) return status.error();
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

}  // namespace quantfleet
