#include "contract/twins.h"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace quantfleet {
namespace {
constexpr char kMark = '~';  // in no suite's own name
}

bool has_twins(std::string_view suite) {
  return std::find(std::begin(kSuitesWithTwins), std::end(kSuitesWithTwins), suite) != std::end(kSuitesWithTwins);
}

std::string twin_name(std::string_view original, std::uint64_t seed) { return std::string(original) + kMark + std::to_string(seed); }

bool is_twin(std::string_view suite) { return suite.find(kMark) != std::string_view::npos; }

bool read_twin_name(std::string_view suite, TwinName& name) {
  const std::size_t mark = suite.find(kMark);
  if (mark == std::string_view::npos || !has_twins(suite.substr(0, mark))) return false;
  const char* end = suite.data() + suite.size();
  const auto [stop, error] = std::from_chars(suite.data() + mark + 1, end, name.seed);
  if (error != std::errc{} || stop != end || twin_name(suite.substr(0, mark), name.seed) != suite) return false;
  name.original = suite.substr(0, mark);
  return true;
}

}  // namespace quantfleet
