#include "backends/kernels/ceilings.h"

#include "backends/kernels/cpu/peak.h"
#include "backends/kernels/cpu_features.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace quantfleet {
namespace {

constexpr std::size_t kBytes = std::size_t(1) << 27;  // for each thread: more than the caches hold
constexpr int kPasses = 4;                            // through them: 20 to 70 ms on a desktop, as long as a token's weights take

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The sum of the threads' rates; all begin together.
double together(int threads, const std::function<double(int)>& rate) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::atomic<int> waiting{threads};
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i)
    running.emplace_back([&, i] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      rates[static_cast<std::size_t>(i)] = rate(i);
    });
  for (std::thread& thread : running) thread.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

}  // namespace

Ceilings larger(const Ceilings& a, const Ceilings& b) {
  return {std::max(a.int8_macs_per_s, b.int8_macs_per_s), std::max(a.f32_fmas_per_s, b.f32_fmas_per_s),
          std::max(a.read_bytes_per_s, b.read_bytes_per_s)};
}

CeilingMeter::CeilingMeter(int threads) : threads_(threads), buffers_(static_cast<std::size_t>(threads)) {
  for (AlignedBuffer& buffer : buffers_) std::memset(buffer.reserve(kBytes), 1, kBytes);
}

Ceilings CeilingMeter::measure() {
  const peak::Loops loops = peak::loops();
  constexpr std::int64_t kRounds = 20'000'000;
  std::atomic<std::int64_t> sink{0};
  const auto rate = [&](double work, const auto& loop) {
    return together(threads_, [&](int thread) {
      const double begin = seconds();
      sink += loop(thread);
      return work / (seconds() - begin);
    });
  };
  const auto bytes = [&](int thread) { return reinterpret_cast<const unsigned char*>(buffers_[static_cast<std::size_t>(thread)].data()); };
  Ceilings ceilings;
  ceilings.int8_macs_per_s = rate(double(kRounds) * loops.int8_per_round, [&](int) { return loops.int8(kRounds); });
  ceilings.f32_fmas_per_s = rate(double(kRounds) * loops.f32_per_round, [&](int) { return loops.f32(kRounds); });
  const auto read_rate = [&](const auto& read) {
    return rate(double(kPasses) * kBytes, [&](int thread) {
      std::int64_t sum = 0;
      for (int pass = 0; pass < kPasses; ++pass) sum += read(bytes(thread), kBytes);
      return sum;
    });
  };
  const double streams = read_rate(loops.read), plain = read_rate(loops.read_plain);
  plain_is_better_ = plain > streams;
  ceilings.read_bytes_per_s = std::max(streams, plain);
  return ceilings;
}

double CeilingMeter::read_for(double duration) {
  const peak::Loops loops = peak::loops();
  const auto read = plain_is_better_ ? loops.read_plain : loops.read;
  std::atomic<std::int64_t> sink{0};
  return together(threads_, [&](int thread) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(buffers_[static_cast<std::size_t>(thread)].data());
    const double begin = seconds();
    double total = 0, passed = 0;
    do {
      sink += read(bytes, kBytes);
      total += kBytes;
      passed = seconds() - begin;
    } while (passed < duration);
    return total / passed;
  });
}

}  // namespace quantfleet
