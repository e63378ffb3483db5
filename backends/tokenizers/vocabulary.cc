#include "backends/tokenizers/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <unordered_set>

namespace quantfleet {
namespace {

// Token texts that end a turn or a text whatever type the file gives them.
constexpr std::array<std::string_view, 8> kEndTexts = {"<|eot_id|>",  "<|im_end|>",    "<|end|>",    "<end_of_turn>",
                                                       "<|endoftext|>", "<|eom_id|>", "<EOT>", "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"};

constexpr std::size_t kTextBytesMax = std::size_t{1} << 30;  // of a list

Result<TextList> read_texts(const GgufFile& file, std::string_view key) {
  const auto texts = file.get_strings(key);
  if (!texts) return texts.error();
  if (texts->size() > NumberIndex::kMaxNumbers)
    return Error{Code::kTooLarge, fmt::format("{} has {} entries; the limit is {}", key, texts->size(), NumberIndex::kMaxNumbers)};
  std::size_t size_bytes = 0;
  for (const std::string_view text : *texts) size_bytes += text.size();
  if (size_bytes > kTextBytesMax) return Error{Code::kTooLarge, fmt::format("{} has {} bytes; the limit is {}", key, size_bytes, kTextBytesMax)};
  TextList list;
  list.reserve(texts->size(), size_bytes);
  for (const std::string_view text : *texts) list.push_back(text);
  return list;
}

Result<std::optional<std::int32_t>> read_id(const GgufFile& file, std::string_view key, std::size_t count_tokens) {
  if (!file.find(key)) return std::optional<std::int32_t>();
  const auto value = file.get_int(key);
  if (!value) return value.error();
  if (*value == -1 || *value == std::numeric_limits<std::uint32_t>::max()) return std::optional<std::int32_t>();
  if (*value < 0 || static_cast<std::uint64_t>(*value) >= count_tokens)
    return Error{Code::kBadValue, fmt::format("{} is {}, but the vocabulary has {} tokens", key, *value, count_tokens)};
  return std::optional<std::int32_t>(static_cast<std::int32_t>(*value));
}

Result<std::optional<bool>> read_flag(const GgufFile& file, std::string_view key) {
  if (!file.find(key)) return std::optional<bool>();
  const auto value = file.bool_or(key, false);
  if (!value) return value.error();
  return std::optional<bool>(*value);
}

}  // namespace

Result<Vocabulary> read_vocabulary(const GgufFile& file) {
  Vocabulary vocabulary;
  auto model = file.get_string("tokenizer.ggml.model");
  if (!model) return model.error();
  vocabulary.model = *model;
  if (vocabulary.model != "llama" && vocabulary.model != "t5" && vocabulary.model != "gpt2")
    return Error{Code::kUnsupported, fmt::format("tokenizer.ggml.model is '{}'; this program has 'llama' (SentencePiece BPE), 't5' (SentencePiece "
                                                 "unigram) and 'gpt2' (byte-level BPE)", vocabulary.model)};
  auto pre = file.string_or("tokenizer.ggml.pre", "default");
  if (!pre) return pre.error();
  vocabulary.pre = *pre;
  if (auto name = file.string_or("general.name", ""); name) vocabulary.model_name = *name;

  auto tokens = read_texts(file, "tokenizer.ggml.tokens");
  if (!tokens) return tokens.error();
  vocabulary.tokens = std::move(*tokens);
  const std::size_t count = vocabulary.tokens.size();
  if (count == 0) return Error{Code::kBadShape, "tokenizer.ggml.tokens is empty"};

  vocabulary.types.assign(count, TokenType::kNormal);
  if (file.find("tokenizer.ggml.token_type")) {
    auto types = file.get_ints("tokenizer.ggml.token_type");
    if (!types) return types.error();
    if (types->size() != count)
      return Error{Code::kBadShape, fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens", types->size(), count)};
    for (std::size_t id = 0; id < count; ++id) {
      const std::int64_t type = (*types)[id];
      // 0 means undefined in old files; treated as a normal token.
      if (type < 0 || type > 6)
        return Error{Code::kBadValue, fmt::format("tokenizer.ggml.token_type[{}] is {}; 1 to 6 are known", id, type)};
      if (type != 0) vocabulary.types[id] = static_cast<TokenType>(type);
    }
  }
  if (vocabulary.model != "gpt2") {
    auto scores = file.get_floats("tokenizer.ggml.scores");
    if (!scores) return scores.error();
    if (scores->size() != count)
      return Error{Code::kBadShape, fmt::format("tokenizer.ggml.scores has {} entries for {} tokens", scores->size(), count)};
    for (std::size_t id = 0; id < count; ++id)
      if (!((*scores)[id] - (*scores)[id] == 0.0f))
        return Error{Code::kNonFinite, fmt::format("tokenizer.ggml.scores[{}] is not a finite number", id)};
    vocabulary.scores = std::move(*scores);
  } else {
    auto merges = read_texts(file, "tokenizer.ggml.merges");
    if (!merges) return merges.error();
    vocabulary.merges = std::move(*merges);
  }

  const auto read_into = [&](std::optional<std::int32_t>& id, std::string_view key) -> Status {
    auto value = read_id(file, key, count);
    if (!value) return value.error();
    if (*value) id = *value;
    return {};
  };
  const auto flag_into = [&](std::optional<bool>& flag, std::string_view key) -> Status {
    auto value = read_flag(file, key);
    if (!value) return value.error();
    flag = *value;
    return {};
  };
  const auto known = [&](std::int32_t id) { return static_cast<std::size_t>(id) < count ? std::optional(id) : std::nullopt; };
  // Ids that the tokenizer kind implies where the file is silent.
  if (vocabulary.model == "llama") {
    vocabulary.bos = known(1);
    vocabulary.eos = known(2);
    vocabulary.unknown = known(0);
  } else if (vocabulary.model == "t5") {
    vocabulary.eos = known(1);
    vocabulary.unknown = known(2);
  } else {
    vocabulary.bos = vocabulary.eos = known(11);
  }
  if (auto s = read_into(vocabulary.bos, "tokenizer.ggml.bos_token_id"); !s) return s.error();
  if (auto s = read_into(vocabulary.eos, "tokenizer.ggml.eos_token_id"); !s) return s.error();
  if (auto s = read_into(vocabulary.eot, "tokenizer.ggml.eot_token_id"); !s) return s.error();
  if (auto s = read_into(vocabulary.eom, "tokenizer.ggml.eom_token_id"); !s) return s.error();
  if (auto s = read_into(vocabulary.unknown, "tokenizer.ggml.unknown_token_id"); !s) return s.error();
  if (auto s = flag_into(vocabulary.add_bos, "tokenizer.ggml.add_bos_token"); !s) return s.error();
  if (auto s = flag_into(vocabulary.add_eos, "tokenizer.ggml.add_eos_token"); !s) return s.error();
  if (auto s = flag_into(vocabulary.add_space_prefix, "tokenizer.ggml.add_space_prefix"); !s) return s.error();

  if (vocabulary.model == "t5") {
    const auto spaces = file.bool_or("tokenizer.ggml.remove_extra_whitespaces", false);
    if (!spaces) return spaces.error();
    vocabulary.removes_extra_spaces = *spaces;
    if (file.find("tokenizer.ggml.precompiled_charsmap")) {
      const auto bytes = file.get_ints("tokenizer.ggml.precompiled_charsmap");
      if (!bytes) return bytes.error();
      for (const std::int64_t byte : *bytes) vocabulary.charsmap += static_cast<char>(byte);
    }
  }

  const auto add_end = [&](std::optional<std::int32_t> id) {
    if (id && std::find(vocabulary.end_of_text.begin(), vocabulary.end_of_text.end(), *id) == vocabulary.end_of_text.end())
      vocabulary.end_of_text.push_back(*id);
  };
  add_end(vocabulary.eos);
  add_end(vocabulary.eot);
  add_end(vocabulary.eom);
  for (const std::string_view key : {"fim_pad", "fim_rep", "fim_sep"}) {
    std::optional<std::int32_t> id;
    if (auto s = read_into(id, fmt::format("tokenizer.ggml.{}_token_id", key)); !s) return s.error();
    add_end(id);
  }
  const std::unordered_set<std::string_view> end_texts(kEndTexts.begin(), kEndTexts.end());
  for (std::size_t id = 0; id < count; ++id)
    if (end_texts.count(vocabulary.tokens[id])) {
      vocabulary.types[id] = TokenType::kControl;
      add_end(static_cast<std::int32_t>(id));
    }
  return vocabulary;
}

}  // namespace quantfleet
