#include "backends/formats/output_file.h"

#include "backends/formats/file_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace quantfleet {

namespace {
constexpr std::size_t kBufferBytes = 1 << 20;
}

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) { buffer_.reserve(kBufferBytes); }

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Error OutputFile::failed(std::string_view doing) const { return file_error(path_, doing, errno); }

Status OutputFile::take(int descriptor, std::string_view doing) {
  if (descriptor < 0) return failed(doing);
  descriptor_ = descriptor;
  return {};
}

Status OutputFile::put(const void* data, std::size_t size) {
  if (buffer_.size() + size > kBufferBytes)
    if (Status status = flush(); !status) return status;
  if (size > kBufferBytes) return write_out(static_cast<const char*>(data), size);
  buffer_.append(static_cast<const char*>(data), size);
  return {};
}

Status OutputFile::flush() {
  Status status = write_out(buffer_.data(), buffer_.size());
  buffer_.clear();
  return status;
}

Status OutputFile::write_out(const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::write(descriptor_, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return file_error(path_, "writing", count < 0 ? errno : EIO);
    data += count;
    size -= static_cast<std::size_t>(count);
  }
  ::sync_file_range(descriptor_, 0, 0, SYNC_FILE_RANGE_WRITE);  // the disk begins now, not at the sync; failure changes only the speed
  return {};
}

Status OutputFile::finish() {
  if (Status status = flush(); !status) return status;
  if (::fsync(descriptor_) != 0) return failed("syncing");
  if (::close(std::exchange(descriptor_, -1)) != 0) return failed("closing");
  return {};
}

}  // namespace quantfleet
