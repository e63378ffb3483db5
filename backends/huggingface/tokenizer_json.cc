#include "backends/huggingface/tokenizer_json.h"

#include "backends/huggingface/sentencepiece_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

namespace quantfleet::huggingface {
namespace {

enum TokenType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// The expressions of Split steps, as published files spell them, and GGUF's name for the pre-tokenizer.
struct KnownSplit {
  std::string_view expression;
  std::string_view pre;
};
#define QF_WORDS R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)"
#define QF_REST R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr KnownSplit kKnownSplits[] = {
    {QF_WORDS R"(\p{N}{1,3})" QF_REST, "llama-bpe"},
    {QF_WORDS R"(\p{N})" QF_REST, "qwen2"},
    {R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "llama-bpe"},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "tekken"},
};
#undef QF_WORDS
#undef QF_REST

struct AddedToken {
  std::int64_t id = 0;
  std::string content;
  bool special = false;
};

// Of a Sequence its members, of anything else itself.
std::vector<const Json*> steps_of(const Json* step, const char* list) {
  if (!step || !step->is_object()) return {};
  if (text_of(*step, "type") == "Sequence" && step->contains(list) && (*step)[list].is_array()) {
    std::vector<const Json*> steps;
    for (const Json& one : (*step)[list])
      if (one.is_object()) steps.push_back(&one);
    return steps;
  }
  return {step};
}

bool from_base64(std::string_view text, std::string& bytes) {
  std::uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
    if (value < 0) return false;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return true;
}

// GGUF's keys of a SentencePiece unigram vocabulary.
void put_unigram(Metadata& metadata, const std::vector<std::string>& tokens, const std::vector<std::int32_t>& types, std::vector<float> scores, bool prefix, bool collapses,
                 const std::string& charsmap) {
  metadata.emplace_back("tokenizer.ggml.model", gguf_string("t5"));
  metadata.emplace_back("tokenizer.ggml.tokens", gguf_strings(tokens));
  metadata.emplace_back("tokenizer.ggml.token_type", gguf_int32s(types));
  metadata.emplace_back("tokenizer.ggml.scores", gguf_floats(std::move(scores)));
  metadata.emplace_back("tokenizer.ggml.add_space_prefix", gguf_bool(prefix));
  metadata.emplace_back("tokenizer.ggml.remove_extra_whitespaces", gguf_bool(collapses));
  if (charsmap.empty()) return;
  metadata.emplace_back("tokenizer.ggml.precompiled_charsmap", gguf_uint8s(charsmap));
}

