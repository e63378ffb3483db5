#include "cli/standard_output.h"

#include "backends/formats/file_error.h"

#include <cerrno>
#include <cstdio>

namespace quantfleet::cli {
namespace {

Error failed() { return file_error("standard output", "writing", errno ? errno : EIO); }

}  // namespace

void write_out(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) throw BadResult(failed());
}

void flush_out() {
  errno = 0;
  if (std::fflush(stdout) != 0) throw BadResult(failed());
}

Status finish_standard_output() {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) != 0 || failed_before) return failed();
  return {};
}

}  // namespace quantfleet::cli
