#include "backends/engines/reference_logits.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

struct File {
  fs::path path = fs::temp_directory_path() / ("quantfleet_reference_" + std::to_string(::getpid()));
  ~File() { fs::remove(path); }
  std::string bytes() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }
};

const std::vector<std::int32_t> kTokens = {5, 6, 7, 8};
const std::vector<float> kRow = {-1.0f, -2.0f, -0.5f};

void write_two_records(const File& file) {
  auto writer = ReferenceLogitsWriter::create(file.path, 3).value();
  for (const int window : {4, 2}) {
    REQUIRE(writer->begin(rolling_key(window, kTokens), window, kTokens, 2).has_value());
    REQUIRE(writer->row(kRow).has_value());
    REQUIRE(writer->row(kRow).has_value());
    CHECK(writer->row(kRow).has_error());  // one too many
    REQUIRE(writer->finish().has_value());
  }
}

TEST_CASE("rows come back for the tokens they were written for", "[engines][reference_logits]") {
  const File file;
  write_two_records(file);
  auto reader = ReferenceLogits::open(file.path, 3).value();
  for (const int window : {2, 4}) {
    REQUIRE(reader->seek(rolling_key(window, kTokens), 2).has_value());
    std::vector<float> row(3);
    REQUIRE(reader->row(row).has_value());
    CHECK(row == kRow);
  }
  const std::vector<std::int32_t> other = {5, 6, 7, 9};
  CHECK(reader->seek(rolling_key(4, other), 2).error().code == Code::kHashMismatch);
  CHECK(reader->seek(rolling_key(8, kTokens), 2).error().code == Code::kHashMismatch);
  CHECK(reader->seek(rolling_key(4, kTokens), 3).error().code == Code::kBadShape);
  CHECK(ReferenceLogits::open(file.path, 4).error().code == Code::kBadShape);
}

TEST_CASE("a damaged file of reference logits is refused", "[engines][reference_logits]") {
  const File file;
  write_two_records(file);
  const std::string good = file.bytes();
  REQUIRE(good.size() == 16 + 2 * (52 + 16 + 24 + 4));
  SECTION("every truncation is noticed, except between records") {
    for (std::size_t size = 0; size < good.size(); ++size) {
      file.write(good.substr(0, size));
      const bool between = size == 16 || size == 16 + 96;
      CAPTURE(size);
      CHECK(ReferenceLogits::open(file.path, 3).has_value() == between);
    }
  }
  SECTION("no flipped byte goes unnoticed") {
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x10);
      file.write(bad);
      auto reader = ReferenceLogits::open(file.path, 3);
      CAPTURE(at);
      const bool both_read = reader && (*reader)->seek(rolling_key(4, kTokens), 2) && (*reader)->seek(rolling_key(2, kTokens), 2);
      CHECK_FALSE(both_read);
    }
  }
  SECTION("what is no such file is called so") {
    file.write(std::string(100, 'x'));
    CHECK(ReferenceLogits::open(file.path, 3).error().code == Code::kBadMagic);
    CHECK(ReferenceLogits::open("/no/such/file", 3).error().code == Code::kNotFound);
  }
}

}  // namespace
}  // namespace quantfleet
