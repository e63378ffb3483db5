// Where this checkout, its build and the shared data are. Only paths.cc is compiled with these names, so that a compiler
// cache serves every checkout.
#pragma once

#include <filesystem>

namespace quantfleet::test {

std::filesystem::path source_dir();
std::filesystem::path binary_dir();
std::filesystem::path shared_default();  // ../shared beside the checkout

}  // namespace quantfleet::test
