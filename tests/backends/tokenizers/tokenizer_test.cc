#include "backends/tokenizers/pretokenize.h"
#include "backends/tokenizers/tokenizer.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace quantfleet {
namespace {

using Ids = std::vector<std::int32_t>;

// <unk> <s> </s>, 256 byte tokens from id 3, then a few words.
Vocabulary small_sentencepiece() {
  Vocabulary v;
  v.model = "llama";
  const auto add = [&](std::string text, float score, TokenType type = TokenType::kNormal) {
    v.tokens.push_back(std::move(text));
    v.scores.push_back(score);
    v.types.push_back(type);
  };
  add("<unk>", 0, TokenType::kUnknown);
  add("<s>", 0, TokenType::kControl);
  add("</s>", 0, TokenType::kControl);
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte)
    add(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, TokenType::kByte);
  add("\xe2\x96\x81", -1);        // 259
  add("a", -2);                   // 260
  add("b", -3);                   // 261
  add("ab", -4);                  // 262
  add("\xe2\x96\x81" "ab", -5);   // 263
  add("aa", -6);                  // 264
  add("<tool>", 0, TokenType::kUserDefined);  // 265
  v.bos = 1;
  v.eos = 2;
  v.unknown = 0;
  v.end_of_text = {2};
  return v;
}

// The byte alphabet (ids 0 to 255 in byte order), then merges.
Vocabulary small_byte_level(std::string pre) {
  Vocabulary v;
  v.model = "gpt2";
  v.pre = std::move(pre);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int c = itself ? byte : next++;
    v.tokens.push_back(c < 0x80 ? std::string(1, char(c)) : std::string{char(0xc0 | c >> 6), char(0x80 | (c & 0x3f))});
  }
  for (const char* token : {"he", "ll", "llo", "hello", "\xc4\xa0hello"}) v.tokens.push_back(token);  // 256 to 260
  v.tokens.push_back("<|im_end|>");                                                                 // 261
  v.merges = {"h e", "l l", "ll o", "he llo", "\xc4\xa0 hello"};
  v.types.assign(v.tokens.size(), TokenType::kNormal);
  v.types.back() = TokenType::kControl;
  v.end_of_text = {261};
  v.eos = 261;
  return v;
}

std::shared_ptr<const Tokenizer> make(Vocabulary v) { return Tokenizer::create(std::move(v)).value(); }

TEST_CASE("SentencePiece merges the pair with the best score first and spells the rest in bytes", "[tokenizers]") {
  const auto tokenizer = make(small_sentencepiece());
  CHECK(tokenizer->encode("ab", false, false) == Ids{263});           // a space is put in front
  CHECK(tokenizer->encode("aab", false, false) == Ids{259, 260, 262});  // "ab" beats "aa"
  CHECK(tokenizer->encode("x", false, false) == Ids{259, 3 + 'x'});
  CHECK(tokenizer->encode("", false, false).empty());
  CHECK(tokenizer->encode("", true, false) == Ids{1});
  SECTION("bytes that are not UTF-8 survive the round trip") {
    const std::string bytes = "a\xff\xc3(\x80 \xe2\x96";
    const Ids ids = tokenizer->encode(bytes, false, false);
    CHECK(tokenizer->decode(ids, false) == " " + bytes);
  }
}

TEST_CASE("control tokens are read only on request, user-defined tokens always", "[tokenizers]") {
  const auto tokenizer = make(small_sentencepiece());
  CHECK(tokenizer->encode("<s>", false, true) == Ids{1});
  CHECK(tokenizer->encode("<s>", false, false).size() > 1);
  CHECK(tokenizer->encode("ab<tool>ab", false, false) == Ids{263, 265, 263});  // a space after a special token, too
  CHECK(tokenizer->decode(Ids{1, 263, 2}, false) == " ab");
  CHECK(tokenizer->decode(Ids{1, 263, 2}, true) == "<s> ab</s>");
  CHECK(tokenizer->is_end_of_text(2));
  CHECK_FALSE(tokenizer->is_end_of_text(263));
  CHECK(tokenizer->piece(-1).empty());
  CHECK(tokenizer->piece(1 << 20).empty());
}

