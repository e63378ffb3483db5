// tokenizer.json of a GGUF model. SentencePiece's scores become merges: every division of a token into two tokens, better
// scores first, so that the ranks order pairs as the scores did.
#include "backends/huggingface/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kMetaspace = "\xe2\x96\x81";  // U+2581
enum TokenType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// A key of the wrong type counts as absent here: the tokenizer itself refuses it.
template <class T>
T value_or(const Result<T>& value, T fallback) {
  return value ? *value : fallback;
}

struct Source {
  std::vector<std::string> tokens;
  std::vector<std::int64_t> types;
  std::unordered_map<std::string_view, std::int64_t> id_of;  // of normal and byte tokens
};

Json split_by(std::string_view expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", std::string(expression)}}}, {"behavior", "Isolated"}, {"invert", false}};
}
Json byte_level(bool use_regex) { return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}}; }

// The pre-tokenizer's steps; null where this program has none of that name.
Json pre_tokenizer_of(std::string_view pre) {
  const auto sequence = [](Json steps) { return Json{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}; };
  if (pre == "gpt-2") return byte_level(true);
  if (pre == "smollm") return sequence({Json{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)});
  if (pre == "falcon") {
    Json three = split_by("[0-9][0-9][0-9]");
    return sequence({Json{{"type", "Punctuation"}, {"behavior", "Contiguous"}}, byte_level(true), Json{{"type", "Digits"}, {"individual_digits", false}}, three});
  }
  const std::string_view expression = split_expression(pre == "dbrx" ? "llama-bpe" : pre);
  if (expression.empty()) return nullptr;
  return sequence({split_by(expression), byte_level(false)});
}

Json merges_by_score(const Source& source, const std::vector<float>& scores) {
  std::vector<std::int64_t> order(source.tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)]; });
  Json merges = Json::array();
  for (const std::int64_t id : order) {
    if (source.types[static_cast<std::size_t>(id)] != kNormal) continue;
    const std::string_view text = source.tokens[static_cast<std::size_t>(id)];
    std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
    for (std::size_t at = 1; at < text.size(); ++at) {
      const auto left = source.id_of.find(text.substr(0, at)), right = source.id_of.find(text.substr(at));
      if (left != source.id_of.end() && right != source.id_of.end()) pairs.emplace_back(left->second, right->second);
    }
    std::sort(pairs.begin(), pairs.end());
    for (const auto& [left, right] : pairs)
      merges.push_back({source.tokens[static_cast<std::size_t>(left)], source.tokens[static_cast<std::size_t>(right)]});
  }
  return merges;
}

}  // namespace

