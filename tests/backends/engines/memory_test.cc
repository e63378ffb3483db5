// What the system and its control groups leave to this process, read from made-up /proc and /sys trees; and models that do not fit.
#include "backends/engines/memory.h"
#include "tests/backends/engines/engine_answers.h"

#include <cstdlib>
#include <fstream>

namespace quantfleet {
namespace {

using namespace test;

struct Tree {
  Folder folder;
  fs::path root = folder.path / "tree";
  ~Tree() { fs::remove_all(root); }
  void put(const std::string& path, const std::string& text) const {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
};

TEST_CASE("memory is what the system has available, or less where a control group says so", "[engines]") {
  const Tree tree;
  CHECK(available_memory_bytes(tree.root) == 0);
  tree.put("proc/meminfo", "MemTotal:       16000 kB\nMemFree:  1 kB\nMemAvailable:    8000 kB\n");
  CHECK(available_memory_bytes(tree.root) == 8000 * 1024);
  SECTION("version 2, a limit above the own group") {
    tree.put("proc/self/cgroup", "0::/lab/runner\n");
    tree.put("sys/fs/cgroup/lab/runner/memory.max", "max\n");
    tree.put("sys/fs/cgroup/lab/runner/memory.current", "100\n");
    tree.put("sys/fs/cgroup/lab/memory.max", "5000000\n");
    tree.put("sys/fs/cgroup/lab/memory.current", "3000000\n");
    tree.put("sys/fs/cgroup/lab/memory.stat", "anon 7\ninactive_file 1000000\n");
    CHECK(available_memory_bytes(tree.root) == 3000000);
    tree.put("sys/fs/cgroup/lab/runner/memory.max", "1100\n");
    CHECK(available_memory_bytes(tree.root) == 1000);
    tree.put("sys/fs/cgroup/lab/runner/memory.current", "2000\n");
    CHECK(available_memory_bytes(tree.root) == 0);
  }
  SECTION("version 1") {
    tree.put("proc/self/cgroup", "7:cpu:/x\n4:hugetlb,memory:/job\n");
    tree.put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4000000\n");
    tree.put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000000\n");
    CHECK(available_memory_bytes(tree.root) == 3000000);
  }
}

TEST_CASE("a model larger than memory is refused with the numbers before it is loaded", "[engines]") {
  EngineOptions options;
  options.model = model(shape_of("Q8_0"));
  ::setenv("QUANTFLEET_MEMORY_BYTES", "100000", 1);
  const auto refused = NativeEngine::open(options);
  ::unsetenv("QUANTFLEET_MEMORY_BYTES");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Code::kOutOfMemory);
  CAPTURE(refused.error().detail);
  CHECK(refused.error().detail.find("0.1 MB of memory") != std::string::npos);
  const auto opened = NativeEngine::open(options);
  REQUIRE(opened.has_value());
  // The estimate is of the size that the weights then have.
  CHECK(refused.error().detail.find(fmt::format("weights {:.1f} MB", static_cast<double>((*opened)->info().weights_bytes) / 1e6)) != std::string::npos);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitizer = true;  // its own memory is more than the model's
#elif defined(__has_feature)
constexpr bool kSanitizer = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitizer = false;
#endif

// Of /proc/self/status, in bytes: VmRSS now, VmHWM at most since the last write of 5 to /proc/self/clear_refs.
double resident_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stod(line.substr(key.size() + 1)) * 1024;
  return 0;
}

TEST_CASE("pages of the program that are as in its file are given back, and come again when they are used", "[engines]") {
  const double before = resident_bytes("RssFile");
  if (before == 0) return;  // no such line before Linux 4.5
  give_back_memory();
  const double behind = resident_bytes("RssFile");
  CHECK(behind < 0.8 * before);
  CHECK(available_memory_bytes() > 0);
}

TEST_CASE("a model takes the memory of its weights, its keys and values, and five per cent", "[engines]") {
  RandomModel shape = shape_of("Q8_0");
  shape.width = 1024, shape.feed_forward = 2816, shape.layers = 6, shape.heads = 16, shape.kv_heads = 4;
  EngineOptions options;
  options.model = model(shape);
  if (std::ofstream clear("/proc/self/clear_refs"); kSanitizer || !(clear << "5" << std::flush)) {
    WARN("skipped: resident memory cannot be told apart here");
    return;
  }
  const double before = resident_bytes("VmRSS");
  const auto opened = NativeEngine::open(options).value();
  answers(*opened, {Loglikelihood{"a", {"bc", "the"}}, Generate{"tok9", {}, 4, 0, 0}});
  const double most = resident_bytes("VmHWM") - before, stays = resident_bytes("VmRSS") - before;
  const double needed = static_cast<double>(opened->info().weights_bytes) + static_cast<double>(opened->kv_cache_bytes());
  const double largest = 2.0 * shape.width * shape.feed_forward * 34 / 32;  // gate and up, beside each other while they are packed
  const double fixed = 3e6;  // what does not grow with the model: touched pages of libraries, the vocabulary, buffers of a few tokens
  CAPTURE(most, stays, needed, largest);
  REQUIRE(needed > 6e7);
  CHECK(stays <= 1.05 * needed + fixed);
  CHECK(most <= 1.05 * needed + fixed + largest);
}

}  // namespace
}  // namespace quantfleet
