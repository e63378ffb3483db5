// Files by their SHA-256 in one directory: <sha256> when whole and verified, <sha256>.part while arriving. The least recently
// used go first when the size limit is passed; what the running lease uses is never evicted. A second directory may be
// pre-seeded by hand with files of any name: they are copied in when their hash is asked for.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::agent {

bool is_sha256(std::string_view text);  // 64 lower-case hex digits: also what makes a hash safe as a file name

class ArtifactCache {
 public:
  struct Options {
    std::filesystem::path directory;
    std::filesystem::path seed_directory;                 // empty: none
    std::uint64_t bytes_max = std::uint64_t{64} << 30;
  };
  static Result<ArtifactCache> open(Options options);

  std::optional<std::filesystem::path> find(const std::string& sha256);   // pins it, refreshes its age
  std::filesystem::path partial(const std::string& sha256) const;         // where arriving bytes go
  // Verifies the partial file and makes it a cached one. A wrong hash deletes it: kHashMismatch.
  Result<std::filesystem::path> admit_partial(const std::string& sha256);
  // Moves a file in whose hash the caller has just computed.
  Result<std::filesystem::path> admit(const std::filesystem::path& file, const std::string& sha256);
  void unpin_all() { pinned_.clear(); }
  std::vector<std::string> hashes() const;

 private:
  explicit ArtifactCache(Options options) : options_(std::move(options)) {}
  void evict();
  std::optional<std::filesystem::path> find_seed(const std::string& sha256);

  Options options_;
  std::set<std::string> pinned_;
  std::map<std::filesystem::path, std::string> seed_hashes_;  // computed once per file
};

}  // namespace quantfleet::agent
