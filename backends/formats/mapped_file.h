// A whole file, mapped for reading. A file that another program shortens meanwhile ends the process with SIGBUS.
#pragma once

#include "contract/error.h"

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

namespace quantfleet {

class MappedFile {
 public:
  // expected: "a GGUF file", for the sentence about what is not a regular file.  Errors: kNotFound, kPermission, kIo, kBadValue.
  static Result<MappedFile> open(const std::filesystem::path& path, std::string_view expected);

  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();
  std::span<const std::byte> bytes() const { return bytes_; }

  // Gives the whole pages inside `bytes`, which belong to some mapped file, back to the system: they would be read again.
  static void forget(std::span<const std::byte> bytes);

 private:
  MappedFile() = default;
  std::span<const std::byte> bytes_;
};

}  // namespace quantfleet
