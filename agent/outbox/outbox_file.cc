// The outbox's log as a file. See outbox.h for the layout.
#include "agent/outbox/outbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace quantfleet::agent {
namespace {

constexpr std::size_t kHeadBytes = 8;

// CRC-32 (IEEE 802.3, reflected polynomial EDB88320).
std::uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

std::string framed(std::string_view record) {
  const std::uint32_t head[2] = {static_cast<std::uint32_t>(record.size()), crc32(record)};
  std::string bytes(kHeadBytes, '\0');
  std::memcpy(bytes.data(), head, kHeadBytes);
  bytes += record;
  return bytes;
}

Error failed(const std::filesystem::path& path, const char* what) {
  const Code code = errno == ENOSPC || errno == EDQUOT ? Code::kDiskFull : errno == EACCES ? Code::kPermission : Code::kIo;
  return {code, fmt::format("{}: cannot {} the outbox: {}", path.string(), what, std::strerror(errno))};
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

class OutboxFile : public OutboxLog {
 public:
  OutboxFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~OutboxFile() override { ::close(fd_); }
  OutboxFile(const OutboxFile&) = delete;
  OutboxFile& operator=(const OutboxFile&) = delete;

  Result<std::vector<std::string>> read() override {
    struct stat status{};
    if (::fstat(fd_, &status) != 0) return failed(path_, "read");
    std::string all(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t got = 0;
    while (got < all.size()) {
      const ssize_t n = ::pread(fd_, all.data() + got, all.size() - got, static_cast<off_t>(got));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(path_, "read");
      got += static_cast<std::size_t>(n);
    }
    std::vector<std::string> records;
    std::size_t offset = 0;
    while (all.size() - offset >= kHeadBytes) {
      std::uint32_t head[2];
      std::memcpy(head, all.data() + offset, kHeadBytes);
      if (head[0] > all.size() - offset - kHeadBytes) break;
      const std::string_view record(all.data() + offset + kHeadBytes, head[0]);
      if (crc32(record) != head[1]) break;
      records.emplace_back(record);
      offset += kHeadBytes + head[0];
    }
    if (offset < all.size() && ::ftruncate(fd_, static_cast<off_t>(offset)) != 0) return failed(path_, "cut the torn end of");
    size_ = static_cast<off_t>(offset);
    return records;
  }

  Status append(std::string_view record, bool durable) override {
    const std::string bytes = framed(record);
    if (!write_all(fd_, bytes) || (durable && ::fdatasync(fd_) != 0)) {
      const Error error = failed(path_, "write");
      if (::ftruncate(fd_, size_) != 0) return failed(path_, "undo a torn write of");
      return error;
    }
    size_ += static_cast<off_t>(bytes.size());
    return {};
  }

  Status replace(const std::vector<std::string>& records) override {
    const std::filesystem::path next = path_.string() + ".new";
    const int fd = ::open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return failed(next, "write");
    std::string bytes;
    for (const std::string& record : records) bytes += framed(record);
    if (!write_all(fd, bytes) || ::fdatasync(fd) != 0 || ::flock(fd, LOCK_EX | LOCK_NB) != 0 ||
        ::rename(next.c_str(), path_.c_str()) != 0) {
      const Error error = failed(next, "write");
      ::close(fd);
      ::unlink(next.c_str());
      return error;
    }
    ::close(fd_);
    fd_ = fd;
    size_ = static_cast<off_t>(bytes.size());
    return {};
  }

 private:
  std::filesystem::path path_;
  int fd_;
  off_t size_ = 0;
};

}  // namespace

Result<std::unique_ptr<OutboxLog>> open_outbox_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path, "open");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {  // two agents on one state directory would number results twice
    ::close(fd);
    return Error{Code::kIo, fmt::format("{}: another agent is using this state directory", path.string())};
  }
  return std::unique_ptr<OutboxLog>(std::make_unique<OutboxFile>(path, fd));
}

}  // namespace quantfleet::agent
