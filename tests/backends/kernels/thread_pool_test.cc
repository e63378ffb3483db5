#include "backends/kernels/thread_pool.h"

#include <catch2/catch.hpp>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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

TEST_CASE("whoever is done takes what a slower thread has left", "[thread_pool]") {
  ThreadPool pool(2);
  std::atomic<int> visits{0};
  bool others_did_the_rest = false;
  // One thread holds its first range until all the others are done, which only the other thread can do, but for three ranges that
  // are taken together with the first.
  pool.parallel_for(64, 1, [&](std::int64_t begin, std::int64_t, int thread) {
    if (thread == 0 && begin == 0) {
      for (int i = 0; i < 5000 && visits < 60; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      others_did_the_rest = visits == 60;
    }
    ++visits;
  });
  CHECK(visits == 64);
  CHECK(others_did_the_rest);
}

TEST_CASE("a loop returns when the slowest range is done", "[thread_pool]") {
  ThreadPool pool(2);
  for (int loop = 0; loop < 20; ++loop) {
    std::atomic<int> begun{0}, done{0};
    pool.parallel_for(2, 1, [&](std::int64_t, std::int64_t, int thread) {
      ++begun;
      while (begun < 2) std::this_thread::yield();  // one range for each thread
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ++done;
    });
    REQUIRE(done == 2);
  }
}

TEST_CASE("pinned workers stay on one processor each, the caller on all", "[thread_pool]") {
  cpu_set_t all;
  REQUIRE(::sched_getaffinity(0, sizeof all, &all) == 0);
  const int threads = std::max(2, std::min(4, CPU_COUNT(&all)));
  ThreadPool pool(threads, true);
  std::vector<cpu_set_t> seen(static_cast<std::size_t>(threads));
  std::atomic<int> arrived{0};
  pool.parallel_for(threads, 1, [&](std::int64_t, std::int64_t, int thread) {
    ::sched_getaffinity(0, sizeof(cpu_set_t), &seen[static_cast<std::size_t>(thread)]);
    ++arrived;
    for (int i = 0; i < 20000 && arrived < threads; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // one range each
  });
  REQUIRE(arrived == threads);
  CHECK(CPU_EQUAL(&seen[0], &all));
  for (int t = 1; t < threads; ++t) CHECK(CPU_COUNT(&seen[static_cast<std::size_t>(t)]) == 1);
  if (CPU_COUNT(&all) >= threads && threads >= 3) CHECK(!CPU_EQUAL(&seen[1], &seen[2]));
}
