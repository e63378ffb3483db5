// Safetensors: what the header says is checked against the file; a damaged file gets one sentence.
#include "backends/formats/safetensors.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <string>

namespace quantfleet {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}
auto parse(const std::string& bytes) { return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "m.safetensors"); }
std::string error_of(const std::string& header, const std::string& data) {
  const auto file = parse(file_of(header, data));
  return file ? "" : file.error().detail;
}

TEST_CASE("arrays are views with their dtype and shape; the header may be padded", "[safetensors]") {
  const std::string bytes = file_of(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"I8","shape":[2,3],"data_offsets":[4,10]},"none":{"dtype":"F16","shape":[0,5],"data_offsets":[10,10]}}   )",
                                    std::string("\x00\x00\x80\x3f" "abcdef", 10));
  const auto file = parse(bytes);
  if (!file) FAIL(file.error().detail);
  REQUIRE((*file)->arrays().size() == 3);
  CHECK((*file)->arrays()[0].name == "a");
  CHECK((*file)->arrays()[0].shape == std::vector<std::int64_t>{2, 3});
  CHECK(std::memcmp((*file)->arrays()[0].bytes.data(), "abcdef", 6) == 0);
  CHECK((*file)->arrays()[1].count_values() == 1);
  CHECK((*file)->arrays()[2].count_values() == 0);
  CHECK((*file)->metadata().at("format") == "pt");
}

TEST_CASE("a damaged file gets one sentence", "[safetensors]") {
  using Catch::Contains;
  CHECK_THAT(parse("abc").error().detail, Contains("begins with 8 bytes"));
  CHECK_THAT(parse(std::string(16, '\xff')).error().detail, Contains("promise a header"));
  CHECK_THAT(parse(file_of("{}", "").substr(0, 9)).error().detail, Contains("the header has 2 bytes, 1 are left"));
  CHECK_THAT(error_of("[]", ""), Contains("does not begin with '{'"));
  CHECK_THAT(error_of("{\"a\":", ""), Contains("not a JSON object"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234"), Contains("names a twice"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "1234"), Contains("dtype \"F99\" is not known"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"), Contains("2 values of F32 take 8 bytes; data_offsets give 4"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234"), Contains("non-negative"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}})", "1234"), Contains("too many values"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "1234"), Contains("do not lie in the 4 bytes"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678"), Contains("array a begins at 4, but the array before it ends at 0"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", "123456"), Contains("array b begins at 2"));
  CHECK_THAT(error_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345"), Contains("1 bytes behind the last array"));
  CHECK_THAT(error_of(R"({"a":[[[[[[[1]]]]]]]})", ""), Contains("nested too deeply"));
}

}  // namespace
}  // namespace quantfleet
