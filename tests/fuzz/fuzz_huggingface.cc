// Any bytes as a Hugging Face folder: config.json, tokenizer.json and model.safetensors, divided by lines "-----". A model or
// one sentence; every row of what is accepted can be made.
#include "backends/huggingface/checkpoint.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  static const std::filesystem::path folder = [] {
    const auto path = std::filesystem::temp_directory_path() / ("fuzz_huggingface_" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
    return path;
  }();
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    constexpr std::string_view kLine = "\n-----\n";
    const std::size_t end = rest.find(kLine);
    std::ofstream(folder / name, std::ios::binary) << rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + kLine.size());
  }
  const auto file = open_model_file(folder);
  if (!file) {
    if (file.error().detail.empty()) __builtin_trap();
    return 0;
  }
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : (*file)->tensors())
    if ((*file)->rows(tensor, 0, tensor.rows(), buffer).size() != tensor.size_bytes()) __builtin_trap();
  return 0;
}