// tokenizer.model, for folders without tokenizer.json. Tokens that the model's authors added are in added_tokens.json or in
// tokenizer_config.json.
Status read_sentencepiece(const ModelFolder& folder, const std::optional<Json>& options, std::int64_t count_tokens, Metadata& metadata, std::vector<std::string>& tokens,
                          SentencePieceModel& model) {
  const std::string place = folder.place("tokenizer.model");
  const auto bytes = folder.bytes("tokenizer.model");
  if (!bytes) return bytes.error();
  if (bytes->size() > kJsonMaxBytes) return Error{Code::kTooLarge, fmt::format("{}: {} bytes; at most {} are read", place, bytes->size(), kJsonMaxBytes)};
  auto parsed = parse_sentencepiece_model({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, place);
  if (!parsed) return parsed.error();
  model = std::move(*parsed);
  const auto bad = [&](Code code, std::string sentence) { return Error{code, fmt::format("{}: {}", place, sentence)}; };
  if (model.pieces.size() > static_cast<std::size_t>(count_tokens))
    return bad(Code::kBadShape, fmt::format("{} pieces do not fit the {} rows of the embedding", model.pieces.size(), count_tokens));
  const bool unigram = model.kind == SentencePieceModel::Kind::kUnigram;
  if (!unigram && model.kind != SentencePieceModel::Kind::kBpe) return bad(Code::kUnsupported, "is a model of words or characters; this program has unigram and BPE");
  if (!model.escapes_spaces || model.spaces_behind) return bad(Code::kUnsupported, "puts spaces behind words or leaves them alone, which this program lacks");
  if (!unigram && (!model.charsmap.empty() || model.removes_extra_spaces)) return bad(Code::kUnsupported, "is a BPE that normalizes its text, which this program lacks");
  std::vector<std::int32_t> types(static_cast<std::size_t>(count_tokens), kUnused);
  std::vector<float> scores(types.size(), unigram ? 0.0f : -10000.0f);
  for (std::size_t id = 0; id < types.size(); ++id) tokens.push_back(fmt::format("[PAD{}]", id));
  for (std::size_t id = 0; id < model.pieces.size(); ++id) {
    tokens[id] = model.pieces[id].text;
    scores[id] = model.pieces[id].score;
    types[id] = model.pieces[id].type;
  }
  const auto add = [&](std::int64_t id, const std::string& text, bool special) -> Status {
    if (id < 0 || id >= count_tokens || text.empty()) return bad(Code::kBadValue, fmt::format("the added token '{}' has the id {}", text.substr(0, 60), id));
    tokens[static_cast<std::size_t>(id)] = text;
    types[static_cast<std::size_t>(id)] = special ? kControl : kUserDefined;
    scores[static_cast<std::size_t>(id)] = -1000.0f;
    return {};
  };
  std::optional<Json> added;
  if (Status status = read_optional_json_file(folder, "added_tokens.json", added); !status) return status;
  if (added)
    for (const auto& [text, id] : added->items())
      if (Status status = add(id.is_number_integer() ? id.get<std::int64_t>() : -1, text, true); !status) return status;
  if (options && options->contains("added_tokens_decoder") && (*options)["added_tokens_decoder"].is_object())
    for (const auto& [number, one] : (*options)["added_tokens_decoder"].items()) {
      std::int64_t id = -1;
      std::from_chars(number.data(), number.data() + number.size(), id);
      if (id >= 0 && id < static_cast<std::int64_t>(model.pieces.size()) && one.is_object() && text_of(one, "content") == tokens[static_cast<std::size_t>(id)]) continue;
      if (Status status = add(id, one.is_object() ? text_of(one, "content") : "", one.is_object() && flag_of(one, "special", false)); !status) return status;
    }
  if (unigram) {
    put_unigram(metadata, tokens, types, std::move(scores), model.adds_space_prefix, model.removes_extra_spaces, model.charsmap);
  } else {
    metadata.emplace_back("tokenizer.ggml.model", gguf_string("llama"));
    metadata.emplace_back("tokenizer.ggml.tokens", gguf_strings(tokens));
    metadata.emplace_back("tokenizer.ggml.token_type", gguf_int32s(types));
    metadata.emplace_back("tokenizer.ggml.scores", gguf_floats(std::move(scores)));
    metadata.emplace_back("tokenizer.ggml.add_space_prefix", gguf_bool(model.adds_space_prefix));
  }
  return {};
}

class TokenizerReader {
 public:
  TokenizerReader(const Json& tokenizer, std::string place, std::int64_t count_tokens)
      : tokenizer_(tokenizer), place_(std::move(place)), count_tokens_(count_tokens) {}

  Status read(Metadata& metadata) {
    const auto model = tokenizer_.find("model");
    if (model == tokenizer_.end() || !model->is_object()) return bad(Code::kBadValue, "model is not an object");
    JsonReader reader(*model, place_ + ": model");
    const std::string type = reader.text("type", model->contains("merges") ? "BPE" : "");
    if (type == "Unigram") return read_unigram(*model, reader, metadata);
    if (type != "BPE")
      return bad(Code::kUnsupported, fmt::format("the tokenizer's model is '{}'; this program reads BPE and Unigram", type));
    for (const char* option : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!reader.text(option, "").empty()) return bad(Code::kUnsupported, fmt::format("model.{} is not empty", option));
    const bool byte_fallback = reader.flag("byte_fallback", false);
    const bool ignore_merges = reader.flag("ignore_merges", false);
    unknown_ = reader.text("unk_token", "");
    if (reader.error()) return *reader.error();
    if (Status status = read_tokens(*model); !status) return status;
    if (Status status = read_merges(*model); !status) return status;
    return byte_fallback ? put_sentencepiece(metadata) : put_byte_level(ignore_merges, metadata);
  }

  // BOS before and EOS behind, as the post-processor's template for one text says; nothing where it says nothing.
  void read_template(std::optional<bool>& add_bos, std::optional<bool>& add_eos) const {
    const auto found = tokenizer_.find("post_processor");
    if (found == tokenizer_.end()) return;
    for (const Json* step : steps_of(&*found, "processors")) {
      if (text_of(*step, "type") != "TemplateProcessing" || !step->contains("single") || !(*step)["single"].is_array()) continue;
      const Json& single = (*step)["single"];
      const auto special = [](const Json& one) { return one.is_object() && one.contains("SpecialToken"); };
      add_bos = !single.empty() && special(single.front());
      add_eos = single.size() > 1 && special(single.back());
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::string& unknown() const { return unknown_; }  // empty: none

 private:
  Error bad(Code code, std::string sentence) const { return {code, place_ + ": " + std::move(sentence)}; }

  Status read_tokens(const Json& model) {
    const auto vocab = model.find("vocab");
    if (vocab == model.end() || !vocab->is_object()) return bad(Code::kBadValue, "model.vocab is not an object");
    tokens_.assign(static_cast<std::size_t>(count_tokens_), "");
    types_.assign(tokens_.size(), kUnused);
    for (const auto& [text, id] : vocab->items()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= tokens_.size())
        return bad(Code::kBadShape, fmt::format("token id {} does not lie below the {} rows of the embedding", id.dump(), tokens_.size()));
      const auto place = id.get<std::size_t>();
      if (types_[place] != kUnused) return bad(Code::kBadValue, fmt::format("two tokens have the id {}", place));
      tokens_[place] = text;
      types_[place] = kNormal;
    }
    return read_added();
  }

  Status read_added() {
    const auto added = tokenizer_.find("added_tokens");
    if (added != tokenizer_.end() && added->is_array())
      for (const Json& one : *added) {
        if (!one.is_object()) return bad(Code::kBadValue, "added_tokens has something else than objects");
        JsonReader reader(one, place_ + ": added_tokens");
        const auto id = static_cast<std::size_t>(reader.integer("id", 0, count_tokens_ - 1));
        const std::string content = reader.text("content");
        const bool special = reader.flag("special", false);
        if (reader.error()) return *reader.error();
        tokens_[id] = content;
        types_[id] = special || looks_special(content) ? kControl : kUserDefined;
      }
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if (types_[id] == kUnused) tokens_[id] = fmt::format("[PAD{}]", id);
      if (!unknown_.empty() && tokens_[id] == unknown_) types_[id] = kUnknown;
    }
    return {};
  }

  // "<|im_start|>", "<s>", "<start_of_turn>"
  static bool looks_special(const std::string& text) {
    return text.size() > 2 && ((text.starts_with("<|") && text.ends_with("|>")) || text == "<s>" || text == "</s>" ||
                               text == "<start_of_turn>" || text == "<end_of_turn>" || text == "<bos>" || text == "<eos>");
  }

  Status read_merges(const Json& model) {
    const auto merges = model.find("merges");
    if (merges == model.end() || !merges->is_array()) return bad(Code::kBadValue, "model.merges is not a list");
    for (const Json& merge : *merges) {
      if (merge.is_string()) {
        const std::string text = merge.get<std::string>();
        const std::size_t space = text.find(' ', 1);
        if (space == std::string::npos) return bad(Code::kBadValue, fmt::format("merge {} has no two parts", merges_.size()));
        merges_.emplace_back(text.substr(0, space), text.substr(space + 1));
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        merges_.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      } else {
        return bad(Code::kBadValue, fmt::format("merge {} is neither a text nor two texts", merges_.size()));
      }
    }
    return {};
  }

  // [["<pad>", 0.0], ...]: pieces with their scores; the steps around them are sentencepiece's own, in Hugging Face's words.
  Status read_unigram(const Json& model, JsonReader& reader, Metadata& metadata) {
    const auto vocab = model.find("vocab");
    if (vocab == model.end() || !vocab->is_array() || vocab->size() > static_cast<std::size_t>(count_tokens_))
      return bad(Code::kBadValue, fmt::format("model.vocab is not a list of at most {} pieces, as many as the embedding has rows", count_tokens_));
    tokens_.assign(static_cast<std::size_t>(count_tokens_), "");
    types_.assign(tokens_.size(), kUnused);
    std::vector<float> scores(tokens_.size(), 0.0f);
    const bool bytes = reader.flag("byte_fallback", false);
    for (std::size_t id = 0; id < vocab->size(); ++id) {
      const Json& one = (*vocab)[id];
      if (!one.is_array() || one.size() != 2 || !one[0].is_string() || !one[1].is_number())
        return bad(Code::kBadValue, fmt::format("piece {} of model.vocab is not a text with a score", id));
      tokens_[id] = one[0].get<std::string>();
      scores[id] = one[1].get<float>();
      const std::string& text = tokens_[id];
      types_[id] = bytes && text.size() == 6 && text.starts_with("<0x") && text.back() == '>' ? kByte : kNormal;
    }
    const std::int64_t unknown = reader.integer("unk_id", -1, count_tokens_ - 1, -1);
    if (reader.error()) return *reader.error();
    if (unknown >= 0) unknown_ = tokens_[static_cast<std::size_t>(unknown)];
    if (Status status = read_added(); !status) return status;
    bool collapses = false, prefix = false;
    std::string charsmap;
    const auto normalizer = tokenizer_.find("normalizer");
    if (normalizer != tokenizer_.end())
      for (const Json* step : steps_of(&*normalizer, "normalizers")) {
        const std::string type = text_of(*step, "type");
        if (type == "Precompiled") {
          if (!from_base64(text_of(*step, "precompiled_charsmap"), charsmap)) return bad(Code::kBadValue, "precompiled_charsmap is not base64");
        } else if (type == "Replace" && step->contains("pattern") && text_of((*step)["pattern"], "Regex") == " {2,}") {
          collapses = true;
        } else if (type != "Strip" && !type.empty()) {
          return bad(Code::kUnsupported, fmt::format("the normalizer '{}' is not known beside a Unigram model", type));
        }
      }
    const auto pre = tokenizer_.find("pre_tokenizer");
    if (pre != tokenizer_.end())
      for (const Json* step : steps_of(&*pre, "pretokenizers")) {
        const std::string type = text_of(*step, "type");
        if (type == "Metaspace") prefix = text_of(*step, "prepend_scheme").empty() ? flag_of(*step, "add_prefix_space", true) : text_of(*step, "prepend_scheme") != "never";
        else if (type == "WhitespaceSplit") collapses = true;
        else if (!type.empty()) return bad(Code::kUnsupported, fmt::format("the pre-tokenizer '{}' is not known beside a Unigram model", type));
      }
    put_unigram(metadata, tokens_, types_, std::move(scores), prefix, collapses, charsmap);
    return {};
  }

  // SentencePiece's merges go by score: here minus the rank of the first merge that makes a token. Tokens that no merge makes
  // are never the result of one, and their scores are not read.
  Status put_sentencepiece(Metadata& metadata) {
    std::unordered_map<std::string, float> scores;
    for (std::size_t rank = 0; rank < merges_.size(); ++rank)
      scores.emplace(merges_[rank].first + merges_[rank].second, -static_cast<float>(rank));
    std::vector<float> all;
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      const auto found = scores.find(tokens_[id]);
      const bool made = types_[id] == kNormal && found != scores.end();
      all.push_back(made ? found->second : types_[id] == kNormal ? -static_cast<float>(merges_.size()) : -1000.0f);
      const std::string& text = tokens_[id];
      if (types_[id] == kNormal && text.size() == 6 && text.starts_with("<0x") && text.back() == '>') types_[id] = kByte, all.back() = 0;
    }
    bool prefix = false;
    const auto normalizer = tokenizer_.find("normalizer");
    if (normalizer != tokenizer_.end())
      for (const Json* step : steps_of(&*normalizer, "normalizers")) {
        const std::string type = text_of(*step, "type");
        if (type == "Prepend") prefix = true;
        else if (type != "Replace" && !type.empty()) return bad(Code::kUnsupported, fmt::format("the normalizer '{}' is not known", type));
      }
    const auto pre = tokenizer_.find("pre_tokenizer");
    if (pre != tokenizer_.end())
      for (const Json* step : steps_of(&*pre, "pretokenizers"))
        if (text_of(*step, "type") == "Metaspace")
          prefix = text_of(*step, "prepend_scheme").empty() ? flag_of(*step, "add_prefix_space", true) : text_of(*step, "prepend_scheme") != "never";
    metadata.emplace_back("tokenizer.ggml.model", gguf_string("llama"));
    put_tokens(metadata);
    metadata.emplace_back("tokenizer.ggml.scores", gguf_floats(std::move(all)));
    metadata.emplace_back("tokenizer.ggml.add_space_prefix", gguf_bool(prefix));
    return {};
  }

  Status put_byte_level(bool ignore_merges, Metadata& metadata) {
    std::string pre;
    bool byte_level = false, digits = false, punctuation = false, three = false;
    const auto found = tokenizer_.find("pre_tokenizer");
    if (found != tokenizer_.end())
      for (const Json* step : steps_of(&*found, "pretokenizers")) {
        const std::string type = text_of(*step, "type");
        if (type == "ByteLevel") {
          byte_level = true;
          if (flag_of(*step, "add_prefix_space", false)) return bad(Code::kUnsupported, "the pre-tokenizer adds a space before the text");
          if (pre.empty() && flag_of(*step, "use_regex", true)) pre = "gpt-2";
        } else if (type == "Digits") {
          digits = flag_of(*step, "individual_digits", false);
          if (!digits) return bad(Code::kUnsupported, "the pre-tokenizer keeps digits together");
        } else if (type == "Punctuation") {
          punctuation = true;
        } else if (type == "Split") {
          const auto pattern = step->find("pattern");
          std::string expression = pattern == step->end() ? "" : text_of(*pattern, "Regex");
          if (expression.empty() && pattern != step->end()) expression = text_of(*pattern, "String");
          if (expression == "[0-9][0-9][0-9]") {
            three = true;
            continue;
          }
          const auto known = std::find_if(std::begin(kKnownSplits), std::end(kKnownSplits), [&](const KnownSplit& one) { return one.expression == expression; });
          if (known == std::end(kKnownSplits))
            return bad(Code::kUnsupported, fmt::format("the pre-tokenizer splits by {}, which this program does not know", expression.substr(0, 200)));
          pre = known->pre;
        } else {
          return bad(Code::kUnsupported, fmt::format("the pre-tokenizer '{}' is not known", type));
        }
      }
    if (!byte_level) return bad(Code::kUnsupported, "a BPE without byte fallback and without byte-level pre-tokenizer");
    if (punctuation && three && pre == "gpt-2") pre = "falcon";
    else if (digits && pre == "gpt-2") pre = "smollm";
    else if (digits || punctuation || three) return bad(Code::kUnsupported, "this combination of pre-tokenizers is not known");
    if (pre == "llama-bpe" && !ignore_merges) pre = "dbrx";
    else if (pre == "qwen2" && ignore_merges) return bad(Code::kUnsupported, "ignore_merges with this pre-tokenizer is not known");
    // Added tokens hold their text, all others the byte alphabet.
    metadata.emplace_back("tokenizer.ggml.model", gguf_string("gpt2"));
    metadata.emplace_back("tokenizer.ggml.pre", gguf_string(pre));
    put_tokens(metadata);
    std::vector<std::string> merges;
    for (const auto& [left, right] : merges_) merges.push_back(left + " " + right);
    metadata.emplace_back("tokenizer.ggml.merges", gguf_strings(std::move(merges)));
    return {};
  }

  void put_tokens(Metadata& metadata) {
    metadata.emplace_back("tokenizer.ggml.tokens", gguf_strings(tokens_));
    metadata.emplace_back("tokenizer.ggml.token_type", gguf_int32s(types_));
  }

  const Json& tokenizer_;
  std::string place_;
  std::int64_t count_tokens_;
  std::string unknown_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> types_;
  std::vector<std::pair<std::string, std::string>> merges_;
};

