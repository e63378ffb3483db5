// Ids equal to llama.cpp's: 208 tricky strings on 37 vocabularies, and the test strings that come with 9 full ones.
#include "backends/tokenizers/tokenizer.h"
#include "tests/shared_data.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

std::string from_base64(const std::string& text) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char* at = c ? std::strchr(alphabet, c) : nullptr;
    if (!at) continue;
    bits = bits << 6 | static_cast<unsigned>(at - alphabet);
    count += 6;
    if (count >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return out;
}

fs::path vocabulary_file(const std::string& name) {
  if (name.starts_with("small-")) return test::unpacked("oracle/tokenizers/small_vocabs.tar.zst") / "smallvocab" / (name + ".gguf");
  if (name == "stories260K.f32") return test::shared_root() / "oracle/models/stories260K/stories260K.f32.gguf";
  return test::unpacked("oracle/tokenizers/vocab/ggml-vocab-" + name + ".gguf.zst");
}

std::shared_ptr<const Tokenizer> tokenizer_of(const std::string& name) {
  const auto file = GgufFile::open(vocabulary_file(name));
  if (!file) FAIL(file.error().detail);
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) FAIL(tokenizer.error().detail);
  return *tokenizer;
}

TEST_CASE("tricky strings get the reference's ids and pieces", "[tokenizers][oracle]") {
  if (!test::has_shared("oracle/tokenizers/tricky_strings.tar.zst")) return;
  for (const auto& entry : fs::directory_iterator(test::unpacked("oracle/tokenizers/tricky_strings.tar.zst") / "tokv")) {
    const std::string name = entry.path().stem().string();
    const auto tokenizer = tokenizer_of(name);
    std::ifstream lines(entry.path());
    int wrong = 0, cases = 0;
    for (std::string line; std::getline(lines, line); ++cases) {
      const auto row = nlohmann::json::parse(line);
      const std::string text = row.contains("text") ? row["text"].get<std::string>() : from_base64(row["bytes_b64"]);
      const Ids all = row["ids_add_special_parse_special"];
      const bool good = tokenizer->encode(text, false, false) == row["ids_plain"].get<Ids>() &&
                        tokenizer->encode(text, true, false) == row["ids_add_special"].get<Ids>() &&
                        tokenizer->encode(text, true, true) == all &&
                        tokenizer->decode(all, true) == from_base64(row["pieces_concat_b64"]);
      if (!good && ++wrong <= 3) {
        UNSCOPED_INFO(name << " string " << row["n"] << " (" << row["category"] << "): " << line.substr(0, 300));
        UNSCOPED_INFO("  got " << nlohmann::json(tokenizer->encode(text, false, false)).dump() << " / " << nlohmann::json(tokenizer->encode(text, true, true)).dump());
      }
    }
    UNSCOPED_INFO(name << ": " << wrong << " of " << cases << " strings differ");
    CHECK(cases == 208);
    CHECK(wrong == 0);
  }
}

TEST_CASE("each full vocabulary gives the ids of its own test strings", "[tokenizers][oracle]") {
  if (!test::has_shared("oracle/tokenizers/vocab")) return;
  const std::string name = GENERATE("deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-spm", "mpt", "phi-3", "refact", "starcoder");
  const auto tokenizer = tokenizer_of(name);
  const auto folder = test::shared_root() / "oracle/tokenizers/upstream_inp_out";
  std::ifstream in(folder / ("ggml-vocab-" + name + ".gguf.inp"), std::ios::binary), out(folder / ("ggml-vocab-" + name + ".gguf.out"));
  std::string inputs{std::istreambuf_iterator<char>(in), {}};
  const std::string separator = "\n__ggml_vocab_test__\n";
  int count = 0;
  for (std::string line; std::getline(out, line); ++count) {
    const std::size_t at = inputs.find(separator);
    REQUIRE(at != std::string::npos);
    const std::string text = inputs.substr(0, at);
    inputs.erase(0, at + separator.size());
    std::istringstream words(line);
    const Ids expected{std::istream_iterator<std::int32_t>(words), {}};
    CAPTURE(name, count, text);
    CHECK(tokenizer->encode(text, false, false) == expected);
  }
  CHECK(count >= 40);
}

}  // namespace
}  // namespace quantfleet
