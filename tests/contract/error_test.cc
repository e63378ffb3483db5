#include "contract/error.h"

#include <catch2/catch.hpp>

using namespace quantfleet;

TEST_CASE("every code has a name that reads back as the same code", "[error]") {
  for (int i = 0; i <= static_cast<int>(Code::kInterrupted); ++i) {
    const Code code = static_cast<Code>(i);
    Code read = Code::kInterrupted;
    CAPTURE(name_of(code));
    REQUIRE(code_from_name(name_of(code), read));
    CHECK(read == code);
    CHECK_FALSE(sentence_of(code).empty());
  }
  Code untouched = Code::kTimeout;
  CHECK_FALSE(code_from_name("no-such-code", untouched));
  CHECK(untouched == Code::kTimeout);
}

TEST_CASE("exit codes follow the contract of the command line", "[error]") {
  CHECK(exit_code(Code::kBadValue) == 2);
  CHECK(exit_code(Code::kNotFound) == 2);
  CHECK(exit_code(Code::kDiskFull) == 4);
  CHECK(exit_code(Code::kInterrupted) == 130);
}

TEST_CASE("an error says where it happened, once", "[error]") {
  CHECK(at("model.gguf", Error{Code::kTruncated, "header needs 24 bytes, file has 3"}).detail ==
        "model.gguf: header needs 24 bytes, file has 3");
}
