#include "backends/engines/reference_logits.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <cmath>
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
  void write(const std::string& bytes) const {
    fs::remove(path);  // a file that is cut and written again goes to the disk at once on ext4: milliseconds each
    std::ofstream(path, std::ios::binary) << bytes;
  }
};

const std::vector<std::int32_t> kTokens = {5, 6, 7, 8};
const std::vector<float> kRow = {std::log(0.3f), std::log(0.2f), std::log(0.5f)};

void write_two_records(const File& file, ReferenceRows rows) {
  auto writer = ReferenceLogitsWriter::create(file.path, 3, rows).value();
  for (const int window : {4, 2}) {
    REQUIRE(writer->begin(rolling_key(window, kTokens), window, kTokens, 2).has_value());
    REQUIRE(writer->row(kRow, 2).has_value());
    REQUIRE(writer->row(kRow, 2).has_value());
    CHECK(writer->row(kRow, 2).has_error());  // one too many
    REQUIRE(writer->finish().has_value());
  }
}

TEST_CASE("rows come back for the tokens they were written for", "[engines][reference_logits]") {
  const File file;
  const auto rows = GENERATE(ReferenceRows::kWhole, ReferenceRows::kBrief);
  write_two_records(file, rows);
  auto reader = ReferenceLogits::open(file.path, 3).value();
  for (const int window : {2, 4}) {
    REQUIRE(reader->seek(rolling_key(window, kTokens), 2).has_value());
    const RowDivergence same = reader->compare(kRow, 2).value();
    CHECK(std::abs(same.kl) < 1e-5);
    CHECK(same.same_top);
    CHECK(same.reference_nll == Approx(std::log(2.0)).margin(4e-6));
    const std::vector<float> other = {std::log(0.5f), std::log(0.2f), std::log(0.3f)};
    const RowDivergence differs = reader->compare(other, 2).value();
    CHECK(differs.kl == Approx(0.2 * std::log(5.0 / 3)).margin(1e-5));
    CHECK_FALSE(differs.same_top);
    CHECK(differs.delta_p == Approx(-0.2).margin(1e-5));
  }
  const std::vector<std::int32_t> other = {5, 6, 7, 9};
  CHECK(reader->seek(rolling_key(4, other), 2).error().code == Code::kHashMismatch);
  CHECK(reader->seek(rolling_key(8, kTokens), 2).error().code == Code::kHashMismatch);
  CHECK(reader->seek(rolling_key(4, kTokens), 3).error().code == Code::kBadShape);
  CHECK(ReferenceLogits::open(file.path, 4).error().code == Code::kBadShape);
  CHECK(is_reference_logits(file.path));
  const ReferenceFacts facts = read_reference_facts(file.path).value();
  CHECK((facts.rows == rows && facts.vocabulary_tokens == 3 && facts.context_tokens == 4));
  CHECK_FALSE(is_reference_logits("/no/such/file"));
}

TEST_CASE("a damaged file of reference logits is refused", "[engines][reference_logits]") {
  const File file;
  const auto rows = GENERATE(ReferenceRows::kWhole, ReferenceRows::kBrief);
  write_two_records(file, rows);
  const std::string good = file.bytes();
  const std::size_t record = 52 + (rows == ReferenceRows::kWhole ? 16 + 24 : 2 * kReferenceRowBytes) + 4;
  REQUIRE(good.size() == 16 + 2 * record);
  SECTION("every truncation is noticed, except between records") {
    for (std::size_t size = 0; size < good.size(); ++size) {
      file.write(good.substr(0, size));
      const bool between = size == 16 || size == 16 + record;
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
