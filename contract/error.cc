#include "contract/error.h"

#include <array>
#include <utility>

namespace quantfleet {
namespace {

struct CodeWords {
  Code code;
  std::string_view name;
  std::string_view sentence;
  int exit_code;
};

constexpr std::array kWords = {
    CodeWords{Code::kTruncated, "truncated", "the data ends before it should", 2},
    CodeWords{Code::kBadMagic, "bad-magic", "not a file of the expected kind", 2},
    CodeWords{Code::kBadVersion, "bad-version", "a version this program does not read", 2},
    CodeWords{Code::kBadShape, "bad-shape", "dimensions that do not fit the format or each other", 2},
    CodeWords{Code::kBadValue, "bad-value", "a value outside its range, or of the wrong type", 2},
    CodeWords{Code::kTooLarge, "too-large", "a size above the limit for it", 2},
    CodeWords{Code::kUnknownFormat, "unknown-format", "no weight format of that name or id", 2},
    CodeWords{Code::kUnknownArchitecture, "unknown-architecture", "no model architecture of that name", 2},
    CodeWords{Code::kUnknownName, "unknown-name", "nothing has that name", 2},
    CodeWords{Code::kUnsupported, "unsupported", "well-formed, but this program or this CPU cannot do it", 2},
    CodeWords{Code::kNonFinite, "non-finite", "a NaN or an infinity where numbers are needed", 2},
    CodeWords{Code::kHashMismatch, "hash-mismatch", "the bytes are not the ones the hash promises", 2},
    CodeWords{Code::kUsage, "usage", "the command line is wrong", 2},
    CodeWords{Code::kNotFound, "not-found", "no such file or directory", 2},
    CodeWords{Code::kPermission, "permission", "the operating system said no", 4},
    CodeWords{Code::kDiskFull, "disk-full", "no space left", 4},
    CodeWords{Code::kIo, "io", "reading or writing failed", 4},
    CodeWords{Code::kAddressInUse, "address-in-use", "the port is taken", 4},
    CodeWords{Code::kUnreachable, "unreachable", "nobody answers at the other end", 4},
    CodeWords{Code::kNotAdmitted, "not-admitted", "the key is not on the list of admitted agents", 4},
    CodeWords{Code::kSandboxUnavailable, "sandbox-unavailable", "generated code cannot be isolated here", 4},
    CodeWords{Code::kOutOfMemory, "out-of-memory", "an allocation failed, or the process was killed for memory", 4},
    CodeWords{Code::kTimeout, "timeout", "longer than the limit for it", 1},
    CodeWords{Code::kCrashed, "crashed", "the child process died", 1},
    CodeWords{Code::kCancelled, "cancelled", "somebody asked to stop", 1},
    CodeWords{Code::kInterrupted, "interrupted", "interrupted", 130},
};

const CodeWords& words_of(Code code) { return kWords[static_cast<std::size_t>(code)]; }

constexpr bool in_order() {
  for (std::size_t i = 0; i < kWords.size(); ++i)
    if (kWords[i].code != static_cast<Code>(i)) return false;
  return true;
}
static_assert(in_order(), "one row per Code, in the enum's order");

}  // namespace

std::string_view name_of(Code code) { return words_of(code).name; }
std::string_view sentence_of(Code code) { return words_of(code).sentence; }
int exit_code(Code code) { return words_of(code).exit_code; }

bool code_from_name(std::string_view name, Code& code) {
  for (const CodeWords& words : kWords) {
    if (words.name != name) continue;
    code = words.code;
    return true;
  }
  return false;
}

Error at(std::string_view place, Error error) {
  const std::string before = std::string(place) + ": ";
  if (!error.detail.starts_with(before)) error.detail.insert(0, before);
  return error;
}

BadResult::BadResult(Error e)
    : std::logic_error(std::string(name_of(e.code)) + ": " + e.detail), error(std::move(e)) {}

void throw_exception_from_error(const Error& error, const boost::source_location&) { throw BadResult(error); }

}  // namespace quantfleet
