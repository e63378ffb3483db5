// What a failed call on a file means: one sentence with the path, and the code that callers act on.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string_view>

namespace quantfleet {

// "PATH: opening failed: Permission denied". kDiskFull, kNotFound, kBadValue (a folder), kPermission or kIo. error: errno.
Error file_error(const std::filesystem::path& path, std::string_view doing, int error);

}  // namespace quantfleet
