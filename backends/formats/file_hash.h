// SHA-256 of a file's bytes, in lower-case hexadecimal: the identity of a model, a data set or a report.
#pragma once

#include "contract/error.h"

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace quantfleet {

// Reads the file once in blocks of 1 MiB. Errors: kNotFound, kPermission, kIo, each naming the file.
Result<std::string> sha256_of_file(const std::filesystem::path& path);
// Of one file its hash; of several, a model in parts, the hash over their hashes in this order.
Result<std::string> sha256_of_files(std::span<const std::filesystem::path> paths);
std::string sha256_of_bytes(std::span<const std::byte> bytes);

}  // namespace quantfleet
