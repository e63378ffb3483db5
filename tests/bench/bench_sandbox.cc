// Programs per second that the sandbox runs and marks, one after another and two at a time. Nothing is asserted.
// Run: bench_sandbox [programs]
#include "agent/sandbox/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

using namespace quantfleet;

int main(int argc, char** argv) {
  const int programs = argc > 1 ? std::atoi(argv[1]) : 200;
  const Sandbox sandbox;
  const std::string program = "def f(x):\n x+=7\n x*=x\n return x\nfor i in range(5): print(f(i))\n";
  if (const Status available = sandbox_available(); !available) {
    fmt::print("{}\n", available.error().detail);
    return 4;
  }
  for (const int at_once : {1, 2}) {
    std::atomic<int> next{0}, failed{0};
    std::vector<double> seconds(static_cast<std::size_t>(programs));
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::jthread> threads;
    for (int i = 0; i < at_once; ++i)
      threads.emplace_back([&] {
        for (int n; (n = next++) < programs;) {
          const auto run = sandbox.run_python(program, "");
          failed += !run || run->exit_code != 0 || run->stdout_text != "49\n64\n81\n100\n121\n";
          seconds[static_cast<std::size_t>(n)] = run ? run->seconds : 0;
        }
      });
    threads.clear();
    const double all = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::sort(seconds.begin(), seconds.end());
    fmt::print("{} at a time: {:.0f} programs/s, median {:.1f} ms, {} failed\n", at_once, programs / all, 1e3 * seconds[seconds.size() / 2], failed.load());
  }
}
