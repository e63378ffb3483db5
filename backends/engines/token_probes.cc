#include "backends/engines/token_probes.h"

#include "backends/engines/request_tokens.h"
#include "backends/formats/mapped_file.h"
#include "backends/huggingface/json_file.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

using huggingface::Json;

constexpr std::size_t kBytesMax = 1u << 20;
constexpr std::size_t kProbesMax = 1000;

constexpr std::string_view kTexts[] = {
    "Hello, world!", " leading space", "trailing space ", "two  spaces   three", "\ttab\tand\nnewline\n\n\n", "\r\nwindows\r\n", "no\u00a0break\u2003em\u3000ideographic\u200bzero",
    "I'll they've WE'RE can't'", "camelCase snake_case SCREAMING kebab-case", "1 12 123 1234 12345 1234567890", "3.14159e-10 0x1F 1,000,000 50%", "x=(a+b)*c; // done\n    return x;",
    "def f(x):\n\treturn {\"k\": [x, None]}\n", "Grüße aus Zürich, naïve façade", "e\u0301 vs \u00e9: decomposed and composed", "Привет, мир! Ελληνικά", "日本語のテキスト、한국어 문장，中文文本。",
    "مرحبا بالعالم שלום", "नमस्ते ทดสอบ", "👩‍👩‍👧‍👦 🇨🇭 ☕️ 🤷🏽", "¿¡«»“”‘’…—–", "a", "", "the quick brown fox jumps over the lazy dog", "https://example.org/path?q=1&r=%20#top",
    "$\\frac{1}{2}\\sum_{i=0}^{n} x_i^2$", "</s><s>[INST]<|im_start|><|endoftext|>", "ſtraße ﬁne ①②③ ｆｕｌｌ"};

// At most the first ids, for a sentence.
std::string shown(std::span<const std::int32_t> ids) {
  constexpr std::size_t kShown = 24;
  return fmt::format("[{}{}]", fmt::join(ids.first(std::min(ids.size(), kShown)), ", "), ids.size() > kShown ? ", ..." : "");
}

}  // namespace

std::vector<TokenProbe> make_token_probes(const Tokenizer& tokenizer) {
  std::vector<TokenProbe> probes;
  const auto add = [&](std::string text, TokensAs as) {
    std::vector<std::int32_t> ids = as == TokensAs::kPrompt ? prompt_tokens(tokenizer, text, true) : tokenizer.encode(text, false, true);
    probes.push_back({std::move(text), as, std::move(ids)});
  };
  for (const std::string_view text : kTexts) add(std::string(text), TokensAs::kText);
  add("Hello, world!", TokensAs::kPrompt);
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  for (const auto& special : {vocabulary.bos, vocabulary.eos}) {
    if (!special) continue;
    const std::string piece(tokenizer.piece(*special));
    if (piece.empty()) continue;
    add("before" + piece + " after", TokensAs::kText);
    add(piece + "Hello", TokensAs::kPrompt);  // a chat template with BOS: one BOS, not two
  }
  return probes;
}

std::string encode_token_probes(std::span<const TokenProbe> probes) {
  Json list = Json::array();
  for (const TokenProbe& probe : probes) list.push_back({{"text", probe.text}, {"as", probe.as == TokensAs::kPrompt ? "prompt" : "text"}, {"ids", probe.ids}});
  return Json{{"token_probes", 1}, {"probes", std::move(list)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::vector<TokenProbe>> decode_token_probes(std::string_view bytes, std::string_view place) {
  const auto bad = [&](std::string sentence) { return Error{Code::kBadValue, fmt::format("{}: {}", place, sentence)}; };
  if (bytes.size() > kBytesMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} bytes", place, kBytesMax)};
  Json json;
  if (const Status parsed = huggingface::parse_json(bytes, place, json); !parsed) return parsed.error();
  if (!json.contains("token_probes") || json["token_probes"] != 1) return Error{Code::kBadVersion, fmt::format("{}: token_probes is not 1", place)};
  const auto list = json.find("probes");
  if (list == json.end() || !list->is_array() || list->empty() || list->size() > kProbesMax) return bad(fmt::format("probes is not a list of 1 to {} probes", kProbesMax));
  std::vector<TokenProbe> probes;
  for (const Json& one : *list) {
    TokenProbe& probe = probes.emplace_back();
    const std::string where = fmt::format("probes[{}]", probes.size() - 1);
    if (!one.is_object() || !one.contains("text") || !one["text"].is_string()) return bad(where + " has no text");
    probe.text = one["text"].get<std::string>();
    const std::string as = huggingface::text_of(one, "as");
    if (as != "text" && as != "prompt") return bad(where + ": as is neither text nor prompt");
    probe.as = as == "prompt" ? TokensAs::kPrompt : TokensAs::kText;
    if (!one.contains("ids") || !one["ids"].is_array()) return bad(where + " has no ids");
    for (const Json& id : one["ids"]) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > 1 << 30) return bad(where + ": an id is no token id");
      probe.ids.push_back(id.get<std::int32_t>());
    }
  }
  return probes;
}

Result<std::vector<TokenProbe>> read_token_probes(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path, "a set of token probes");
  if (!file) return file.error();
  return decode_token_probes({reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()}, path.string());
}

Status check_token_probes(Engine& engine, std::span<const TokenProbe> probes) {
  for (const TokenProbe& probe : probes) {
    const auto ids = engine.tokenize(probe.text, probe.as);
    if (!ids) return ids.error();
    if (*ids == probe.ids) continue;
    return Error{Code::kBadValue, fmt::format("{} is not this model's engine, or tokenizes otherwise: {} {} gives {}, expected {}", engine.info().engine,
                                              probe.as == TokensAs::kPrompt ? "the prompt" : "the text", Json(probe.text).dump(-1, ' ', true, Json::error_handler_t::replace), shown(*ids),
                                              shown(probe.ids))};
  }
  return {};
}

}  // namespace quantfleet
