// Reference log-probabilities on disk: what divergence from another model is computed against. Per rolling text one record,
// found by the SHA-256 of its tokens and window, so that a file made from other tokens is refused instead of compared.
// Rows are whole (4 bytes a token of the vocabulary) or in brief (reference_row.h: 96 bytes, whatever the vocabulary).
// Layout, example and damage: docs/formats/reference-logits.md. All numbers little-endian.
#pragma once

#include "backends/engines/reference_row.h"
#include "contract/error.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {

// The identity of a rolling text as it was evaluated.
std::string rolling_key(int context_tokens, std::span<const std::int32_t> tokens);  // 32 bytes

enum class ReferenceRows { kWhole, kBrief };

// What a file says about itself, without reading its rows; to tell it from a model, and to take over its window.
struct ReferenceFacts {
  ReferenceRows rows = ReferenceRows::kBrief;
  int vocabulary_tokens = 0;
  int context_tokens = 0;  // of the first record; 0: there is none
};
bool is_reference_logits(const std::filesystem::path& path);
Result<ReferenceFacts> read_reference_facts(const std::filesystem::path& path);

class ReferenceLogitsWriter {
 public:
  // Replaces what is at `path`. Errors: kPermission, kDiskFull, kIo; kTooLarge: a vocabulary beyond kVocabularyMax in brief.
  static Result<std::unique_ptr<ReferenceLogitsWriter>> create(const std::filesystem::path& path, int vocabulary_tokens, ReferenceRows rows);
  ~ReferenceLogitsWriter();

  // One record: begin, then `count_rows` rows, then finish (written to the system; a record is whole or absent).
  Status begin(const std::string& key, int context_tokens, std::span<const std::int32_t> tokens, std::uint64_t count_rows);
  Status row(std::span<const float> log_probabilities, std::int32_t target);
  Status finish();

 private:
  ReferenceLogitsWriter() = default;
  Status put(const void* bytes, std::size_t size);
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  std::uint64_t rows_left_ = 0;
  std::uint32_t checksum_ = 0;
  std::size_t vocabulary_ = 0;
  ReferenceRows rows_ = ReferenceRows::kWhole;
  std::uint64_t seed_ = 0;
};

class ReferenceLogits {
 public:
  // Reads and checks the header and every record's; rows are read when asked for.
  // Errors: kNotFound, kBadMagic, kBadVersion, kBadShape (another vocabulary), kTruncated, kBadValue.
  static Result<std::unique_ptr<ReferenceLogits>> open(const std::filesystem::path& path, int vocabulary_tokens);
  ~ReferenceLogits();

  // Positions the reader at the first row of a record. kHashMismatch when the file has none for these tokens; kBadShape when
  // it has another number of rows; kHashMismatch when the rows are damaged.
  Status seek(const std::string& key, std::uint64_t count_rows);
  // Compares the next row with a model's log-probabilities; `target`: the token that followed.
  Result<RowDivergence> compare(std::span<const float> model, std::int32_t target);

 private:
  struct Record {
    std::uint64_t offset = 0, count_rows = 0;
    std::uint32_t checksum = 0;
    bool checked = false;
  };
  ReferenceLogits() = default;
  Status check(Record& record);
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  std::size_t vocabulary_ = 0;
  ReferenceRows rows_ = ReferenceRows::kWhole;
  std::vector<float> whole_;
  std::map<std::string, Record> records_;
};

}  // namespace quantfleet
