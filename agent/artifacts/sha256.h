// SHA-256 as 64 lower-case hex digits, of bytes in memory or of a file. Only bytes: what they mean is for others.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace quantfleet::agent {

std::string sha256_hex(std::string_view bytes);
Result<std::string> sha256_hex_of_file(const std::filesystem::path& path);
bool is_sha256_hex(std::string_view text);

}  // namespace quantfleet::agent