Result<TokenizerFiles> make_tokenizer(const GgufFile& model) {
  const std::string place = model.path().string();
  const auto kind = model.get_string("tokenizer.ggml.model");
  if (!kind) return kind.error();
  auto tokens = model.get_strings("tokenizer.ggml.tokens");
  if (!tokens) return tokens.error();
  Source source;
  source.tokens.assign(tokens->begin(), tokens->end());
  source.types.assign(source.tokens.size(), kNormal);
  if (model.find("tokenizer.ggml.token_type")) {
    auto types = model.get_ints("tokenizer.ggml.token_type");
    if (!types) return types.error();
    if (types->size() != source.tokens.size()) return Error{Code::kBadShape, fmt::format("{}: {} token types for {} tokens", place, types->size(), source.tokens.size())};
    source.types = std::move(*types);
  }
  const bool sentencepiece = *kind == "llama";
  const std::string pre = value_or(model.string_or("tokenizer.ggml.pre", ""), std::string());
  const auto bos = value_or(model.int_or("tokenizer.ggml.bos_token_id", -1), std::int64_t{-1}), eos = value_or(model.int_or("tokenizer.ggml.eos_token_id", -1), std::int64_t{-1});
  const auto unknown = value_or(model.int_or("tokenizer.ggml.unknown_token_id", -1), std::int64_t{-1});
  const auto has = [&](std::int64_t id) { return id >= 0 && id < static_cast<std::int64_t>(source.tokens.size()); };
  const bool add_bos = value_or(model.bool_or("tokenizer.ggml.add_bos_token", sentencepiece || pre == "llama-bpe" || pre == "tekken"), false) && has(bos);
  const bool add_eos = value_or(model.bool_or("tokenizer.ggml.add_eos_token", false), false) && has(eos);

  Json vocab = Json::object(), added = Json::array();
  for (std::size_t id = 0; id < source.tokens.size(); ++id) {
    const std::string& text = source.tokens[id];
    const std::int64_t type = source.types[id];
    if (type == kUnused) continue;
    if (type == kControl || type == kUserDefined || type == kUnknown)
      added.push_back({{"id", id}, {"content", text}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", type != kUserDefined}});
    if (vocab.contains(text)) {
      if (type == kNormal || type == kByte)
        return Error{Code::kUnsupported, fmt::format("{}: tokens {} and {} have one text, which tokenizer.json cannot say", place, vocab[text].get<std::size_t>(), id)};
      continue;
    }
    vocab[text] = id;
    if (type == kNormal || type == kByte) source.id_of.emplace(text, static_cast<std::int64_t>(id));
  }

  Json bpe = {{"type", "BPE"},       {"dropout", nullptr}, {"unk_token", nullptr},         {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr}, {"fuse_unk", sentencepiece}, {"byte_fallback", sentencepiece}, {"ignore_merges", pre == "llama-bpe" || pre == "tekken"}};
  if (has(unknown)) bpe["unk_token"] = source.tokens[static_cast<std::size_t>(unknown)];
  TokenizerFiles files;
  files.tokenizer = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}, {"normalizer", nullptr}, {"pre_tokenizer", nullptr}, {"post_processor", nullptr}};
  if (sentencepiece) {
    auto scores = model.get_floats("tokenizer.ggml.scores");
    if (!scores) return scores.error();
    if (scores->size() != source.tokens.size()) return Error{Code::kBadShape, fmt::format("{}: {} scores for {} tokens", place, scores->size(), source.tokens.size())};
    bpe["merges"] = merges_by_score(source, *scores);
    const bool prefix = value_or(model.bool_or("tokenizer.ggml.add_space_prefix", true), true);
    Json steps = Json::array(), decoders = Json::array();
    if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", std::string(kMetaspace)}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", std::string(kMetaspace)}});
    decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", std::string(kMetaspace)}}}, {"content", " "}});
    decoders.push_back({{"type", "ByteFallback"}});
    decoders.push_back({{"type", "Fuse"}});
    if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    files.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    files.tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  } else if (*kind == "gpt2") {
    Json steps = pre_tokenizer_of(pre);
    if (steps.is_null()) return Error{Code::kUnsupported, fmt::format("{}: the pre-tokenizer '{}' has no tokenizer.json in this program", place, pre)};
    auto merges = model.get_strings("tokenizer.ggml.merges");
    if (!merges) return merges.error();
    Json pairs = Json::array();
    for (const std::string_view merge : *merges) {
      const std::size_t space = merge.find(' ', 1);
      if (space == std::string_view::npos) return Error{Code::kBadValue, fmt::format("{}: the merge '{}' has no two parts", place, merge)};
      pairs.push_back({merge.substr(0, space), merge.substr(space + 1)});
    }
    bpe["merges"] = std::move(pairs);
    files.tokenizer["pre_tokenizer"] = std::move(steps);
    files.tokenizer["decoder"] = byte_level(true);
  } else {
    return Error{Code::kUnsupported, fmt::format("{}: the tokenizer '{}' has no tokenizer.json in this program", place, *kind)};
  }
  bpe["vocab"] = std::move(vocab);
  files.tokenizer["model"] = std::move(bpe);

  const auto text_of_id = [&](std::int64_t id) { return has(id) ? Json(source.tokens[static_cast<std::size_t>(id)]) : Json(nullptr); };
  if (add_bos || add_eos) {
    Json single = Json::array(), specials = Json::object();
    const auto special = [&](std::int64_t id) {
      const std::string text = source.tokens[static_cast<std::size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
      specials[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    };
    if (add_bos) special(bos);
    single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (add_eos) special(eos);
    Json pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    files.tokenizer["post_processor"] = {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
  }
  files.config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", text_of_id(bos)}, {"eos_token", text_of_id(eos)}, {"add_bos_token", add_bos}, {"add_eos_token", add_eos}};
  if (has(unknown)) files.config["unk_token"] = text_of_id(unknown);
  const auto chat = model.string_or("tokenizer.chat_template", "");
  if (chat && !chat->empty()) files.config["chat_template"] = *chat;
  return files;
}

}  // namespace quantfleet::huggingface
