// SHA-256 by OpenSSL (FIPS 180-4).
#include "backends/formats/file_hash.h"

#include "backends/formats/file_error.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace quantfleet {

namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  }
  void add(const void* data, std::size_t size_bytes) {
    if (EVP_DigestUpdate(context_.get(), data, size_bytes) != 1) throw std::bad_alloc();
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int count = 0;
    if (EVP_DigestFinal_ex(context_.get(), digest, &count) != 1) throw std::bad_alloc();
    std::string text;
    for (unsigned int i = 0; i < count; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return file_error(path, "opening", errno);
  Sha256 hash;
  std::vector<std::byte> buffer(1 << 20);
  for (;;) {
    const ssize_t count = ::read(file, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      ::close(file);
      return file_error(path, "reading", error);
    }
    if (count == 0) break;
    hash.add(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(file);
  return hash.hex();
}

Result<std::string> sha256_of_files(std::span<const std::filesystem::path> paths) {
  if (paths.size() == 1) return sha256_of_file(paths.front());
  std::string all;
  for (const std::filesystem::path& path : paths) {
    const auto hash = sha256_of_file(path);
    if (!hash) return hash;
    all += *hash;
  }
  return sha256_of_bytes(std::as_bytes(std::span(all)));
}

std::string sha256_of_bytes(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

}  // namespace quantfleet
