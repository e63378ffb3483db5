#include "models/reference/corpus/tokenizer.h"

#include <algorithm>
#include <map>

namespace quantfleet::reference {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_other(char c) { return !is_digit(c) && !is_letter(c) && !is_space(c); }

// Length of the piece at the start of `gap`, a stretch without digits.
std::size_t piece_length(std::string_view gap) {
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (gap.starts_with(contraction)) return contraction.size();
  const std::size_t start = gap[0] == ' ' && gap.size() > 1 ? 1 : 0;
  for (const auto in_class : {is_letter, is_other}) {
    std::size_t end = start;
    while (end < gap.size() && in_class(gap[end])) ++end;
    if (end > start) return end;
  }
  std::size_t end = 0;
  while (end < gap.size() && is_space(gap[end])) ++end;
  // \s+(?!\S): the last white space before a word is left to the word, unless it is all there is.
  return end < gap.size() && end > 1 ? end - 1 : end;
}

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

// GPT-2's table: printable Latin-1 stands for itself, every other byte for a code point from 256 on.
std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const unsigned byte = static_cast<unsigned char>(c);
    const auto stands_for_itself = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
    unsigned code = byte;
    if (!stands_for_itself(byte)) {
      code = 256;
      for (unsigned b = 0; b < byte; ++b) code += !stands_for_itself(b);
    }
    if (code < 128) {
      text += static_cast<char>(code);
    } else {
      text += static_cast<char>(0xC0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 63));
    }
  }
  return text;
}

}  // namespace

std::vector<std::string_view> pre_tokenize(std::string_view text) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    if (is_digit(text[0])) {
      pieces.push_back(text.substr(0, 1));
      text.remove_prefix(1);
      continue;
    }
    std::size_t gap_size = 0;
    while (gap_size < text.size() && !is_digit(text[gap_size])) ++gap_size;
    std::string_view gap = text.substr(0, gap_size);
    text.remove_prefix(gap_size);
    while (!gap.empty()) {
      const std::size_t length = piece_length(gap);
      pieces.push_back(gap.substr(0, length));
      gap.remove_prefix(length);
    }
  }
  return pieces;
}

Tokenizer Tokenizer::train(std::span<const std::string> documents, int vocabulary_tokens) {
  Tokenizer tokenizer;
  for (int b = 0; b < 256; ++b) tokenizer.bytes_.push_back(std::string(1, static_cast<char>(b)));

  std::map<std::string, std::int64_t, std::less<>> counts;
  for (const std::string& document : documents)
    for (const std::string_view piece : pre_tokenize(document)) {
      const auto found = counts.find(piece);
      if (found == counts.end()) counts.emplace(std::string(piece), 1);
      else ++found->second;
    }
  struct Word {
    std::vector<std::int32_t> tokens;
    std::int64_t count;
  };
  std::vector<Word> words;
  for (const auto& [piece, count] : counts) {
    Word word{{}, count};
    for (const char c : piece) word.tokens.push_back(static_cast<unsigned char>(c));
    if (word.tokens.size() > 1) words.push_back(std::move(word));
  }

  while (tokenizer.vocabulary_tokens() < vocabulary_tokens) {
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> pairs;  // ordered: ties go to the lowest ids
    for (const Word& word : words)
      for (std::size_t i = 0; i + 1 < word.tokens.size(); ++i) pairs[{word.tokens[i], word.tokens[i + 1]}] += word.count;
    auto best = pairs.end();
    for (auto pair = pairs.begin(); pair != pairs.end(); ++pair)
      if (best == pairs.end() || pair->second > best->second) best = pair;
    if (best == pairs.end() || best->second < 2) break;
    const auto [left, right] = best->first;
    const auto merged = static_cast<std::int32_t>(tokenizer.bytes_.size());
    tokenizer.bytes_.push_back(tokenizer.bytes_[static_cast<std::size_t>(left)] + tokenizer.bytes_[static_cast<std::size_t>(right)]);
    tokenizer.merges_.push_back(best->first);
    tokenizer.merge_of_pair_[key_of(left, right)] = merged;
    for (Word& word : words) {
      std::size_t kept = 0;
      for (std::size_t i = 0; i < word.tokens.size(); ++kept) {
        const bool merge = i + 1 < word.tokens.size() && word.tokens[i] == left && word.tokens[i + 1] == right;
        word.tokens[kept] = merge ? merged : word.tokens[i];
        i += merge ? 2 : 1;
      }
      word.tokens.resize(kept);
    }
  }
  return tokenizer;
}

void Tokenizer::encode_piece(std::string_view piece, std::vector<std::int32_t>& out) const {
  const std::size_t begin = out.size();
  for (const char c : piece) out.push_back(static_cast<unsigned char>(c));
  while (true) {
    std::size_t where = out.size();
    std::int32_t merged = -1;
    for (std::size_t i = begin; i + 1 < out.size(); ++i) {
      const auto found = merge_of_pair_.find(key_of(out[i], out[i + 1]));
      if (found != merge_of_pair_.end() && (merged < 0 || found->second < merged)) {
        merged = found->second;
        where = i;
      }
    }
    if (merged < 0) return;
    out[where] = merged;
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  for (const std::string_view piece : pre_tokenize(text)) encode_piece(piece, tokens);
  return tokens;
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens)
    text += token == end_of_text() ? std::string(kEndOfText) : bytes_.at(static_cast<std::size_t>(token));
  return text;
}

std::vector<std::string> Tokenizer::gguf_tokens() const {
  std::vector<std::string> tokens;
  for (const std::string& bytes : bytes_) tokens.push_back(printable(bytes));
  tokens.push_back(kEndOfText);
  return tokens;
}

std::vector<std::string> Tokenizer::gguf_merges() const {
  std::vector<std::string> merges;
  for (const auto& [left, right] : merges_)
    merges.push_back(printable(bytes_[static_cast<std::size_t>(left)]) + " " + printable(bytes_[static_cast<std::size_t>(right)]));
  return merges;
}

std::vector<std::int32_t> Tokenizer::gguf_token_types() const {
  std::vector<std::int32_t> types(bytes_.size(), 1);
  types.push_back(3);
  return types;
}

}  // namespace quantfleet::reference
