#include "coordinator/transport/keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace quantfleet::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kZ85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

Error cannot(const fs::path& path, const char* doing) {
  const Code code = errno == ENOENT              ? Code::kNotFound
                    : errno == EACCES || errno == EPERM ? Code::kPermission
                    : errno == ENOSPC            ? Code::kDiskFull
                                                 : Code::kIo;
  return {code, fmt::format("{}: cannot be {}: {}", path.string(), doing, std::strerror(errno))};
}

Result<std::string> read_key(const fs::path& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) return cannot(path, "read");
  std::string key;
  file >> key;
  if (!is_z85_key(key)) return Error{Code::kBadValue, fmt::format("{}: expected a key of 40 Z85 characters", path.string())};
  return key;
}

}  // namespace

bool is_z85_key(std::string_view text) {
  return text.size() == 40 && std::ranges::all_of(text, [](char c) { return kZ85.find(c) != std::string_view::npos; });
}

Status write_small_file(const fs::path& file, std::string_view text, int mode) {
  std::error_code unknown;
  const fs::path place = fs::is_symlink(file, unknown) ? fs::weakly_canonical(file) : file;  // a link stays, its target is replaced
  const fs::path temporary = place.string() + ".new";
  ::unlink(temporary.c_str());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return cannot(temporary, "written");
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const Error error = cannot(temporary, "written");
  ::close(fd);
  if (!written) return error;
  if (::rename(temporary.c_str(), place.c_str()) != 0) return cannot(file, "written");
  return {};
}

std::string random_token() {
  unsigned char bytes[32];
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) throw std::runtime_error("no random bytes");
  std::string token;
  for (const unsigned char byte : bytes) token += fmt::format("{:02x}", byte);
  return token;
}

Result<KeyPair> new_key_pair(const fs::path& folder, const std::string& name) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path secret_file = folder / (name + ".secret");
  if (fs::exists(secret_file))
    return Error{Code::kUsage, fmt::format("{}: exists already; a secret is never overwritten", secret_file.string())};
  char public_key[41], secret_key[41];
  do {  // one key in 85 begins with "-", which every command line takes for an option
    if (::zmq_curve_keypair(public_key, secret_key) != 0) throw std::runtime_error("this libzmq was built without CURVE");
  } while (public_key[0] == '-');
  if (const Status s = write_small_file(secret_file, std::string(secret_key) + "\n", 0600); !s) return s.error();
  if (const Status s = write_small_file(folder / (name + ".public"), std::string(public_key) + "\n", 0644); !s) return s.error();
  return KeyPair{public_key, secret_key};
}

Result<KeyPair> read_key_pair(const fs::path& folder, const std::string& name) {
  const fs::path file = folder / (name + ".secret");
  const Result<std::string> secret = read_key(file);
  if (!secret) return secret.error();
  char derived[41];
  if (::zmq_curve_public(derived, secret->c_str()) != 0)
    return Error{Code::kBadValue, fmt::format("{}: is not a CURVE key", file.string())};
  return KeyPair{derived, *secret};
}

Result<std::string> public_key_from(const std::string& key_or_file) {
  if (is_z85_key(key_or_file)) return key_or_file;
  if (key_or_file.ends_with(".secret"))
    return Error{Code::kUsage, fmt::format("{}: is a secret; the .public file beside it is meant to be shown", key_or_file)};
  return read_key(key_or_file);
}

Result<TrustedKeys> read_trusted_keys(const fs::path& path) {
  TrustedKeys keys;
  std::ifstream file(path);
  if (!file) {
    if (!fs::exists(path)) return keys;
    errno = EACCES;
    return cannot(path, "read");
  }
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    const std::string key = line.substr(0, line.find(' '));
    if (is_z85_key(key)) {  // '#' is a Z85 digit: only lines that do not begin with a key can be comments
      keys[key] = line.size() > 41 ? line.substr(41) : "";
    } else if (!line.empty() && line[0] != '#') {
      return Error{Code::kBadValue, fmt::format("{}:{}: expected a public key of 40 Z85 characters, a space and a name", path.string(), number)};
    }
  }
  return keys;
}

Status trust_key(const fs::path& file, const std::string& public_z85, const std::string& name) {
  if (!is_z85_key(public_z85)) return Error{Code::kBadValue, "expected a public key of 40 Z85 characters"};
  if (name.find_first_of("\r\n") != std::string::npos || name.size() > 64)
    return Error{Code::kBadValue, "the name of a key is one line of at most 64 characters"};
  const Result<TrustedKeys> keys = read_trusted_keys(file);
  if (!keys) return keys.error();
  if (keys->contains(public_z85)) return {};
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  std::string whole = fs::exists(file) ? text.str() : "# One agent a line: public key, name.\n";
  if (!whole.empty() && whole.back() != '\n') whole += '\n';
  return write_small_file(file, whole + public_z85 + " " + name + "\n", 0640);
}

}  // namespace quantfleet::coordinator
