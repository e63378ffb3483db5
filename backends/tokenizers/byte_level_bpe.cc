// Byte-level BPE (Sennrich et al. 2016; GPT-2's byte alphabet): a pre-tokenizer cuts the text, each byte of a piece becomes a
// printable code point, and the adjacent pair of lowest rank is merged until none is in the list. Ranks are positions in
// tokenizer.ggml.merges. Cost: O(n log n) in the length of a piece.
#include "backends/tokenizers/pretokenize.h"
#include "backends/tokenizers/tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <queue>
#include <unordered_map>

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

    std::unordered_map<std::string, std::int32_t> id_of;
    id_of.reserve(vocabulary_.tokens.size());
    for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id)
      id_of.insert_or_assign(vocabulary_.tokens[id], static_cast<std::int32_t>(id));
    const auto symbol_of = [&](const std::string& text) {
      const auto [found, fresh] = symbol_index_.try_emplace(text, static_cast<std::int32_t>(symbols_.size()));
      if (fresh) {
        const auto id = id_of.find(text);
        symbols_.push_back({id == id_of.end() ? -1 : id->second, {}});
        if (id == id_of.end())  // not a token: spelled character by character, as far as those are tokens
          for (std::size_t at = 0; at < text.size();) {
            const std::size_t size = std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
            if (const auto part = id_of.find(text.substr(at, size)); size < text.size() && part != id_of.end())
              symbols_.back().spelling.push_back(part->second);
            at += size;
          }
      }
      return found->second;
    };
    for (int byte = 0; byte < 256; ++byte) byte_symbol_[byte] = symbol_of(alphabet[byte]);
    merges_.reserve(vocabulary_.merges.size());
    for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
      const std::string& merge = vocabulary_.merges[rank];
      const std::size_t space = merge.size() < 2 ? std::string::npos : merge.find(' ', 1);
      if (space == std::string::npos || space + 1 == merge.size())
        return Error{Code::kBadValue, fmt::format("tokenizer.ggml.merges[{}] is not two parts with a space between them", rank)};
      const std::int32_t left = symbol_of(merge.substr(0, space)), right = symbol_of(merge.substr(space + 1));
      const std::int32_t joined = symbol_of(merge.substr(0, space) + merge.substr(space + 1));
      merges_.try_emplace(key(left, right), Merge{static_cast<std::int32_t>(rank), joined});
    }
    vocabulary_.merges.clear();
    vocabulary_.merges.shrink_to_fit();

    std::vector<std::string> pieces(vocabulary_.tokens.size());
    for (std::size_t id = 0; id < pieces.size(); ++id) {
      const std::string& text = vocabulary_.tokens[id];
      const TokenType type = vocabulary_.types[id];
      if (type == TokenType::kUnused) continue;
      if (type != TokenType::kNormal) {
        pieces[id] = text;
        continue;
      }
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min(code_point_length(static_cast<unsigned char>(text[at])), text.size() - at);
        const auto found = byte_of.find(std::string_view(text).substr(at, size));
        if (found != byte_of.end()) pieces[id] += static_cast<char>(found->second);
        else pieces[id] += text.substr(at, size);
        at += size;
      }
    }
    if (pre_tokenizer_->ignores_merges)
      for (std::size_t id = 0; id < pieces.size(); ++id)
        if (vocabulary_.types[id] == TokenType::kNormal) whole_.insert_or_assign(pieces[id], static_cast<std::int32_t>(id));
    set_pieces(std::move(pieces));
    return {};
  }

 protected:
  void encode_plain(std::string_view text, bool, std::vector<std::int32_t>& ids) const override {
    const std::string valid = valid_utf8(text);
    Scratch scratch;
    for (const std::string_view piece : pre_tokenizer_->split(valid)) {
      if (pre_tokenizer_->ignores_merges) {
        if (const auto found = whole_.find(std::string(piece)); found != whole_.end()) {
          ids.push_back(found->second);
          continue;
        }
      }
      merge(piece, scratch, ids);
    }
  }

 private:
  struct SymbolInfo {
    std::int32_t id;                     // token, or -1
    std::vector<std::int32_t> spelling;  // tokens that stand for it where it is none
  };
  struct Merge {
    std::int32_t rank, joined;
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

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
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
      const auto found = merges_.find(key(nodes[left].symbol, nodes[right].symbol));
      if (found != merges_.end())
        queue.push({found->second.rank, left, right, nodes[left].symbol, nodes[right].symbol, found->second.joined});
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
      const SymbolInfo& symbol = symbols_[nodes[i].symbol];
      if (symbol.id >= 0) ids.push_back(symbol.id);
      else ids.insert(ids.end(), symbol.spelling.begin(), symbol.spelling.end());
    }
  }

  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unordered_map<std::string, std::int32_t> symbol_index_;
  std::vector<SymbolInfo> symbols_;
  std::array<std::int32_t, 256> byte_symbol_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::unordered_map<std::string, std::int32_t> whole_;  // bytes of a token -> id, where merges are ignored
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
