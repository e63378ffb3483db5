#include "coordinator/artifacts/artifact_directory.h"

#include "contract/messages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace quantfleet::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUploadsMax = 256;

Error system_error(const fs::path& path, std::string_view doing) {
  const int number = errno;
  Code code = Code::kIo;
  if (number == ENOENT) code = Code::kNotFound;
  if (number == EACCES || number == EPERM || number == EROFS) code = Code::kPermission;
  if (number == ENOSPC || number == EDQUOT) code = Code::kDiskFull;
  return {code, fmt::format("{}: {}: {}", path.string(), doing, std::strerror(number))};
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_DigestFinal_ex(context_, digest, &length);
    std::string text;
    for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  EVP_MD_CTX* context_;
};

bool is_hash(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

struct ArtifactDirectory::Upload {
  std::mutex mutex;
  fs::path path;
  Descriptor file;
  Sha256 hash;
  std::uint64_t written = 0;
  std::uint64_t size_bytes = 0;
  ~Upload() {
    if (!path.empty()) ::unlink(path.c_str());
  }
};

ArtifactDirectory::ArtifactDirectory(fs::path root) : root_(std::move(root)) {}
ArtifactDirectory::~ArtifactDirectory() = default;

Result<std::unique_ptr<ArtifactDirectory>> ArtifactDirectory::open(const fs::path& root) {
  std::error_code error;
  fs::remove_all(root / "incoming", error);  // left by a process that died: its uploads start again
  fs::create_directories(root / "incoming", error);
  if (error) {
    errno = error.value();
    return system_error(root, "creating the artifact directory");
  }
  return std::unique_ptr<ArtifactDirectory>(new ArtifactDirectory(root));
}

fs::path ArtifactDirectory::path_of(std::string_view sha256) const { return root_ / std::string(sha256); }

bool ArtifactDirectory::contains(std::string_view sha256) const { return size_bytes(sha256).has_value(); }

std::optional<std::uint64_t> ArtifactDirectory::size_bytes(std::string_view sha256) const {
  if (!is_hash(sha256)) return std::nullopt;
  struct stat status {};
  if (::stat(path_of(sha256).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::string> ArtifactDirectory::read(std::string_view sha256, std::uint64_t offset, std::size_t count) const {
  if (!is_hash(sha256)) return Error{Code::kBadValue, "expected a SHA-256 in 64 lower-case hex digits"};
  const fs::path path = path_of(sha256);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return Error{Code::kNotFound, fmt::format("no artifact {}", sha256)};
    return system_error(path, "opening");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return system_error(path, "reading its size");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (offset > size) return Error{Code::kBadValue, fmt::format("offset {} lies past the end of artifact {} ({} bytes)", offset, sha256, size)};
  std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(count, size - offset)), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return system_error(path, "reading");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

Result<bool> ArtifactDirectory::write(std::string_view writer, std::string_view sha256, std::uint64_t offset,
                                      std::uint64_t size_bytes, std::string_view bytes) {
  if (!is_hash(sha256)) return Error{Code::kBadValue, "expected a SHA-256 in 64 lower-case hex digits"};
  if (contains(sha256)) return true;
  if (offset > size_bytes || bytes.size() > size_bytes - offset)
    return Error{Code::kBadValue, fmt::format("{} bytes at offset {} do not fit an artifact of {} bytes", bytes.size(), offset, size_bytes)};
  const std::string key = std::string(writer) + "/" + std::string(sha256);
  std::shared_ptr<Upload> upload;
  {
    const std::scoped_lock lock(mutex_);
    std::shared_ptr<Upload>& slot = uploads_[key];
    if (!slot || (offset == 0 && slot->size_bytes != size_bytes)) {
      if (uploads_.size() > kUploadsMax) {
        uploads_.erase(key);
        return Error{Code::kTooLarge, fmt::format("more than {} uploads at once", kUploadsMax)};
      }
      slot = std::make_shared<Upload>();
      slot->size_bytes = size_bytes;
    }
    upload = slot;
  }
  const std::scoped_lock lock(upload->mutex);
  if (upload->path.empty()) {
    static std::atomic<unsigned> serial{0};
    upload->path = root_ / "incoming" / fmt::format("{}.{}", sha256, serial++);
    upload->file.reset(::open(upload->path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (upload->file.get() < 0) return system_error(upload->path, "creating");
  }
  if (offset > upload->written)
    return Error{Code::kBadValue, fmt::format("a gap: offset {} after {} bytes of artifact {}", offset, upload->written, sha256)};
  if (offset + bytes.size() > upload->written) {
    const std::string_view fresh = bytes.substr(static_cast<std::size_t>(upload->written - offset));
    std::size_t done = 0;
    while (done < fresh.size()) {
      const ssize_t put = ::pwrite(upload->file.get(), fresh.data() + done, fresh.size() - done, static_cast<off_t>(upload->written + done));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) {
        const Error error = system_error(upload->path, "writing an artifact");
        abandon(writer, sha256);
        return error;
      }
      done += static_cast<std::size_t>(put);
    }
    upload->hash.add(fresh);
    upload->written += fresh.size();
  }
  if (upload->written < upload->size_bytes) return false;
  const Status finished = finish(*upload, sha256);
  abandon(writer, sha256);
  if (!finished) return finished.error();
  return true;
}

Status ArtifactDirectory::finish(Upload& upload, std::string_view sha256) {
  const std::string hash = upload.hash.hex();
  if (hash != sha256) return Error{Code::kHashMismatch, fmt::format("the bytes hash to {}, not to {}", hash, sha256)};
  if (::fsync(upload.file.get()) != 0) return system_error(upload.path, "writing an artifact to disk");
  if (::rename(upload.path.c_str(), path_of(sha256).c_str()) != 0) return system_error(upload.path, "renaming");
  upload.path.clear();
  const Descriptor directory(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
  return {};
}

void ArtifactDirectory::abandon(std::string_view writer, std::string_view sha256) {
  const std::scoped_lock lock(mutex_);
  uploads_.erase(std::string(writer) + "/" + std::string(sha256));
}

Status ArtifactDirectory::adopt(const fs::path& file, std::string_view sha256) {
  const Descriptor input(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (input.get() < 0) return system_error(file, "opening");
  struct stat status {};
  if (::fstat(input.get(), &status) != 0) return system_error(file, "reading its size");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string chunk(kChunkBytes, '\0');
  std::uint64_t offset = 0;
  const std::string writer = fmt::format("adopt:{}", file.string());
  while (true) {
    const ssize_t got = ::read(input.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(file, "reading");
    const Result<bool> whole = write(writer, sha256, offset, size, std::string_view(chunk).substr(0, static_cast<std::size_t>(got)));
    if (!whole) return whole.error();
    if (*whole) return {};
    if (got == 0) return Error{Code::kTruncated, fmt::format("{}: shrank while it was read", file.string())};
    offset += static_cast<std::uint64_t>(got);
  }
}

Result<std::string> sha256_of_file(const fs::path& file) {
  const Descriptor input(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (input.get() < 0) return system_error(file, "opening");
  Sha256 hash;
  std::string chunk(kChunkBytes, '\0');
  while (true) {
    const ssize_t got = ::read(input.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(file, "reading");
    if (got == 0) return hash.hex();
    hash.add(std::string_view(chunk).substr(0, static_cast<std::size_t>(got)));
  }
}

}  // namespace quantfleet::coordinator
