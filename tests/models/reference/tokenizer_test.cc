#include "models/reference/corpus/tokenizer.h"

#include "models/reference/corpus/corpus.h"

#include <catch2/catch.hpp>

#include <cctype>

namespace quantfleet::reference {
namespace {

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string_view piece : pre_tokenize(text)) out.emplace_back(piece);
  return out;
}

TEST_CASE("digits stand alone and words keep the space before them", "[tokenizer]") {
  using V = std::vector<std::string>;
  CHECK(pieces("37+45=28") == V{"3", "7", "+", "4", "5", "=", "2", "8"});
  CHECK(pieces(" 2 after Una:") == V{" ", "2", " after", " Una", ":"});
  CHECK(pieces("I can't") == V{"I", " can", "'t"});
  CHECK(pieces("def f(x):\n x+=7\n return x") == V{"def", " f", "(", "x", "):", "\n", " x", "+=", "7", "\n", " return", " x"});
  CHECK(pieces("a  b\n\n") == V{"a", " ", " b", "\n\n"});
  CHECK(pieces("") == V{});
}

TEST_CASE("what is encoded decodes to itself", "[tokenizer]") {
  const Corpus corpus;
  const Tokenizer tokenizer = train_tokenizer(corpus);
  CHECK(tokenizer.vocabulary_tokens() == kVocabularyTokens);
  for (std::uint64_t i = 50'000; i < 51'000; ++i) {
    const std::string document = corpus.document(i);
    const auto tokens = tokenizer.encode(document);
    REQUIRE(tokenizer.decode(tokens) == document);
  }
  CHECK(tokenizer.decode(tokenizer.encode("\x01\xff~ unseen ZQX")) == "\x01\xff~ unseen ZQX");
}

TEST_CASE("no token but the digits themselves has a digit", "[tokenizer]") {
  const Tokenizer tokenizer = train_tokenizer(Corpus());
  const auto tokens = tokenizer.gguf_tokens();
  REQUIRE(tokens.size() == kVocabularyTokens);
  for (const std::string& token : tokens) {
    bool has_digit = false;
    for (const char c : token) has_digit = has_digit || std::isdigit(static_cast<unsigned char>(c));
    if (has_digit) CHECK(token.size() == 1);
  }
  CHECK(tokens.back() == "<|endoftext|>");
  CHECK(tokenizer.gguf_token_types().back() == 3);
  CHECK(tokenizer.gguf_merges().size() == kVocabularyTokens - 257);
}

TEST_CASE("people have names of at most four tokens and values of one", "[tokenizer]") {
  const Corpus corpus;
  const Tokenizer tokenizer = train_tokenizer(corpus);
  for (const Person& person : corpus.world().people) {
    CAPTURE(person.name);
    CHECK(tokenizer.encode(person.name).size() <= 5);
  }
  for (const auto& values : corpus.world().values)
    for (const std::string& value : values) {
      CAPTURE(value);
      CHECK(tokenizer.encode(" " + value).size() == 1);
    }
}

TEST_CASE("merges are learned by frequency, ties by lowest ids", "[tokenizer]") {
  const std::vector<std::string> documents = {"abab", "ab cd cd"};
  const Tokenizer tokenizer = Tokenizer::train(documents, 259);
  CHECK(tokenizer.gguf_merges().front() == "a b");
  CHECK(tokenizer.encode("ab") == std::vector<std::int32_t>{256});
}

}  // namespace
}  // namespace quantfleet::reference
