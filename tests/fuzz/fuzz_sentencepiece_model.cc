// Any bytes as tokenizer.model, and as a map of characters; what is accepted tokenizes any text with ids inside the vocabulary.
#include "backends/huggingface/sentencepiece_model.h"
#include "backends/tokenizers/tokenizer.h"

#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Vocabulary vocabulary;
  vocabulary.model = "t5";
  if (const auto model = huggingface::parse_sentencepiece_model(bytes, "model")) {
    for (const auto& piece : model->pieces) {
      vocabulary.tokens.push_back(piece.text);
      vocabulary.scores.push_back(piece.score);
      vocabulary.types.push_back(static_cast<TokenType>(piece.type));
    }
    vocabulary.charsmap = model->charsmap;
    vocabulary.removes_extra_spaces = model->removes_extra_spaces;
    if (model->unknown >= 0 && model->unknown < static_cast<std::int64_t>(model->pieces.size())) vocabulary.unknown = static_cast<std::int32_t>(model->unknown);
  } else {
    if (model.error().detail.empty()) __builtin_trap();
    vocabulary.tokens = {"<unk>", "\xe2\x96\x81", "a", "b", "ab"};
    vocabulary.scores = {0, -1, -2, -3, -4};
    vocabulary.types.assign(5, TokenType::kNormal);
    vocabulary.unknown = 0;
    vocabulary.charsmap = bytes;
  }
  const auto tokenizer = Tokenizer::create(std::move(vocabulary));
  if (!tokenizer) return 0;
  for (const std::int32_t id : (*tokenizer)->encode(bytes.substr(0, 2000), false, false))
    if (id < 0 || id >= (*tokenizer)->size()) __builtin_trap();
  return 0;
}
