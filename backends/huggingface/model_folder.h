// The files of a Hugging Face folder: those of a directory, or of one archive that holds them, read where they lie.
// An archive is an uncompressed tar file (POSIX.1-1988 ustar: blocks of 512 bytes, a header before each file), with or without one
// folder around the files. Equal folders give equal archives: files in the order of their names, no times, no owners.
// Fuzz: tests/fuzz/fuzz_model_archive.cc
#pragma once

#include "contract/error.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::huggingface {

class ModelFolder {
 public:
  // Errors: kNotFound, kIo; for archives kBadMagic, kTruncated, kBadValue, kUnsupported with the byte.
  static Result<std::shared_ptr<const ModelFolder>> open(const std::filesystem::path& path);
  virtual ~ModelFolder() = default;

  virtual const std::filesystem::path& path() const = 0;      // of the directory or the archive
  virtual std::string name() const = 0;                       // the folder's own
  virtual std::vector<std::string> names() const = 0;         // of its files, ascending
  virtual bool contains(const std::string& name) const = 0;
  // A whole file, valid as long as the folder.  Errors: kNotFound, kPermission, kIo.
  virtual Result<std::span<const std::byte>> bytes(const std::string& name) const = 0;
  // What holds the files of these names: themselves, or the archive.
  virtual std::vector<std::filesystem::path> holders(const std::vector<std::string>& names) const = 0;

  std::string place(std::string_view name) const { return (path() / name).string(); }  // for sentences
};

bool is_model_archive(const std::filesystem::path& path);

// Bytes of an archive to the files in it.  Errors as above, without the path.
Result<std::map<std::string, std::span<const std::byte>>> files_of_archive(std::span<const std::byte> archive, std::string& folder_name);

// Writes the files that belong to a model (JSON, safetensors, tokenizer and template) as an archive around a folder `name`.
// Errors: those of reading and writing; nothing is left on failure.
Status write_model_archive(const ModelFolder& folder, std::string_view name, const std::filesystem::path& archive);

}  // namespace quantfleet::huggingface
