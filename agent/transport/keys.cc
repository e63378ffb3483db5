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

std::filesystem::path with(const std::filesystem::path& stem, const char* ending) { return stem.string() + ending; }

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

namespace {

Result<std::string> read_key(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) return cannot(path, "read");
  std::string key;
  file >> key;
  if (!is_z85_key(key)) return Error{Code::kBadValue, fmt::format("{}: expected a key of 40 Z85 characters", path.string())};
  return key;
}

Status write_key(const std::filesystem::path& path, const std::string& key, int mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return cannot(path, "write");
  const std::string text = key + "\n";
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const Error error = cannot(path, "write");
  ::close(fd);
  if (!written) return error;
  return {};
}

}  // namespace

Result<KeyPair> read_key_pair(const std::filesystem::path& stem) {
  const Result<std::string> secret = read_key(with(stem, ".secret"));
  if (!secret) return secret.error();
  char derived[41];
  if (::zmq_curve_public(derived, secret->c_str()) != 0)
    return Error{Code::kBadValue, fmt::format("{}: not a CURVE key", with(stem, ".secret").string())};
  return KeyPair{derived, *secret};
}

Status write_key_pair(const std::filesystem::path& stem, const KeyPair& keys) {
  if (Status written = write_key(with(stem, ".secret"), keys.secret_z85, 0600); !written) return written;
  std::error_code ignored;
  std::filesystem::remove(with(stem, ".public"), ignored);
  return write_key(with(stem, ".public"), keys.public_z85, 0644);
}

Result<KeyPair> read_or_make_key_pair(const std::filesystem::path& stem) {
  if (std::filesystem::exists(with(stem, ".secret"))) return read_key_pair(stem);
  std::error_code why;
  std::filesystem::create_directories(stem.parent_path(), why);
  KeyPair keys = make_key_pair();
  if (Status written = write_key_pair(stem, keys); !written) return written.error();
  return keys;
}

Result<std::string> public_key_from(const std::string& key_or_path) {
  if (is_z85_key(key_or_path)) return key_or_path;
  return read_key(key_or_path);
}

}  // namespace quantfleet::agent
