// Any bytes as an archive of a model's folder: files that lie inside the bytes, apart from each other and under plain names, or one sentence.
#include "backends/huggingface/model_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  const std::span<const std::byte> archive(reinterpret_cast<const std::byte*>(data), size);
  std::string folder;
  const auto files = huggingface::files_of_archive(archive, folder);
  if (!files) {
    if (files.error().detail.empty()) __builtin_trap();
    return 0;
  }
  std::size_t sum = 0;
  for (const auto& [name, bytes] : *files) {
    if (name.empty() || name.find('/') != std::string::npos || folder == "..") __builtin_trap();
    if (bytes.data() < archive.data() || bytes.data() + bytes.size() > archive.data() + archive.size()) __builtin_trap();
    sum += bytes.size();
  }
  if (sum > size) __builtin_trap();
  return 0;
}
