// Any text through both tokenizers over a small vocabulary that the input may shape: the first byte chooses the
// pre-tokenizer, the next lines are merges, the rest is the text. Decoding what byte-level BPE encoded from valid UTF-8
// must give the text back.
#include "backends/tokenizers/tokenizer.h"

#include <cstdlib>
#include <string>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static constexpr const char* kPre[] = {"llama-bpe", "qwen2", "gpt-2", "smollm", "falcon", "default", "tekken", "deepseek-v3",
                                         "deepseek-llm", "deepseek-coder", "chameleon", "bloom", "viking", "gpt-4o"};
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = std::min<std::size_t>(rest.size() / 2, 512);
  Vocabulary v;
  v.model = data[0] & 0x80 ? "llama" : "gpt2";
  v.pre = kPre[data[0] % std::size(kPre)];
  for (int byte = 0, next = 0x100; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int c = itself ? byte : next++;
    v.tokens.push_back(c < 0x80 ? std::string(1, char(c)) : std::string{char(0xc0 | c >> 6), char(0x80 | (c & 0x3f))});
  }
  for (std::size_t at = 0; at < cut;) {
    const std::size_t end = std::min(rest.find('\n', at), cut);
    const std::string merge(rest.substr(at, end - at));
    at = end + 1;
    const std::size_t space = merge.size() < 2 ? std::string::npos : merge.find(' ', 1);
    v.merges.push_back(merge);
    if (space != std::string::npos) v.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  v.types.assign(v.tokens.size(), TokenType::kNormal);
  for (std::size_t id = 0; id < v.tokens.size(); ++id) v.scores.push_back(-static_cast<float>(id));
  if (!v.tokens.empty() && (data[0] & 0x40)) v.types.back() = TokenType::kUserDefined;
  const auto tokenizer = Tokenizer::create(std::move(v));
  if (!tokenizer) return 0;
  const std::string_view text = rest.substr(cut);
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, true, parse_special);
    for (const std::int32_t id : ids)
      if (id < 0 || id >= (*tokenizer)->size()) std::abort();
    const std::string bytes = (*tokenizer)->decode(ids, true);
    Utf8Stream stream;
    std::string streamed;
    for (const char c : bytes) streamed += stream.push(std::string_view(&c, 1));
    if (streamed + stream.finish() != bytes) std::abort();
  }
  return 0;
}
