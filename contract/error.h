// What can go wrong, in one enum with a sentence per value, and Result<T>, which carries either a value or an Error.
// `detail` is one clear sentence for a person: what, where (file, line, field or byte offset) and what was expected.
// The exit code of a program follows from the Code (see exit_code).
#pragma once

#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace quantfleet {

enum class Code {
  // Bad input: the file, the plan, the message or the command line is wrong.       exit code 2
  kTruncated,            // the data ends before it should
  kBadMagic,             // not a file of the expected kind
  kBadVersion,           // a version this program does not read
  kBadShape,             // dimensions that do not fit the format or each other
  kBadValue,             // a value outside its range, or of the wrong type
  kTooLarge,             // a size above the limit for it
  kUnknownFormat,        // no weight format of that name or id
  kUnknownArchitecture,  // no model architecture of that name
  kUnknownName,          // no suite, scorer, run, engine, device ... of that name
  kUnsupported,          // well-formed, but this program or this CPU cannot do it
  kNonFinite,            // a NaN or an infinity where numbers are needed
  kHashMismatch,         // the bytes are not the ones the hash promises
  kUsage,                // the command line is wrong
  // The environment.                                                                exit code 4
  kNotFound,             // no such file or directory                              (exit code 2: the name is input)
  kPermission,           // the operating system said no
  kDiskFull,             // no space left
  kIo,                   // reading or writing failed for another reason
  kAddressInUse,         // the port is taken
  kUnreachable,          // nobody answers at the other end
  kNotAdmitted,          // the key is not on the list of admitted agents
  kSandboxUnavailable,   // generated code cannot be isolated here
  kOutOfMemory,          // an allocation failed, or the kernel killed the process for memory
  // A measurement failed: stored as data with the item.
  kTimeout,              // longer than the limit for it
  kCrashed,              // the child process died
  kCancelled,            // somebody asked to stop
  kInterrupted,          // Ctrl-C                                                   exit code 130
};

std::string_view name_of(Code code);       // "bad-value": stable, stored in databases and messages
std::string_view sentence_of(Code code);   // "a value outside its range, or of the wrong type"
bool code_from_name(std::string_view name, Code& code);  // false when unknown; `code` is then untouched
int exit_code(Code code);                  // 2, 4 or 130, as listed above; 1 for a failed measurement

struct Error {
  Code code{};
  std::string detail;

  bool operator==(const Error&) const = default;
};

// "PATH: DETAIL": adds a place where it is known; nothing where the detail begins with it already.
Error at(std::string_view place, Error error);

// What a Result throws when value() is asked of an error: only our bugs get here.
class BadResult : public std::logic_error {
 public:
  explicit BadResult(Error error);
  const Error error;
};
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

template <class T>
using Result = boost::system::result<T, Error>;
using Status = Result<void>;

}  // namespace quantfleet
