// tokenizer.model and tokenizer.json of SentencePiece models: ids against sentencepiece's and tokenizers' own
// (tests/interop/sentencepiece_models.py trained the models and wrote the cases), and what is wrong with a file in one sentence.
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/sentencepiece_model.h"
#include "backends/tokenizers/tokenizer.h"
#include "tests/folder.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <iterator>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::contents;

const fs::path kGolden = test::source_dir() / "tests/golden";

// The golden llama folder with another tokenizer.
struct TokenizerFolder : test::Folder {
  TokenizerFolder(const fs::path& tokenizer, const std::string& name) {
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kGolden / "huggingface/llama" / file, path / file);
    fs::copy_file(tokenizer, path / name);
  }
};

TEST_CASE("SentencePiece models give the ids of sentencepiece, unigram and BPE, from tokenizer.model and tokenizer.json", "[sentencepiece]") {
  const auto golden = nlohmann::json::parse(contents(kGolden / "sentencepiece/cases.json"));
  CHECK(golden.size() == 4);
  for (const auto& [name, one] : golden.items()) {
    CAPTURE(name);
    const bool json = name.ends_with(".json");
    const TokenizerFolder folder(kGolden / "sentencepiece" / (json ? name : name + ".model"), json ? "tokenizer.json" : "tokenizer.model");
    const auto file = open_model_file(folder.path);
    if (!file) FAIL(file.error().detail);
    const auto tokenizer = Tokenizer::from_gguf(**file);
    if (!tokenizer) FAIL(tokenizer.error().detail);
    for (const auto& c : one["cases"]) {
      CAPTURE(c["text"]);
      CHECK((*tokenizer)->encode(c["text"].get<std::string>(), false, false) == c["ids"].get<std::vector<std::int32_t>>());
    }
    if (name == "unigram") CHECK((*tokenizer)->decode((*tokenizer)->encode("the old  mill", false, false), false) == " the old mill");
    if (name == "bpe") {  // Llama's class puts BOS in front, T5's EOS behind
      CHECK((*tokenizer)->encode("a", true, false).front() == 1);
      CHECK((*tokenizer)->decode((*tokenizer)->encode("日本 😀", false, false), false) == " 日本 😀");
    }
    if (name == "unigram") CHECK((*tokenizer)->encode("a", true, false).back() == 2);
  }
}

TEST_CASE("damaged tokenizer.model files end in one sentence with the byte", "[sentencepiece]") {
  const std::string whole = contents(kGolden / "sentencepiece/unigram.model");
  CHECK(huggingface::parse_sentencepiece_model(whole, "m")->pieces.size() > 40);
  int refused = 0;
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    const auto cut = huggingface::parse_sentencepiece_model(std::string_view(whole).substr(0, size), "m");
    if (cut) continue;  // cut between two fields
    ++refused;
    CHECK(cut.error().detail.starts_with("m: "));
  }
  CHECK(refused > 100);
  CHECK(huggingface::parse_sentencepiece_model("no protocol buffer", "m").has_error());
}

}  // namespace
}  // namespace quantfleet
