#include "backends/formats/mapped_file.h"

#include "backends/formats/file_error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace quantfleet {

Result<MappedFile> MappedFile::open(const std::filesystem::path& path, std::string_view expected) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return file_error(path, "opening", errno);
  struct stat status {};
  if (::fstat(file, &status) != 0) {
    const int error = errno;
    ::close(file);
    return file_error(path, "reading its size", error);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(file);
    return Error{Code::kBadValue, fmt::format("{}: expected {}, this is not a regular file", path.string(), expected)};
  }
  MappedFile mapping;
  if (status.st_size > 0) {
    void* address = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    const int error = errno;
    ::close(file);
    if (address == MAP_FAILED) return file_error(path, "mapping", error);
    mapping.bytes_ = {static_cast<const std::byte*>(address), static_cast<std::size_t>(status.st_size)};
  } else {
    ::close(file);
  }
  return mapping;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::forget(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace quantfleet
