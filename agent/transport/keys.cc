#include "agent/transport/keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace quantfleet::agent {
namespace {

constexpr std::string_view kZ85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

// The value of "name = value" in the file, or empty.
std::string value_in(std::ifstream& file, std::string_view name) {
  file.clear();
  file.seekg(0);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t equals = line.find_first_not_of(" \t", name.size());
    if (equals == std::string::npos || line[equals] != '=') continue;
    const std::size_t begin = line.find_first_not_of(" \t", equals + 1);
    if (begin == std::string::npos) return {};
    return line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
  }
  return {};
}

Error cannot(const std::filesystem::path& path, const char* what) {
  const Code code = errno == ENOENT ? Code::kNotFound : errno == EACCES ? Code::kPermission : errno == ENOSPC ? Code::kDiskFull : Code::kIo;
  return {code, fmt::format("{}: cannot {} the key: {}", path.string(), what, std::strerror(errno))};
}

}  // namespace

bool is_z85_key(std::string_view text) {
  return text.size() == 40 && std::ranges::all_of(text, [](char c) { return kZ85.find(c) != std::string_view::npos; });
}

KeyPair make_key_pair() {
  char public_key[41], secret_key[41];
  if (::zmq_curve_keypair(public_key, secret_key) != 0) throw std::runtime_error("this libzmq was built without CURVE");
  return {public_key, secret_key};
}

Result<KeyPair> read_key_pair(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) return cannot(path, "read");
  KeyPair keys{value_in(file, "public"), value_in(file, "secret")};
  if (!is_z85_key(keys.public_z85) || !is_z85_key(keys.secret_z85))
    return Error{Code::kBadValue, fmt::format("{}: expected lines \"public = ...\" and \"secret = ...\" with 40 Z85 characters each", path.string())};
  char derived[41];
  if (::zmq_curve_public(derived, keys.secret_z85.c_str()) != 0 || keys.public_z85 != derived)
    return Error{Code::kBadValue, fmt::format("{}: the public key does not belong to the secret key", path.string())};
  return keys;
}

Status write_key_pair(const std::filesystem::path& path, const KeyPair& keys) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return cannot(path, "write");
  const std::string text = fmt::format("public = {}\nsecret = {}\n", keys.public_z85, keys.secret_z85);
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const Error error = cannot(path, "write");
  ::close(fd);
  if (!written) return error;
  return {};
}

Result<KeyPair> read_or_make_key_pair(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) return read_key_pair(path);
  KeyPair keys = make_key_pair();
  if (Status written = write_key_pair(path, keys); !written) return written.error();
  return keys;
}

Result<std::string> public_key_from(const std::string& key_or_path) {
  if (is_z85_key(key_or_path)) return key_or_path;
  errno = 0;
  std::ifstream file(key_or_path);
  if (!file) return cannot(key_or_path, "read");
  std::string key = value_in(file, "public");
  if (!is_z85_key(key)) {  // or a file with nothing but the key
    file.clear();
    file.seekg(0);
    std::getline(file, key);
  }
  if (!is_z85_key(key)) return Error{Code::kBadValue, fmt::format("{}: no public key of 40 Z85 characters", key_or_path)};
  return key;
}

}  // namespace quantfleet::agent
