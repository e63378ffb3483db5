// Importance matrices: for each weight matrix, the mean squared activation that meets each of its columns. Reads and writes
// the older binary layout (.dat) and the newer one inside a GGUF file.
//   .dat, little-endian: i32 entries; per entry i32 length, name, i32 calls, i32 values, f32 sums[values] (value = sum / calls);
//   then, optionally, i32 chunks, i32 length, name of the data set.
// Layout with an example: docs/formats/importance-matrix.md.  Fuzz: tests/fuzz/fuzz_imatrix.cc
#pragma once

#include "backends/formats/gguf.h"
#include "contract/error.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct ImportanceMatrix {
  struct Entry {
    std::vector<float> mean_square;  // per column; experts one after the other
    std::int32_t calls = 1;          // how many chunks it is the mean of
    std::vector<std::int64_t> tokens = {};  // how many tokens, of each expert or of all; empty: unknown
  };
  std::map<std::string, Entry, std::less<>> entries;  // by the weight's name
  std::int32_t chunks = 0;                            // 0: unknown
  std::string dataset;                                // empty: unknown
  std::vector<std::pair<std::string, std::string>> notes;  // further keys of the GGUF layout
};

Result<ImportanceMatrix> read_importance_matrix(const std::filesystem::path& path);
Result<ImportanceMatrix> parse_importance_matrix(std::span<const std::byte> bytes, std::string_view place);
// Is it one of this model: for some of its tensors, for none that it lacks, with a value for each column (of each expert)?
// Errors: kBadValue, kBadShape with the tensor, without the matrix' place.
Status check_importance_of(const ImportanceMatrix& matrix, const GgufFile& model);
// A path that ends in .gguf gets the GGUF layout, any other the .dat layout; temporary file, sync, rename.
Status write_importance_matrix(const std::filesystem::path& path, const ImportanceMatrix& matrix);

}  // namespace quantfleet
