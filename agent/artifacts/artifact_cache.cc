#include "agent/artifacts/artifact_cache.h"

#include "backends/formats/file_hash.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;

Error failed(const fs::path& path, std::string_view what, const std::error_code& why) {
  const Code code = why == std::errc::no_space_on_device ? Code::kDiskFull
                    : why == std::errc::permission_denied ? Code::kPermission : Code::kIo;
  return {code, fmt::format("{}: cannot {}: {}", path.string(), what, why.message())};
}

}  // namespace

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<ArtifactCache> ArtifactCache::open(Options options) {
  std::error_code why;
  fs::create_directories(options.directory, why);
  if (why) return failed(options.directory, "create the artifact cache", why);
  return ArtifactCache(std::move(options));
}

fs::path ArtifactCache::partial(const std::string& sha256) const { return options_.directory / (sha256 + ".part"); }

std::optional<fs::path> ArtifactCache::find(const std::string& sha256) {
  if (!is_sha256(sha256)) return std::nullopt;
  const fs::path path = options_.directory / sha256;
  std::error_code why;
  if (!fs::exists(path, why)) return find_seed(sha256);
  fs::last_write_time(path, fs::file_time_type::clock::now(), why);  // age = last use
  pinned_.insert(sha256);
  return path;
}

std::optional<fs::path> ArtifactCache::find_seed(const std::string& sha256) {
  if (options_.seed_directory.empty()) return std::nullopt;
  std::error_code why;
  for (fs::directory_iterator it(options_.seed_directory, why), end; !why && it != end; it.increment(why)) {
    if (!it->is_regular_file()) continue;
    std::string& hash = seed_hashes_[it->path()];
    if (hash.empty()) {
      const Result<std::string> computed = sha256_of_file(it->path());
      hash = computed ? *computed : "unreadable";
    }
    if (hash != sha256) continue;
    fs::copy_file(it->path(), partial(sha256), fs::copy_options::overwrite_existing, why);
    if (why) return std::nullopt;
    const Result<fs::path> admitted = admit_partial(sha256);
    return admitted ? std::optional(*admitted) : std::nullopt;
  }
  return std::nullopt;
}

Result<fs::path> ArtifactCache::admit_partial(const std::string& sha256) {
  const fs::path path = partial(sha256);
  const Result<std::string> hash = sha256_of_file(path);
  if (!hash) return hash.error();
  if (*hash != sha256) {
    std::error_code ignored;
    fs::remove(path, ignored);
    return Error{Code::kHashMismatch, fmt::format("{}: the bytes that arrived have SHA-256 {}", path.string(), *hash)};
  }
  return admit(path, sha256);
}

Result<fs::path> ArtifactCache::admit(const fs::path& file, const std::string& sha256) {
  const fs::path path = options_.directory / sha256;
  std::error_code why;
  fs::rename(file, path, why);
  if (why) return failed(file, "move into the artifact cache", why);
  fs::last_write_time(path, fs::file_time_type::clock::now(), why);
  pinned_.insert(sha256);
  evict();
  return path;
}

void ArtifactCache::evict() {
  struct Cached { fs::file_time_type used; std::uint64_t bytes; fs::path path; };
  std::vector<Cached> all;
  std::uint64_t total = 0;
  std::error_code why;
  for (fs::directory_iterator it(options_.directory, why), end; !why && it != end; it.increment(why)) {
    std::error_code vanished;
    const std::uint64_t bytes = fs::file_size(it->path(), vanished);
    if (vanished) continue;
    total += bytes;
    std::string name = it->path().filename().string();
    if (name.ends_with(".part")) name.resize(name.size() - 5);
    if (!pinned_.contains(name)) all.push_back({fs::last_write_time(it->path(), vanished), bytes, it->path()});
  }
  std::ranges::sort(all, {}, &Cached::used);
  for (const Cached& oldest : all) {
    if (total <= options_.bytes_max) break;
    if (fs::remove(oldest.path, why)) total -= oldest.bytes;
  }
}

std::vector<std::string> ArtifactCache::hashes() const {
  std::vector<std::string> all;
  std::error_code why;
  for (fs::directory_iterator it(options_.directory, why), end; !why && it != end; it.increment(why))
    if (is_sha256(it->path().filename().string())) all.push_back(it->path().filename().string());
  std::ranges::sort(all);
  return all;
}

}  // namespace quantfleet::agent
