#include "backends/formats/output_file.h"

#include "backends/formats/file_error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace quantfleet {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr int kLinksMax = 40;  // as the kernel follows

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// What the last name of `path` stands for, also where that does not exist yet.
Result<fs::path> without_links(fs::path path) {
  for (int links = 0; links <= kLinksMax; ++links) {
    std::error_code not_a_link;
    const fs::path next = fs::read_symlink(path, not_a_link);
    if (not_a_link) return path;
    path = next.is_absolute() ? next : folder_of(path) / next;
  }
  return file_error(path, "following the symbolic links", ELOOP);
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) { buffer_.reserve(kBufferBytes); }

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Error OutputFile::failed(std::string_view doing) const { return file_error(path_, doing, errno); }

Status OutputFile::open() {
  struct stat facts {};
  const bool exists = ::stat(path_.c_str(), &facts) == 0;
  if (!path_.has_filename() || (exists && S_ISDIR(facts.st_mode)))
    return Error{Code::kUsage, fmt::format("{}: is a folder; the name of a file is needed", path_.string())};
  if (exists && !S_ISREG(facts.st_mode)) return take(::open(path_.c_str(), O_WRONLY | O_CLOEXEC), "opening");
  auto target = without_links(path_);
  if (!target) return target.error();
  target_ = std::move(*target);
  if (std::error_code none; !fs::exists(folder_of(target_), none))
    return Error{Code::kNotFound, fmt::format("{}: the folder {} does not exist", path_.string(), folder_of(target_).string())};
  std::string name = target_.string() + ".XXXXXX.tmp";
  if (Status status = take(::mkostemps(name.data(), 4, O_CLOEXEC), "creating a temporary file beside it"); !status) return status;
  temporary_ = name;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
  return {};
}

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
  if (::fsync(descriptor_) != 0 && errno != EINVAL) return failed("syncing");  // EINVAL: a device or a FIFO, which has nothing to sync
  if (::close(std::exchange(descriptor_, -1)) != 0) return failed("closing");
  if (temporary_.empty()) return {};
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return failed("renaming the finished file");
  temporary_.clear();
  if (const int folder = ::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);  // makes the rename durable; not every file system can
    ::close(folder);
  }
  return {};
}

Status write_file(const std::filesystem::path& path, std::string_view bytes) {
  OutputFile file(path);
  if (Status status = file.open(); !status) return status;
  if (Status status = file.put(bytes.data(), bytes.size()); !status) return status;
  return file.finish();
}

}  // namespace quantfleet
