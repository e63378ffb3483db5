// The gate is one word: the number of workers inside the current loop, and whether the loop may still be entered. The
// caller closes the gate when no ranges are left and waits only for workers that came in, so a worker which the
// operating system has not woken yet costs nothing.
#include "backends/kernels/thread_pool.h"

#include <atomic>
#include <cassert>
#include <mutex>
#include <thread>
#include <vector>

namespace quantfleet {
namespace {

constexpr std::uint32_t kOpen = 0x80000000u;
constexpr int kSpins = 1000;  // some ten microseconds: the gap between two loops of one layer

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  using Body = std::function<void(std::int64_t, std::int64_t, int)>;

  std::mutex one_loop;  // loops of different callers follow each other
  std::vector<std::thread> workers;
  alignas(64) std::atomic<std::uint32_t> generation{0};
  alignas(64) std::atomic<std::uint32_t> gate{0};
  alignas(64) std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::int64_t count = 0;
  std::int64_t grain = 1;
  const Body* body = nullptr;

  void take_ranges(int thread) {
    for (;;) {
      const std::int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      (*body)(begin, count - begin < grain ? count : begin + grain, thread);
    }
  }

  bool enter() {
    std::uint32_t seen = gate.load(std::memory_order_acquire);
    while (seen & kOpen)
      if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) return true;
    return false;
  }

  void work(int thread) {
    std::uint32_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen; ++i) pause();
      generation.wait(seen, std::memory_order_acquire);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      if (!enter()) continue;
      take_ranges(thread);
      if (gate.fetch_sub(1, std::memory_order_acq_rel) == 1) gate.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  assert(threads >= 1);
  State* state = state_.get();
  for (int i = 1; i < threads; ++i) state->workers.emplace_back([state, i] { state->work(i); });
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
  state.body = &body;
  state.next.store(0, std::memory_order_relaxed);
  state.gate.store(kOpen, std::memory_order_release);
  state.generation.fetch_add(1, std::memory_order_acq_rel);
  state.generation.notify_all();
  state.take_ranges(0);
  std::uint32_t inside = state.gate.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  for (int i = 0; inside != 0; ++i) {
    if (i < kSpins)
      pause();
    else
      state.gate.wait(inside, std::memory_order_acquire);
    inside = state.gate.load(std::memory_order_acquire);
  }
}

}  // namespace quantfleet
