// A file that is being written: bytes are gathered to a megabyte, the disk begins at once, errors name the path.
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
  ~OutputFile();                                    // closes; what was put and not flushed is lost
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Takes what open() and its like gave; below 0: the error of errno.
  Status take(int descriptor, std::string_view doing);
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

  Status put(const void* data, std::size_t size);
  Status flush();
  // Flush, sync to the disk, close.
  Status finish();
  Error failed(std::string_view doing) const;  // by errno

 private:
  Status write_out(const char* data, std::size_t size);

  std::filesystem::path path_;
  std::string buffer_;
  int descriptor_ = -1;
};

}  // namespace quantfleet
