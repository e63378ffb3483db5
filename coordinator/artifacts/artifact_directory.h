// Files named by the SHA-256 of their bytes: models, reference logits. A file appears under its name only when it is
// whole, its hash is verified and it has reached the disk; until then it lies in `incoming/`. Thread-safe.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace quantfleet::coordinator {

class ArtifactDirectory {
 public:
  static Result<std::unique_ptr<ArtifactDirectory>> open(const std::filesystem::path& root);

  bool contains(std::string_view sha256) const;
  std::optional<std::uint64_t> size_bytes(std::string_view sha256) const;
  std::filesystem::path path_of(std::string_view sha256) const;   // where it is, or would be
  // Up to `count` bytes from `offset`; fewer at the end. kNotFound, kBadValue (offset past the end), kIo.
  Result<std::string> read(std::string_view sha256, std::uint64_t offset, std::size_t count) const;

  // Chunks of one upload in ascending order; `writer` keeps uploads of the same artifact apart. A chunk at offset 0
  // starts again; one that is already there is ignored; a gap is kBadValue. True: whole, verified, stored.
  Result<bool> write(std::string_view writer, std::string_view sha256, std::uint64_t offset, std::uint64_t size_bytes,
                     std::string_view bytes);
  void abandon(std::string_view writer, std::string_view sha256);
  // Copies (or links) a file whose hash must be `sha256`.
  Status adopt(const std::filesystem::path& file, std::string_view sha256);

 private:
  struct Upload;
  explicit ArtifactDirectory(std::filesystem::path root);
  Status finish(Upload& upload, std::string_view sha256);

 public:
  ~ArtifactDirectory();

 private:
  std::filesystem::path root_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Upload>> uploads_;  // by writer and hash
};

// Of a file's bytes. kNotFound, kPermission, kIo.
Result<std::string> sha256_of_file(const std::filesystem::path& file);

}  // namespace quantfleet::coordinator
