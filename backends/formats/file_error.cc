#include "backends/formats/file_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace quantfleet {

Error file_error(const std::filesystem::path& path, std::string_view doing, int error) {
  const Code code = error == ENOSPC || error == EDQUOT || error == EFBIG  ? Code::kDiskFull
                    : error == ENOENT || error == ENOTDIR                 ? Code::kNotFound
                    : error == EISDIR                                     ? Code::kBadValue
                    : error == EACCES || error == EPERM || error == EROFS ? Code::kPermission
                                                                          : Code::kIo;
  return Error{code, fmt::format("{}: {} failed: {}", path.string(), doing, std::generic_category().message(error))};
}

}  // namespace quantfleet
