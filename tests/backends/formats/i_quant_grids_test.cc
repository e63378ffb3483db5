// The grids are data: entry for entry those whose SHA-256 docs/formats/i-quants.md gives.
#include "backends/formats/i_quant_grids.h"

#include "backends/formats/file_hash.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <set>
#include <vector>

using namespace quantfleet;

TEST_CASE("each grid expands to the published bytes, ascending and without repetition", "[formats]") {
  struct Published {
    const char* name;
    const GridTable& grid;
    const char* sha256;
  };
  const Published published[] = {
      {"IQ2_XXS", kGridIq2Xxs, "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54"},
      {"IQ2_XS", kGridIq2Xs, "06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de"},
      {"IQ2_S", kGridIq2S, "e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88"},
      {"IQ3_XXS", kGridIq3Xxs, "46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d"},
      {"IQ3_S", kGridIq3S, "bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f"},
      {"IQ1_S", kGridIq1S, "07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a"},
  };
  for (const auto& [name, grid, sha256] : published) {
    CAPTURE(name);
    std::vector<std::byte> bytes;
    for (int entry = 0; entry < grid.entries; ++entry)
      for (int j = 0; j < grid.elements; ++j) bytes.push_back(std::bit_cast<std::byte>(grid.value(entry, j)));
    CHECK(sha256_of_bytes(bytes) == sha256);
    CHECK(std::is_sorted(grid.codes, grid.codes + grid.entries, std::less_equal<>()));
  }
}

TEST_CASE("seven stored signs become eight with an even number of minus", "[formats]") {
  for (int stored = 0; stored < 128; ++stored) {
    CHECK((signs_of_seven(stored) & 127) == stored);
    CHECK(std::popcount(static_cast<unsigned>(signs_of_seven(stored))) % 2 == 0);
  }
}
