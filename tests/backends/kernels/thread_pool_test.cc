#include "backends/kernels/thread_pool.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

using namespace quantfleet;

TEST_CASE("a loop visits every index once, in ranges no longer than the grain", "[thread_pool]") {
  const int threads = GENERATE(1, 2, 5);
  const std::int64_t count = GENERATE(0, 1, 7, 64, 1000);
  const std::int64_t grain = GENERATE(1, 3, 100);
  ThreadPool pool(threads);
  CAPTURE(threads, count, grain);
  REQUIRE(pool.threads() == threads);
  std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
  std::atomic<bool> in_bounds{true};
  pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    if (end - begin > grain || begin >= end || thread < 0 || thread >= threads) in_bounds = false;
    for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  CHECK(in_bounds);
  bool once = true;
  for (const auto& v : visits) once = once && v == 1;
  CHECK(once);
}

TEST_CASE("many short loops follow each other without losing a range", "[thread_pool]") {
  ThreadPool pool(4);
  std::atomic<std::int64_t> sum{0};
  for (int loop = 0; loop < 3000; ++loop)
    pool.parallel_for(9, 2, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
  CHECK(sum == 3000 * 9);
}

TEST_CASE("callers on several threads take turns", "[thread_pool]") {
  ThreadPool pool(3);
  std::atomic<std::int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&] {
      for (int loop = 0; loop < 200; ++loop)
        pool.parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    });
  for (auto& caller : callers) caller.join();
  CHECK(sum == 3 * 200 * 10);
}
