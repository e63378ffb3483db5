#include "backends/tokenizers/pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace quantfleet {
namespace {

// GPT-2: contractions, words, numbers, other signs with one leading space each; white space runs keep their last space for
// the word behind them.
const std::string kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";

// Llama 3 and Qwen 2 differ in how many digits stay together.
std::string llama3(const char* digits) {
  return std::string(R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|)") + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// Tekken's and GPT-4o's words: capitals, then small letters. The case classes are the reference implementation's
// ("letter and not a-z", "letter and not A-Z"), which differ from Unicode's outside ASCII.
const std::string kCapitals = R"((?:(?=\p{L})[^a-z]))";
const std::string kSmalls = R"((?:(?=\p{L})[^A-Z]))";
const std::string kWordStart = R"([^\r\n\p{L}\p{N}]?)";
const std::string kContraction = R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?)";

struct Definition {
  std::vector<std::string_view> names;
  std::vector<std::string> expressions;
  bool ignores_merges = false;
  bool adds_bos = false;
};

const std::vector<Definition>& definitions() {
  static const std::vector<Definition> list = {
      {{"llama3", "llama-v3", "llama-bpe", "falcon3"}, {llama3(R"(\p{N}{1,3})")}, true, true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {llama3(R"(\p{N}{1,3})")}},
      {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"}, {llama3(R"(\p{N})")}},
      {{"qwen35"},
       {R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v2-code", "jina-v1-en",
        "gigachat", "roberta-bpe", "trillion"},
       {kGpt2}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}, {R"(\p{N})", kGpt2}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, R"([0-9][0-9][0-9])"}},
      {{"default", ""}, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
      {{"tekken"},
       {kWordStart + kCapitals + "*" + kSmalls + "+|" + kWordStart + kCapitals + "+" + kSmalls + R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
       true, true},
      {{"gpt-4o", "llama4"},
       {kWordStart + kCapitals + "*" + kSmalls + "+" + kContraction + "|" + kWordStart + kCapitals + "+" + kSmalls + "*" + kContraction +
        R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"deepseek-v3", "hunyuan-dense"},
       {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"deepseek-llm"},
       {R"([\r\n])", R"(\s?[\p{Lu}\p{Ll}\p{Lt}]+)", R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", R"([一-龥ࠀ-一가-퟿]+)", R"(\p{N}+)"}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", R"([一-龥ࠀ-一가-퟿]+)", R"(\p{N})"}},
      {{"chameleon"},
       {R"(<sentinel:[0-9]+>)", R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)", R"(([\t\n]|    |  ))", R"(\p{N})",
        R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
       false, true},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)"}},
      {{"viking"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"}},
  };
  return list;
}

// Replaces, byte for byte, what PCRE2 refuses or sees differently: surrogates and code points above U+10FFFF become
// private-use ones; U+180E, which Unicode no longer calls white space, becomes U+200B.
std::string for_matching(std::string_view text) {
  std::string copy(text);
  for (std::size_t i = 0; i + 2 < copy.size(); ++i) {
    const auto a = static_cast<unsigned char>(copy[i]), b = static_cast<unsigned char>(copy[i + 1]);
    if (a == 0xed && b >= 0xa0) copy.replace(i, 3, "\xee\x80\x80");
    if (a == 0xe1 && b == 0xa0 && static_cast<unsigned char>(copy[i + 2]) == 0x8e) copy.replace(i, 3, "\xe2\x80\x8b");
    if (i + 3 < copy.size() && ((a == 0xf4 && b >= 0x90) || a > 0xf4)) copy.replace(i, 4, "\xf3\xb0\x80\x80");
  }
  return copy;
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

class RegexPreTokenizer final : public PreTokenizer {
 public:
  std::vector<std::string_view> split(std::string_view text) const override {
    const std::string copy = for_matching(text);
    std::vector<std::string_view> pieces;
    if (!text.empty()) pieces.push_back(copy);
    for (const auto& code : codes_) {
      const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create_from_pattern(code.get(), nullptr));
      std::vector<std::string_view> finer;
      for (const std::string_view piece : pieces) {
        const auto subject = reinterpret_cast<PCRE2_SPTR>(piece.data());
        std::size_t done = 0, from = 0;
        while (from < piece.size() &&
               pcre2_match(code.get(), subject, piece.size(), from, PCRE2_NO_UTF_CHECK, match.get(), nullptr) >= 0) {
          const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match.get());
          if (span[1] == span[0]) {  // an empty match cuts nothing
            from = span[1] + 1;
            while (from < piece.size() && (static_cast<unsigned char>(piece[from]) & 0xc0) == 0x80) ++from;
            continue;
          }
          if (span[0] > done) finer.push_back(piece.substr(done, span[0] - done));
          finer.push_back(piece.substr(span[0], span[1] - span[0]));
          done = from = span[1];
        }
        if (done < piece.size()) finer.push_back(piece.substr(done));
      }
      pieces = std::move(finer);
    }
    for (std::string_view& piece : pieces) piece = text.substr(static_cast<std::size_t>(piece.data() - copy.data()), piece.size());
    return pieces;
  }

  Status compile(const std::string& expression) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    std::unique_ptr<pcre2_code, FreeCode> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                                             PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr));
    if (!code)
      return Error{Code::kUnsupported, fmt::format("the pre-tokenizer's expression {} is refused at offset {}", expression, offset)};
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
    codes_.push_back(std::move(code));
    return {};
  }

 private:
  std::vector<std::unique_ptr<pcre2_code, FreeCode>> codes_;
};

}  // namespace

Result<std::unique_ptr<PreTokenizer>> PreTokenizer::create(std::string_view name) {
  for (const Definition& definition : definitions()) {
    if (std::find(definition.names.begin(), definition.names.end(), name) == definition.names.end()) continue;
    auto made = std::make_unique<RegexPreTokenizer>();
    made->ignores_merges = definition.ignores_merges;
    made->adds_bos = definition.adds_bos;
    for (const std::string& expression : definition.expressions)
      if (auto status = made->compile(expression); !status) return status.error();
    return std::unique_ptr<PreTokenizer>(std::move(made));
  }
  return Error{Code::kUnsupported, fmt::format("tokenizer.ggml.pre is '{}', a pre-tokenizer that this program does not know", name)};
}

}  // namespace quantfleet