// A number, or a list of numbers: the first is the token itself, the others end a text, too.
std::vector<std::int64_t> ids_of(const Json* value, std::int64_t count_tokens) {
  std::vector<std::int64_t> ids;
  const auto add = [&](const Json& one) {
    if (one.is_number_integer() && one.get<std::int64_t>() >= 0 && one.get<std::int64_t>() < count_tokens) ids.push_back(one.get<std::int64_t>());
  };
  if (!value) return ids;
  if (value->is_array())
    for (const Json& one : *value) add(one);
  else add(*value);
  return ids;
}

// The token that tokenizer_config.json names: a text or an object with `content`.
std::string token_text(const Json* value) {
  if (value && value->is_string()) return value->get<std::string>();
  if (value && value->is_object()) return text_of(*value, "content");
  return "";
}

}  // namespace

std::string_view split_expression(std::string_view pre) {
  for (const KnownSplit& one : kKnownSplits)
    if (one.pre == pre) return one.expression;
  return {};
}

Status read_tokenizer(const ModelFolder& folder, const Json& config, std::int64_t count_tokens, Metadata& metadata) {
  const std::string place = folder.place("tokenizer.json");
  std::optional<Json> json, options, generation;
  if (Status status = read_optional_json_file(folder, "tokenizer.json", json); !status) return status;
  if (!json && !folder.contains("tokenizer.model"))
    return Error{Code::kNotFound, fmt::format("{}: no such file; this program reads a checkpoint's tokenizer from it, or from tokenizer.model", place)};
  if (Status status = read_optional_json_file(folder, "tokenizer_config.json", options); !status) return status;
  if (Status status = read_optional_json_file(folder, "generation_config.json", generation); !status) return status;
  const Json empty = Json::object();
  JsonReader settings(options ? *options : empty, folder.place("tokenizer_config.json"));
  JsonReader own(config, folder.place("config.json"));

  std::optional<bool> add_bos, add_eos;
  std::vector<std::string> tokens;
  std::string unknown_text = token_text(settings.find("unk_token"));
  SentencePieceModel sentencepiece;
  if (json) {
    TokenizerReader reader(*json, place, count_tokens);
    if (Status status = reader.read(metadata); !status) return status;
    reader.read_template(add_bos, add_eos);
    tokens = reader.tokens();
    if (unknown_text.empty()) unknown_text = reader.unknown();
  } else if (Status status = read_sentencepiece(folder, options, count_tokens, metadata, tokens, sentencepiece); !status) {
    return status;
  }
  // What the classes do that read tokenizer.model: Llama's puts BOS in front, T5's EOS behind.
  const bool bpe = !json && sentencepiece.kind == SentencePieceModel::Kind::kBpe;
  if (!add_bos) add_bos = settings.flag("add_bos_token", bpe);
  if (!add_eos) add_eos = settings.flag("add_eos_token", !json && !bpe);
  metadata.emplace_back("tokenizer.ggml.add_bos_token", gguf_bool(*add_bos));
  metadata.emplace_back("tokenizer.ggml.add_eos_token", gguf_bool(*add_eos));

  const auto id_of_text = [&](const std::string& text) -> std::int64_t {
    const auto found = std::find(tokens.begin(), tokens.end(), text);
    return text.empty() || found == tokens.end() ? -1 : found - tokens.begin();
  };
  const auto put_id = [&](const char* key, std::int64_t id) {
    metadata.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", key), gguf_int32(static_cast<std::int32_t>(id)));
  };
  // The tokenizer's own files come first; -1 says that there is none.
  std::int64_t bos = id_of_text(token_text(settings.find("bos_token")));
  if (bos < 0 && !json) bos = sentencepiece.bos;
  if (const auto ids = ids_of(own.find("bos_token_id"), count_tokens); bos < 0 && !ids.empty()) bos = ids.front();
  put_id("bos", bos);
  std::vector<std::int64_t> ends;
  const auto add_end = [&](std::int64_t id) {
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  add_end(id_of_text(token_text(settings.find("eos_token"))));
  if (!json && sentencepiece.eos < count_tokens) add_end(sentencepiece.eos);
  for (const std::int64_t id : ids_of(own.find("eos_token_id"), count_tokens)) add_end(id);
  if (generation) {
    JsonReader rules(*generation, folder.place("generation_config.json"));
    for (const std::int64_t id : ids_of(rules.find("eos_token_id"), count_tokens)) add_end(id);
  }
  constexpr std::array kEnds = {"eos", "eot", "eom"};
  if (ends.empty()) put_id("eos", -1);
  for (std::size_t i = 0; i < std::min(ends.size(), kEnds.size()); ++i) put_id(kEnds[i], ends[i]);
  const std::int64_t unknown = id_of_text(unknown_text);
  put_id("unknown", unknown < 0 && !json && sentencepiece.unknown < count_tokens ? sentencepiece.unknown : unknown);

  std::string chat;
  if (const Json* given = settings.find("chat_template")) {
    if (given->is_string()) chat = given->get<std::string>();
    if (given->is_array())
      for (const Json& one : *given)
        if (one.is_object() && text_of(one, "name") == "default") chat = text_of(one, "template");
  }
  if (!chat.empty()) metadata.emplace_back("tokenizer.chat_template", gguf_string(std::move(chat)));
  if (settings.error()) return *settings.error();
  return {};
}

}  // namespace quantfleet::huggingface
