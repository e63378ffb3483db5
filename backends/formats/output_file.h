// A file that is being written: bytes are gathered to a megabyte, the disk begins at once, errors name the path.
//
// open() decides what writing to a path means, for every program here that writes a whole file:
//   nothing or a regular file    a temporary file beside it takes its name in finish(): nothing half-written carries the name
//   a symbolic link              stays; the file that it points to is written as above
//   a device, a FIFO, a socket   is written as it is: a rename would put a regular file into its place
//   a folder                     is refused
#pragma once

#include "contract/error.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace quantfleet {

class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);  // what errors name
  ~OutputFile();                                    // closes; what was not finished is gone
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Status open();
  // In place of open(): what ::open() and its like gave, which has its name already; below 0: the error of errno.
  Status take(int descriptor, std::string_view doing);
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }
  // Where the bytes are until finish(): the temporary file, or the device itself.
  const std::filesystem::path& place() const { return temporary_.empty() ? path_ : temporary_; }

  Status put(const void* data, std::size_t size);
  Status flush();
  // Flush, sync to the disk, close; what open() began takes its name.
  Status finish();
  Error failed(std::string_view doing) const;  // by errno

 private:
  Status write_out(const char* data, std::size_t size);

  std::filesystem::path path_, target_, temporary_;  // as given; without links; empty where there is none
  std::string buffer_;
  int descriptor_ = -1;
};

// All of a file at once.
Status write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace quantfleet
