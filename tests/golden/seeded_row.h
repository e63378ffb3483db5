// The seeded row behind tests/golden/encoded_rows.tsv: 256 values with a few outliers, and an importance for each. Integer
// arithmetic and exact divisions only, so every compiler makes the same row.
#pragma once

#include <cstdint>
#include <vector>

namespace quantfleet::test {

struct SeededRow {
  std::vector<float> values, importance;
};

inline SeededRow seeded_row() {
  SeededRow row;
  std::uint64_t state = 20240229;
  const auto draw = [&state] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::int32_t>(state >> 40) - (1 << 23);  // -2^23 .. 2^23 - 1
  };
  for (int i = 0; i < 256; ++i) {
    const std::int64_t sum = (static_cast<std::int64_t>(draw()) + draw() + draw()) / 4;  // roughly bell-shaped
    const float scale = i % 97 == 5 ? 1.0f / (1 << 22) : 1.0f / (1 << 26);
    row.values.push_back(static_cast<float>(sum) * scale);
    row.importance.push_back(static_cast<float>((draw() & 0xffff) + 1) / 4096.0f);
  }
  return row;
}

}  // namespace quantfleet::test
