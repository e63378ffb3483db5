// No line of memory is written by all threads. The caller publishes a loop by one number, its generation, which workers only read.
// Each thread has a line of its own with
//   entered  the generation it is working on, 0 when it is outside: the caller, having closed the loop, waits only for those inside,
//            so a worker which the operating system has not woken yet costs nothing. Both sides store first and then look at the other
//            (sequentially consistent): either the worker sees that the loop is closed, or the caller sees the worker.
//   taken    how many ranges of the thread's part of the loop are taken, with the generation in the upper half: a counter of an
//            earlier loop counts as 0, so nobody has to reset it. Others may take from it, too. Up to four ranges are taken at a
//            time: a locked instruction waits for all loads before it, and a range may be a microsecond of reading memory.
#include "backends/kernels/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <cassert>
#include <mutex>
#include <thread>
#include <vector>

namespace quantfleet {
namespace {

constexpr std::int64_t kRangesAtOnce = 4;
constexpr int kSpins = 1000;  // some ten microseconds: the gap between two loops of one layer

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct alignas(64) Line {
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint32_t> entered{0};
};

#if defined(__linux__)
// The `number`-th processor of those this process may use.
void pin_to(int number) {
  cpu_set_t allowed, one;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  number %= std::max(1, CPU_COUNT(&allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed) && number-- == 0) {
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      ::sched_setaffinity(0, sizeof one, &one);  // 0: this thread
      return;
    }
}
#else
void pin_to(int) {}
#endif

}  // namespace

struct ThreadPool::State {
  using Body = std::function<void(std::int64_t, std::int64_t, int)>;

  explicit State(int threads) : lines(static_cast<std::size_t>(threads)) {}

  std::mutex one_loop;  // loops of different callers follow each other
  std::vector<Line> lines;
  std::vector<std::thread> workers;
  std::atomic<bool> stop{false};
  alignas(64) std::atomic<std::uint32_t> generation{0};  // of the latest loop
  alignas(64) std::atomic<std::uint32_t> open{0};        // the loop that may be entered, 0 when there is none
  std::int64_t count = 0;
  std::int64_t grain = 1;
  std::int64_t ranges = 0;
  const Body* body = nullptr;

  std::int64_t part_begin(std::int64_t part) const { return ranges * part / static_cast<std::int64_t>(lines.size()); }

  struct Ranges {
    std::int64_t begin = 0, end = 0;
  };

  // The next ranges of a part; none when all are taken. `now`: the loop's generation.
  Ranges take(std::size_t part, std::uint64_t now) {
    const std::int64_t first = part_begin(static_cast<std::int64_t>(part)), size = part_begin(static_cast<std::int64_t>(part) + 1) - first;
    std::uint64_t seen = lines[part].taken.load(std::memory_order_relaxed);
    for (;;) {
      const std::int64_t taken = seen >> 32 == now ? static_cast<std::int64_t>(seen & 0xffffffffu) : 0;
      if (taken >= size) return {};
      const std::int64_t end = taken + std::clamp<std::int64_t>((size - taken) / 4, 1, kRangesAtOnce);
      if (lines[part].taken.compare_exchange_weak(seen, (now << 32) | static_cast<std::uint64_t>(end), std::memory_order_relaxed))
        return {first + taken, first + end};
    }
  }

  void take_ranges(int thread, std::uint32_t now) {
    const std::size_t parts = lines.size();
    for (std::size_t i = 0; i < parts; ++i) {
      const std::size_t part = (static_cast<std::size_t>(thread) + i) % parts;
      for (Ranges next; (next = take(part, now)).end > 0;)
        for (std::int64_t range = next.begin; range < next.end; ++range) {
          const std::int64_t begin = range * grain;
          (*body)(begin, std::min(count, begin + grain), thread);
        }
    }
  }

  void work(int thread) {
    std::atomic<std::uint32_t>& entered = lines[static_cast<std::size_t>(thread)].entered;
    std::uint32_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i) pause();
      generation.wait(seen, std::memory_order_acquire);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      entered.store(seen);
      if (open.load() == seen) take_ranges(thread, seen);
      entered.store(0);
      entered.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads, bool pin) : state_(std::make_unique<State>(threads)) {
  assert(threads >= 1);
  State* state = state_.get();
  for (int i = 1; i < threads; ++i)
    state->workers.emplace_back([state, i, pin] {
      if (pin) pin_to(i);
      state->work(i);
    });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->generation.fetch_add(1, std::memory_order_acq_rel);
  state_->generation.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain, const State::Body& body) {
  assert(grain >= 1);
  if (count <= 0) return;
  if (state_->workers.empty() || count <= grain) {
    for (std::int64_t begin = 0; begin < count; begin += grain)
      body(begin, count - begin < grain ? count : begin + grain, 0);
    return;
  }
  State& state = *state_;
  const std::lock_guard lock(state.one_loop);
  state.count = count;
  state.grain = grain;
  state.ranges = (count + grain - 1) / grain;
  state.body = &body;
  std::uint32_t now = state.generation.load(std::memory_order_relaxed) + 1;
  if (now == 0) now = 1;  // 0 is "no loop"
  state.open.store(now);
  state.generation.store(now, std::memory_order_release);
  state.generation.notify_all();
  state.take_ranges(0, now);
  state.open.store(0);
  for (std::size_t i = 1; i < state.lines.size(); ++i) {
    std::atomic<std::uint32_t>& entered = state.lines[i].entered;
    for (int spins = 0; entered.load() == now; ++spins) {
      if (spins < kSpins)
        pause();
      else
        entered.wait(now);
    }
  }
}

}  // namespace quantfleet
