#include "backends/tokenizers/tokenizer.h"

#include "backends/formats/lora.h"

#include <algorithm>
#include <bitset>
#include <cctype>

namespace quantfleet {
namespace {

bool contains_ignoring_case(std::string_view text, std::string_view lower_case_part) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  return std::search(text.begin(), text.end(), lower_case_part.begin(), lower_case_part.end(), same) != text.end();
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::create(Vocabulary vocabulary) {
  if (vocabulary.model == "llama") return std::shared_ptr<const Tokenizer>(make_sentencepiece_bpe(std::move(vocabulary)));
  auto tokenizer = vocabulary.model == "t5" ? make_unigram(std::move(vocabulary)) : make_byte_level_bpe(std::move(vocabulary));
  if (!tokenizer) return tokenizer.error();
  return std::shared_ptr<const Tokenizer>(std::move(*tokenizer));
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufFile& file) {
  if (const Status model = check_is_model(file); !model) return model.error();
  auto vocabulary = read_vocabulary(file);
  if (!vocabulary) return vocabulary.error();
  return create(std::move(*vocabulary));
}

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  // Phi-3's tokens swallow the white space behind them, a few excepted.
  const bool phi3 = contains_ignoring_case(vocabulary_.model_name, "phi-3") || contains_ignoring_case(vocabulary_.model_name, "phi3");
  for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id) {
    const TokenType type = vocabulary_.types[id];
    const std::string_view text = vocabulary_.tokens[id];
    if (text.empty()) continue;
    if (type != TokenType::kControl && type != TokenType::kUserDefined && type != TokenType::kUnknown) continue;
    const bool strip = phi3 && text != "<unk>" && text != "<s>" && text != "<|endoftext|>";
    specials_.push_back({static_cast<std::int32_t>(id), type != TokenType::kUserDefined, strip});
  }
  std::stable_sort(specials_.begin(), specials_.end(), [&](const Special& a, const Special& b) {
    return vocabulary_.tokens[a.id].size() > vocabulary_.tokens[b.id].size();
  });
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special) const {
  // A stretch of the text: plain (id -1), or one special token.
  struct Stretch {
    std::string_view text;
    std::int32_t id;
  };
  std::vector<Stretch> stretches;
  if (!text.empty()) stretches.push_back({text, -1});
  // Which pairs of neighbouring bytes occur at all: most special tokens are ruled out by their first two bytes.
  auto pairs = std::make_unique<std::bitset<65536>>();
  const auto pair_at = [](std::string_view s, std::size_t i) {
    return static_cast<unsigned char>(s[i]) * 256u + static_cast<unsigned char>(s[i + 1]);
  };
  for (std::size_t i = 0; i + 1 < text.size(); ++i) pairs->set(pair_at(text, i));
  for (const Special& special : specials_) {
    if (special.only_when_parsing && !parse_special) continue;
    const std::string_view token = piece(special.id);
    if (token.size() > text.size() || (token.size() > 1 && !pairs->test(pair_at(token, 0)))) continue;
    if (text.find(token) == std::string_view::npos) continue;
    std::vector<Stretch> split;
    for (const Stretch& stretch : stretches) {
      if (stretch.id >= 0) {
        split.push_back(stretch);
        continue;
      }
      std::string_view rest = stretch.text;
      for (std::size_t at; (at = rest.find(token)) != std::string_view::npos;) {
        if (at > 0) split.push_back({rest.substr(0, at), -1});
        split.push_back({rest.substr(at, token.size()), special.id});
        rest.remove_prefix(at + token.size());
        if (special.strip_right)
          while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front()))) rest.remove_prefix(1);
      }
      if (!rest.empty()) split.push_back({rest, -1});
    }
    stretches = std::move(split);
  }

  std::vector<std::int32_t> ids;
  if (add_special && add_bos_ && vocabulary_.bos) ids.push_back(*vocabulary_.bos);
  bool follows_special = true;
  for (const Stretch& stretch : stretches) {
    if (stretch.id >= 0) {
      ids.push_back(stretch.id);
    } else {
      encode_plain(stretch.text, follows_special, ids);
    }
    follows_special = stretch.id >= 0;
  }
  if (add_special && add_eos_ && vocabulary_.eos) ids.push_back(*vocabulary_.eos);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool special) const {
  std::string bytes;
  for (const std::int32_t id : ids)
    if (special || !is_control(id)) bytes += piece(id);
  return bytes;
}

std::string_view Tokenizer::piece(std::int32_t id) const {
  return id >= 0 && id < size() ? pieces_[static_cast<std::size_t>(id)] : std::string_view();
}

bool Tokenizer::is_control(std::int32_t id) const {
  if (id < 0 || id >= size()) return false;
  const TokenType type = vocabulary_.types[static_cast<std::size_t>(id)];
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

bool Tokenizer::is_end_of_text(std::int32_t id) const {
  return std::find(vocabulary_.end_of_text.begin(), vocabulary_.end_of_text.end(), id) != vocabulary_.end_of_text.end();
}

std::string Utf8Stream::push(std::string_view bytes) {
  waiting_ += bytes;
  // The last code point is incomplete when a lead byte among the last three bytes asks for more than follows it.
  std::size_t keep = 0;
  for (std::size_t back = 1; back <= 3 && back <= waiting_.size(); ++back) {
    const auto byte = static_cast<unsigned char>(waiting_[waiting_.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const std::size_t length = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc0 && byte < 0xe0 ? 2 : 1;
    if (length > back) keep = back;
    break;
  }
  std::string out = waiting_.substr(0, waiting_.size() - keep);
  waiting_.erase(0, waiting_.size() - keep);
  return out;
}

std::string Utf8Stream::finish() { return std::exchange(waiting_, std::string()); }

}  // namespace quantfleet