TEST_CASE("byte-level BPE merges by rank inside pieces", "[tokenizers]") {
  const auto tokenizer = make(small_byte_level("gpt-2"));
  CHECK(tokenizer->encode("hello hello", false, false) == Ids{259, 260});
  CHECK(tokenizer->encode("he", false, false) == Ids{256});
  CHECK(tokenizer->encode("hello<|im_end|>", false, true) == Ids{259, 261});
  SECTION("a byte that is not UTF-8 becomes the replacement character") {
    CHECK(tokenizer->decode(tokenizer->encode("he\xffhe", false, false), false) == "he\xef\xbf\xbdhe");
  }
  SECTION("every valid text survives the round trip") {
    const std::string text = "na\xc3\xafve \xf0\x9f\xa6\x99  x\r\n\t\xe4\xbd\xa0 12345";
    CHECK(tokenizer->decode(tokenizer->encode(text, false, false), false) == text);
  }
}

TEST_CASE("a pre-tokenizer that is not known is refused by name", "[tokenizers]") {
  const auto refused = Tokenizer::create(small_byte_level("no-such-thing"));
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Code::kUnsupported);
  CHECK(refused.error().detail.find("no-such-thing") != std::string::npos);
}

TEST_CASE("pieces cover the text without gaps, for every pre-tokenizer and any bytes", "[tokenizers]") {
  const std::string pre = GENERATE("llama-bpe", "dbrx", "qwen2", "qwen35", "gpt-2", "smollm", "falcon", "default", "tekken", "gpt-4o",
                                   "deepseek-v3", "deepseek-llm", "deepseek-coder", "chameleon", "bloom", "viking");
  const auto pre_tokenizer = PreTokenizer::create(pre).value();
  const std::string text = "It's 12345 o'clock,  \n\n\tna\xc3\xafve <sentinel:1> $x=`y` \xe4\xb8\xad\xe6\x96\x87!? \xed\xa0\x80 \xf5\x80\x80\x80 \xe1\xa0\x8e ";
  std::string joined;
  for (const std::string_view piece : pre_tokenizer->split(text)) {
    CHECK_FALSE(piece.empty());
    joined += piece;
  }
  CAPTURE(pre);
  CHECK(joined == text);
}

TEST_CASE("digits are grouped as the pre-tokenizer says", "[tokenizers]") {
  const auto pieces = [](const char* pre) { return PreTokenizer::create(pre).value()->split("12345"); };
  CHECK(pieces("llama-bpe") == std::vector<std::string_view>{"123", "45"});
  CHECK(pieces("qwen2") == std::vector<std::string_view>{"1", "2", "3", "4", "5"});
  CHECK(pieces("smollm") == std::vector<std::string_view>{"1", "2", "3", "4", "5"});
  CHECK(pieces("gpt-2") == std::vector<std::string_view>{"12345"});
}

TEST_CASE("a merge without two parts is refused with its position", "[tokenizers]") {
  Vocabulary v = small_byte_level("gpt-2");
  v.merges.push_back(GENERATE("", "x", "xy", "x "));
  const auto refused = Tokenizer::create(std::move(v));
  REQUIRE(refused.has_error());
  CHECK(refused.error().detail.find("[5]") != std::string::npos);
}

TEST_CASE("streamed bytes come out in whole code points", "[tokenizers]") {
  Utf8Stream stream;
  CHECK(stream.push("a\xf0\x9f") == "a");
  CHECK(stream.push("\xa6") == "");
  CHECK(stream.push("\x99z") == "\xf0\x9f\xa6\x99z");
  CHECK(stream.push("\x80\xff") == "\x80\xff");  // can never become one
  CHECK(stream.push("\xc3") == "");
  CHECK(stream.finish() == "\xc3");
}

}  // namespace
}  // namespace quantfleet
